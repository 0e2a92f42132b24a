"""Params are typed and strict, and tell the experiment from what it runs on."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.params import OUTSIDE_THE_EXPERIMENT, Data, Hardware, Model, Params, Promotion, Section, Tracking, Train
from pipeline.params_file import sections

ALIGNED: dict[str, Any] = {"dataset_name": None, "train_file": ["data/raw/a.en", "data/raw/a.de"]}


def test_the_experiment_leaves_out_hardware_tracking_and_promotion() -> None:
    experiment = Params().experiment()
    assert set(experiment) == set(Params.model_fields) - {"hardware", "tracking", "promotion"}
    assert OUTSIDE_THE_EXPERIMENT == ("hardware", "tracking", "promotion")
    assert json.loads(json.dumps(experiment)) == experiment


def test_what_it_runs_on_does_not_change_the_experiment() -> None:
    elsewhere = Params(
        hardware=Hardware(num_threads=7, micro_batch_tokens=99, use_cpu=True),
        tracking=Tracking(experiment_name="other", run_name="a run", tags={"who": "me"}, log_model=False),
        promotion=Promotion(),
    )
    assert elsewhere.experiment() == Params().experiment()
    assert Params(train=Train(seed=43)).experiment() != Params().experiment()


def test_every_key_has_a_description_of_one_line() -> None:
    fields = {f"{name}.{key}": field for name, section in sections() for key, field in section.model_fields.items()}
    for key, field in (fields | {"version": Params.model_fields["version"]}).items():
        assert field.description and "\n" not in field.description, key
    assert all(section.__doc__ for _, section in sections())


PRETRAINED = {"config": None, "model_name_or_path": "data/models/a"}


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1e-04", "1.0e-4", "10.e-5", ".1e-3", "+1e-4", 1e-4])
def test_a_number_with_an_exponent_is_a_number(written: object) -> None:
    assert Train.model_validate({"learning_rate": written}).learning_rate == 1e-4


@pytest.mark.parametrize("written", ["0.1", "fast", "1e", "e4", "1e4x", "", True, None, [1.0]])
def test_other_texts_are_no_numbers(written: object) -> None:
    with pytest.raises(ValidationError):
        Train.model_validate({"learning_rate": written})


def test_a_whole_number_may_stand_for_a_fraction_but_not_the_other_way() -> None:
    assert Train.model_validate({"num_train_epochs": 3, "warmup_steps": 0}).num_train_epochs == 3
    with pytest.raises(ValidationError):
        Train.model_validate({"global_batch_size": 16.0})


@pytest.mark.parametrize(("written", "fits"), [(0.5, True), (1, True), (2.0, True), (1e2, True), (1.5, False)])
def test_warmup_is_a_fraction_or_a_whole_number_of_steps(written: float, fits: bool) -> None:
    if fits:
        assert Train.model_validate({"warmup_steps": written}).warmup_steps == written
        return
    with pytest.raises(ValidationError, match="a whole number of steps"):
        Train.model_validate({"warmup_steps": written})


def test_a_model_config_that_holds_itself_is_refused() -> None:
    config: dict[str, object] = {"model_type": "bert"}
    config["again"] = config
    with pytest.raises(ValidationError, match="a finite number"):
        Model.model_validate({"config": config})


def test_one_column_needs_no_list() -> None:
    data = Data.model_validate(
        {
            "dataset_name": None,
            "train_file": "a.csv",
            "text_column_names": "sentence",
            "column_names": ["label", "sentence"],
        }
    )
    assert data.text_column_names == ["sentence"]


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (Data, {"train_file": "data/raw/a.csv"}, "either dataset_name or train_file"),
        (Data, {"dataset_name": None}, "either dataset_name or train_file"),
        (Data, {"test_file": "data/raw/a.csv"}, "go with train_file"),
        (Data, ALIGNED | {"test_file": "data/raw/b.en"}, "a list of files in each of"),
        (Data, ALIGNED | {"file_format": "csv"}, "a row is a line of each"),
        (Data, ALIGNED | {"sample_by": "paragraph"}, "a row is a line of each"),
        (Data, {"text_column_names": ["a"], "label_column_name": "a"}, "'a' is one of text_column_names"),
        (Model, {"model_name_or_path": "data/models/a"}, "either model_name_or_path or config"),
        (Model, {"config": None}, "either model_name_or_path or config"),
        (Model, {"config": {"hidden_size": 8}}, "needs a model_type"),
        (Model, {"lora": {}}, "lora adapts a pretrained model"),
        (Model, {**PRETRAINED, "lora": {}, "freeze": ["embeddings"]}, "lora already freezes"),
        (Model, {**PRETRAINED, "load_in_4bit": True}, "weights of 4 bits cannot be trained; set lora"),
        (Hardware, {"reduce": "exact", "micro_batch_tokens": "auto"}, "needs micro_batch_tokens as a number"),
        (Hardware, {"reduce": "exact", "parallel": "fsdp"}, "needs the whole model in every process"),
    ],
)
def test_values_that_contradict_each_other_are_refused(section: type[Section], values: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        section.model_validate(values)


def test_the_source_is_the_file_or_the_dataset() -> None:
    assert Data().source == "docstrings"
    assert Data(dataset_name=None, train_file="data/raw/a.csv").source == "data/raw/a.csv"
    assert Data(**ALIGNED).source == "data/raw/a.en, data/raw/a.de"


def test_a_split_has_no_file_or_one_or_a_list() -> None:
    assert Data(**ALIGNED).files("train") == ["data/raw/a.en", "data/raw/a.de"]
    assert Data(**ALIGNED).files("test") == []
    assert Data(dataset_name=None, train_file="data/raw/a.csv").files("train") == ["data/raw/a.csv"]


def test_params_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Params().train.seed = 1  # type: ignore[misc]


def test_a_floor_that_no_score_can_reach_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"the floor of 'accuracy' is 80, and it is never above 1: 80% is 0.8"):
        Promotion(floors={"accuracy": 80})
    assert Promotion(floors={"bleu": 25}, guarded={"bleu on length": 1.5})
    with pytest.raises(ValidationError, match=r"the margin of 'f1 on length' must be above 0, .* and below 1"):
        Promotion(guarded={"f1 on length": 1.5})
