from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from transformers import PreTrainedConfig

from pipeline import params_file, project
from pipeline.cli.guess import Found
from pipeline.cli.suit import suit
from pipeline.errors import UserError
from pipeline.model import config
from pipeline.params import Data, Hardware, Model, Params, Promotion, Tracking
from pipeline.tasks import find
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT, texts_and_labels
from tests.serving.exported import export_tiny_model


def found(name: str = "train.csv", rows: int = 60, texts: list[str] | None = None) -> Found:
    texts = texts or texts_and_labels(rows, seed=1)[0]
    table = pa.table(
        {"id": [f"{row}" for row in range(len(texts))], "text": texts, "label": ["a", "b"] * (len(texts) // 2)}
    )
    columns = {"text_column_names": ["text"], "label_column_name": "label"}
    data = Data(dataset_name=None, train_file=f"data/raw/{name}", **columns)
    return Found(Params().task, ["text"], "label", data, table, {})


def test_from_scratch_keeps_the_default_model_and_sizes_the_vocabulary_and_the_length(folder: Path):
    texts = ["one two three"] * 99 + ["word " * 300]
    seen = found(texts=texts)
    params = suit(seen, None)
    assert (params.model, params.train) == (Params().model, Params().train)
    assert params.tokenizer.vocab_size == 1000
    assert params.tokenizer.max_seq_length == 8
    assert "1.0% of the texts are cut" in seen.why["tokenizer.max_seq_length"]


def test_a_large_corpus_gets_the_default_vocabulary_and_no_length_beyond_the_limit(folder: Path):
    texts = [" ".join(f"w{(row * 7 + place) % 50}" for place in range(1800)) for row in range(300)]
    params = suit(found(texts=texts), None)
    assert params.tokenizer.vocab_size == Params().tokenizer.vocab_size
    assert params.tokenizer.max_seq_length == 512


def test_a_pretrained_model_gets_its_own_tokenizer_and_lower_rates(folder: Path):
    export_tiny_model(project.MODELS / "tiny")
    seen = found()
    params = suit(seen, "data/models/tiny")
    assert (params.model.model_name_or_path, params.model.config) == ("data/models/tiny", None)
    assert params.tokenizer.tokenizer_name is None
    assert params.train.learning_rate < 5e-4 < Params().train.learning_rate
    assert params.train.metric_for_best_model is None
    assert params.tokenizer.max_seq_length == 24
    assert seen.notes == []


@pytest.mark.parametrize(("size", "rate"), [(384, 2e-4), (512, 5e-5), (None, 5e-5)])
def test_a_small_pretrained_model_gets_a_higher_rate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int | None, rate: float
):
    export_tiny_model(project.MODELS / "tiny")
    real = config.load_config

    def sized(model: Model) -> PreTrainedConfig:
        loaded = real(model)
        monkeypatch.setattr(loaded, "get_text_config", lambda: SimpleNamespace(hidden_size=size))
        return loaded

    monkeypatch.setattr(config, "load_config", sized)
    seen = found()
    assert suit(seen, "data/models/tiny").train.learning_rate == rate
    assert str(size if rate == 2e-4 else "usual") in seen.why["train.learning_rate"]


def test_a_task_that_has_a_usual_rate_is_fine_tuned_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    export_tiny_model(project.MODELS / "tiny")
    monkeypatch.setattr(TextClassification, "fine_tuning_rate", 3e-6)
    seen = found()
    assert suit(seen, "data/models/tiny").train.learning_rate == 3e-6
    assert "this task" in seen.why["train.learning_rate"]
    assert (find("dpo").fine_tuning_rate, find("sft").fine_tuning_rate) == (1e-6, 2e-5)


def test_the_models_positions_limit_the_length(folder: Path):
    export_tiny_model(project.MODELS / "tiny")
    params = suit(found(texts=["good bad " * 60] * 4), "data/models/tiny")
    assert params.tokenizer.max_seq_length == TINY_BERT["max_position_embeddings"]


def test_a_model_outside_the_project_is_told_to_be_brought_in(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = export_tiny_model(tmp_path_factory.mktemp("elsewhere") / "tiny model")
    seen = found()
    suit(seen, str(elsewhere))
    assert any(f"cp -r '{elsewhere}' data/models/" in note for note in seen.notes)


@pytest.mark.parametrize("name", ["data/models/tinny", "no-such-model"])
def test_no_such_model(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    export_tiny_model(project.MODELS / "tiny")
    with pytest.raises(UserError, match=r"model.model_name_or_path.*"):
        suit(found(), name)


def test_what_lies_outside_the_experiment_stays(folder: Path):
    before = Params(
        hardware=Hardware(num_threads=7),
        tracking=Tracking(experiment_name="old", run_name="first try", tags={"team": "b"}, log_model=False),
    )
    project.PARAMS.write_text(params_file.render(before))
    params = suit(found("mails/train.csv"), None)
    assert params.hardware.num_threads == 7
    assert params.promotion == Promotion()
    assert params.tracking == Tracking(experiment_name="mails", tags={"team": "b"}, log_model=False)


def test_params_that_cannot_be_read_are_no_hindrance(folder: Path):
    project.PARAMS.write_text("version: [")
    assert suit(found(), None).hardware == Hardware()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mails/train.csv", "mails"),
        ("mails_train.tsv.gz", "mails"),
        ("mails/spam-training.jsonl", "spam"),
        ("reviews.parquet", "reviews"),
        ("constraints.csv", "constraints"),
        ("train.csv", "shop"),
    ],
)
def test_the_experiment_is_named_after_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, name: str):
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert suit(found(file), None).tracking.experiment_name == name
