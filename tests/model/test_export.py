"""A trained model is kept as a plain Hugging Face folder, whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)

from pipeline.model.export import export, load
from pipeline.params import Model, Params
from pipeline.params import Tokenizer as Settings
from pipeline.tasks.base import Task
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.seq2seq import Seq2Seq
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    TASK,
    built,
    from_scratch,
    pretrained,
)
from tests.tasks.cases import TINY_T5


def test_the_export_is_a_plain_hugging_face_folder(folder: Path) -> None:
    params = Params(
        model=Model(config=TINY_BERT),
        tokenizer=Settings(vocab_size=300, max_seq_length=16),
    )
    model, encoder = built(params)
    export(model, encoder, TASK, params, Path("models/best"))
    loaded = AutoModelForSequenceClassification.from_pretrained("models/best")
    assert loaded.config.id2label == {0: "bad", 1: "good"}
    assert loaded.config.label2id == {"bad": 0, "good": 1}
    assert all(torch.equal(one, other) for one, other in zip(loaded.parameters(), model.parameters(), strict=True))
    again = AutoTokenizer.from_pretrained("models/best")
    assert dict(again("a text", "a pair")) == dict(encoder("a text", "a pair"))
    card = json.loads(Path("models/best/reprise.json").read_text())
    assert card["task"] == "text-classification"
    assert TextClassification.of_state(card["state"]) == TASK
    assert Settings(**card["tokenizer"]) == params.tokenizer
    assert sorted(path.name for path in Path("models").iterdir()) == ["best"]
    assert len({path.stat().st_mode for path in Path("models/best").iterdir()}) == 1  # who may read one may read all
    same = load(Path("models/best"), TASK)
    assert all(torch.equal(one, other) for one, other in zip(same.parameters(), model.parameters(), strict=True))


def test_the_export_has_the_same_bytes_wherever_it_is_made(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    params = from_scratch(TINY_BERT)
    export(*built(params), TASK, params, Path("other"))
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == {
        path.name: path.read_bytes() for path in Path("other").iterdir()
    }
    texts = "".join(path.read_text() for path in exported.glob("*.json"))
    assert str(exported.parents[2]) not in texts


def test_an_export_that_breaks_off_leaves_the_earlier_model(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    params = from_scratch(TINY_BERT)
    model, encoder = built(params, seed=1)

    def full(*arguments: object, **options: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(encoder), "save_pretrained", full)
        with pytest.raises(OSError, match="No space"):
            export(model, encoder, TASK, params, exported)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    (exported.parent / "tiny.unfinished" / "stray.json").write_text("{}")
    export(model, encoder, TASK, params, exported)
    assert {path.name for path in exported.iterdir()} == set(before)
    assert (exported / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_how_a_pretrained_model_writes_is_exported_with_it(folder: Path) -> None:
    scratch = from_scratch(TINY_T5)
    export(*built(scratch, Seq2Seq()), Seq2Seq(), scratch, folder / "data" / "models" / "writer")
    own = {"no_repeat_ngram_size": 3, "forced_bos_token_id": 5}
    GenerationConfig(**own).save_pretrained(folder / "data" / "models" / "writer")
    params = pretrained("data/models/writer")
    model, encoder = built(params, Seq2Seq())
    best = AutoModelForSeq2SeqLM.from_config(model.config)  # as the train stage does with the best weights
    export(best, encoder, Seq2Seq(), params, folder / "best")
    exported = load(folder / "best", Seq2Seq()).generation_config
    assert {name: getattr(exported, name) for name in own} == own


@pytest.mark.parametrize(("task", "kind"), [(CausalLM(), "llama"), (Seq2Seq(), "t5")])
def test_an_exported_language_model_keeps_a_cache_when_it_generates(folder: Path, task: Task, kind: str) -> None:
    params = from_scratch(ARCHITECTURES[kind])
    model, encoder = built(params, task)
    assert not model.config.use_cache, "training has no use for one"
    export(model, encoder, task, params, Path("models/best"))
    assert json.loads(Path("models/best/config.json").read_text())["use_cache"]
    assert json.loads(Path("models/best/generation_config.json").read_text())["use_cache"]
