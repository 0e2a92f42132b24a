"""The fingerprint changes with all that the train stage depends on, and with nothing else."""

from pathlib import Path

import pytest

from pipeline import dag
from pipeline.params import Evaluate, Hardware, Model, Params, Tokenizer, Tracking, Train
from pipeline.training import fingerprint
from tests.training.test_checkpoint import flip

DVC_YAML = """
stages:
  train:
    cmd: python -m stages.train
    params: [task, tokenizer, model, train]
    deps: [constraints.txt, data/tokenized, data/models, code.py]
    outs: [models/best]
"""


def mark(params: Params) -> str:
    return fingerprint.fingerprint(params, dag.inputs("train"))


@pytest.fixture
def project_folder(folder: Path) -> Path:
    """A project whose train stage depends on a pin, data, a model and code; and a model elsewhere."""
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "constraints.txt").write_text("torch==1\n")
    (folder / "code.py").write_text("x = 1\n")
    for name in ("data/tokenized/train.arrow", "data/models/tiny/model.safetensors", "elsewhere/model.safetensors"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"bytes")
    return folder


@pytest.mark.parametrize(
    "changed",
    [
        Params(train=Train(seed=43)),
        Params(train=Train(learning_rate=1e-3)),
        Params(tokenizer=Tokenizer(max_seq_length=32)),
        Params(model=Model(config={"model_type": "bert"})),
        Params(model=Model(config=None, model_name_or_path="org/name", model_revision="a")),
    ],
)
def test_params_of_the_stage_change_the_fingerprint(project_folder: Path, changed: Params) -> None:
    assert mark(changed) != mark(Params())


def test_what_train_does_not_depend_on_leaves_the_fingerprint(project_folder: Path) -> None:
    changed = Params(
        hardware=Hardware(num_threads=1, save_steps=3),
        tracking=Tracking(run_name="x"),
        evaluate=Evaluate(n_resamples=200),
    )
    assert mark(changed) == mark(Params())
    (project_folder / "README.md").write_text("new")
    (project_folder / "data" / "tokenized" / "__pycache__").mkdir()
    assert mark(changed) == mark(Params())


@pytest.mark.parametrize(
    "file", ["constraints.txt", "code.py", "data/tokenized/train.arrow", "data/models/tiny/model.safetensors"]
)
def test_every_dependency_changes_the_fingerprint(project_folder: Path, file: str) -> None:
    before = mark(Params())
    flip(project_folder / file, 3)
    assert mark(Params()) != before


@pytest.mark.parametrize("absolute", [True, False])
def test_a_model_folder_anywhere_counts_by_its_content(project_folder: Path, absolute: bool) -> None:
    name = str(project_folder / "elsewhere") if absolute else "./elsewhere"
    params = Params(model=Model(config=None, model_name_or_path=name))
    before = mark(params)
    flip(project_folder / "elsewhere" / "model.safetensors", 3)
    assert mark(params) != before


def test_a_tokenizer_folder_anywhere_counts_by_its_content(project_folder: Path) -> None:
    params = Params(tokenizer=Tokenizer(tokenizer_name="./elsewhere"))
    before = mark(params)
    flip(project_folder / "elsewhere" / "model.safetensors", 3)
    assert mark(params) != before


def test_the_revision_of_a_hub_model_counts(project_folder: Path) -> None:
    marks = {
        mark(Params(model=Model(config=None, model_name_or_path="org/name", model_revision=revision)))
        for revision in (None, "a", "b")
    }
    assert len(marks) == 3


def test_another_version_of_torch_changes_the_fingerprint(
    project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mark(Params())
    monkeypatch.setattr("pipeline.training.fingerprint.version", lambda package: f"{package} 99")
    assert mark(Params()) != before
