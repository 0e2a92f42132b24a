"""Checkpoints are whole or not there, verified, pruned, and never shared; the fingerprint says whose they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.params import Evaluate, Hardware, Model, Params, Tokenizer, Tracking, Train
from pipeline.training.checkpoint import Checkpoints, fingerprint, hold
from tests.conftest import REPOSITORY

FILES = ("state.pt", "state.json", "manifest.json")


def tensors_of(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return {
        "model": {"weight": torch.randn(50, 3, generator=generator), "half": torch.ones(5, dtype=torch.bfloat16)},
        "optimizer": {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"betas": (0.9, 1)}]},
        "scaler": {},
    }


def save(checkpoints: Checkpoints, step: int, best_step: int | None) -> None:
    state = {"step": step, "best_step": best_step, "best_score": 1 / 3, "window": [[float("inf"), 0.1]]}
    checkpoints.save(step, tensors_of(step), state)


def at(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.folder / f"step-{step:08d}"


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, save_total_limit=2)


@pytest.fixture
def two(checkpoints: Checkpoints) -> Checkpoints:
    """Steps 10 and 20, each the best of its time."""
    save(checkpoints, 10, best_step=10)
    save(checkpoints, 20, best_step=20)
    return checkpoints


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    place, shift = divmod(bit % (8 * len(content)), 8)
    content[place] ^= 1 << shift
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# Written and read


def test_nothing_saved_is_nothing_to_take_up(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    assert checkpoints.steps() == []


def test_the_newest_comes_back_bit_for_bit(two: Checkpoints) -> None:
    found = Checkpoints(two.folder, 2).latest()
    assert found is not None
    tensors, state = found
    expected = tensors_of(20)
    assert state == {"step": 20, "best_step": 20, "best_score": 1 / 3, "window": [[float("inf"), 0.1]]}
    assert all(torch.equal(tensors["model"][name], expected["model"][name]) for name in ("weight", "half"))
    assert tensors["model"]["half"].dtype == torch.bfloat16
    assert tensors["optimizer"] == expected["optimizer"]
    assert torch.equal(two.tensors(10)["model"]["weight"], tensors_of(10)["model"]["weight"])


def test_a_step_saved_again_replaces_the_first(two: Checkpoints) -> None:
    two.save(20, tensors_of(99), {"step": 20, "best_step": 10})
    assert torch.equal(two.tensors(20)["model"]["weight"], tensors_of(99)["model"]["weight"])
    assert two.steps() == [10, 20]


# Damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bit", [0, 5, 1000, -1, -100])
def test_one_flipped_bit_is_found_and_the_checkpoint_before_used(
    two: Checkpoints, capsys: pytest.CaptureFixture[str], name: str, bit: int
) -> None:
    flip(at(two, 20) / name, bit)
    found = two.latest()
    assert found is not None
    assert found[1]["step"] == 10
    said = capsys.readouterr().out
    assert "step 20 is damaged" in said
    # A manifest that was damaged but can still be read disagrees with a file that was not.
    assert name in said or name == "manifest.json"
    assert two.steps() == [10]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_half_a_file_is_found_and_named(
    two: Checkpoints, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    file = at(two, 20) / name
    match damage:
        case "truncated":
            truncate(file)
        case "empty":
            file.write_bytes(b"")
        case "missing":
            file.unlink()
    found = two.latest()
    assert found is not None
    assert found[1]["step"] == 10
    assert f"step 20 is damaged ({name})" in capsys.readouterr().out


def test_every_bit_of_the_manifest_counts(checkpoints: Checkpoints) -> None:
    save(checkpoints, 10, best_step=None)
    manifest = at(checkpoints, 10) / "manifest.json"
    whole = manifest.read_bytes()
    assert not checkpoints._damage(10)
    for bit in range(0, 8 * len(whole), 7):
        flip(manifest, bit)
        assert checkpoints._damage(10), bit
        manifest.write_bytes(whole)


def test_no_whole_checkpoint_is_a_clear_error_and_then_a_fresh_start(two: Checkpoints) -> None:
    flip(at(two, 10) / "state.pt", 1000)
    truncate(at(two, 20) / "state.json")
    with pytest.raises(UserError, match="Run again to train from the start") as caught:
        two.latest()
    assert str(two.folder) in str(caught.value)
    assert two.latest() is None


def test_a_damaged_best_step_is_an_error_that_names_it(checkpoints: Checkpoints) -> None:
    for step in (10, 20, 30):
        save(checkpoints, step, best_step=10)
    flip(at(checkpoints, 10) / "state.pt", 77)
    with pytest.raises(UserError, match=r"step 10, .* is damaged \(state.pt\)") as caught:
        checkpoints.latest()
    assert str(checkpoints.folder) in str(caught.value)
    with pytest.raises(UserError, match="is damaged"):
        checkpoints.tensors(10)


def test_a_missing_best_step_is_an_error(checkpoints: Checkpoints) -> None:
    for step in (10, 20):
        save(checkpoints, step, best_step=10)
    shutil.rmtree(at(checkpoints, 10))
    with pytest.raises(UserError, match=r"step 10, .* is damaged \(manifest.json\)"):
        checkpoints.latest()


def test_an_older_one_that_was_damaged_does_not_stop_the_training(checkpoints: Checkpoints) -> None:
    kept = Checkpoints(checkpoints.folder, save_total_limit=3)
    for step in (10, 20):
        save(kept, step, best_step=20)
    truncate(at(kept, 10) / "state.json")
    save(kept, 30, best_step=20)
    found = kept.latest()
    assert found is not None
    assert found[1]["step"] == 30


# Kills


@pytest.mark.parametrize("written", range(4))
def test_what_a_kill_left_unfinished_is_ignored_and_replaced(two: Checkpoints, written: int) -> None:
    unfinished = two.folder / "unfinished"
    unfinished.mkdir()
    for name in FILES[:written]:
        shutil.copy(at(two, 10) / name, unfinished / name)
    found = two.latest()
    assert found is not None
    assert found[1]["step"] == 20
    save(two, 30, best_step=20)
    assert two.steps() == [20, 30]
    assert not unfinished.exists()


def test_folders_of_other_names_are_not_ours(two: Checkpoints) -> None:
    shutil.copytree(at(two, 20), two.folder / "step-00000020 (copy)")
    (two.folder / "step-old").mkdir()
    assert two.steps() == [10, 20]


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def die_before_call(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before the call of this number to whatever writes, renames or removes; half-way, where it removes."""
    calls = iter(range(1000))

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            if next(calls) == number:
                if function.__name__ == "rmtree" and Path(arguments[0]).is_dir():
                    next(Path(arguments[0]).iterdir()).unlink()
                raise Killed
            return function(*arguments, **options)

        return called

    writers = [
        (torch, "save"),
        (os, "fsync"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (Path, "rename"),
        (Path, "unlink"),
    ]
    for owner, name in [*writers, (shutil, "rmtree")]:
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))


def test_a_kill_at_any_call_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_up = []
    for number in range(100):
        checkpoints = Checkpoints(tmp_path / str(number), save_total_limit=2)
        checkpoints.folder.mkdir()
        for step in (10, 20):
            save(checkpoints, step, best_step=step)
        with monkeypatch.context() as patched:
            die_before_call(number, patched)
            try:
                save(checkpoints, 30, best_step=30)
                break
            except Killed:
                pass
        found = checkpoints.latest()
        assert found is not None
        taken_up.append(found[1]["step"])
        assert torch.equal(found[0]["model"]["weight"], tensors_of(taken_up[-1])["model"]["weight"])
        save(checkpoints, 30, best_step=30)
        assert checkpoints.steps() == [20, 30]
    # Up to the rename the old one, from there the new one.
    assert taken_up == sorted(taken_up)
    assert {*taken_up} == {20, 30}


def test_a_kill_while_clearing_leaves_what_can_be_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    for number in range(100):
        checkpoints = Checkpoints(tmp_path / str(number), save_total_limit=2)
        checkpoints.folder.mkdir()
        for step in (10, 20, 30):
            save(checkpoints, step, best_step=10)
        with monkeypatch.context() as patched:
            die_before_call(number, patched)
            try:
                checkpoints.clear()
                break
            except Killed:
                pass
        found = checkpoints.latest()
        left.append(found[1]["step"] if found else 0)
        checkpoints.clear()
        assert checkpoints.latest() is None
    assert left == sorted(left, reverse=True)
    assert {*left} == {30, 20, 10, 0}


# A real second process


TRAINER = """
import torch
from pipeline.training.checkpoint import hold
with hold("mark", 2) as checkpoints:
    for step in range(1, 100_000):
        tensors = {"model": {"weight": torch.full((300, 300), float(step))}}
        checkpoints.save(step, tensors, {"step": step, "best_step": step})
        print(step, flush=True)
"""


def test_a_second_trainer_is_refused_until_the_first_is_killed_and_then_goes_on(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", TRAINER], stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        with pytest.raises(UserError, match=f"process {first.pid} on {os.uname().nodename}"), hold("mark", 2):
            pass
        with hold("another experiment", 2) as checkpoints:
            assert checkpoints.latest() is None
        first.kill()
        told = [1, *map(int, first.stdout.read().split())]
    with hold("mark", 2) as checkpoints:
        found = checkpoints.latest()
    assert found is not None
    tensors, state = found
    # The last one that was told may be followed by one that was not.
    assert state["step"] - told[-1] in (0, 1)
    assert torch.equal(tensors["model"]["weight"], torch.full((300, 300), float(state["step"])))


# Pruning


def test_old_ones_go_and_the_best_stays(checkpoints: Checkpoints) -> None:
    for step in range(10, 70, 10):
        save(checkpoints, step, best_step=min(step, 20))
    assert checkpoints.steps() == [20, 50, 60]
    save(checkpoints, 70, best_step=70)
    save(checkpoints, 80, best_step=70)
    assert checkpoints.steps() == [70, 80]


def test_the_best_before_the_newest_stays_while_that_one_is_kept(checkpoints: Checkpoints) -> None:
    # If 50 turned out damaged, 40 would be taken up, and its best step is 20.
    for step in (20, 30, 40):
        save(checkpoints, step, best_step=20)
    save(checkpoints, 50, best_step=50)
    assert checkpoints.steps() == [20, 40, 50]


def test_before_the_first_evaluation_there_is_no_best(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        save(checkpoints, step, best_step=None)
    assert checkpoints.steps() == [2, 3]


def test_success_clears_everything_but_the_lock(folder: Path) -> None:
    with hold("mark", 2) as checkpoints:
        for step in (10, 20):
            save(checkpoints, step, best_step=10)
        checkpoints.run_id = "abc"
        checkpoints.clear()
        assert checkpoints.latest() is None
        assert checkpoints.run_id is None
        assert [path.name for path in checkpoints.folder.iterdir()] == ["lock"]


def test_the_run_is_remembered(folder: Path) -> None:
    with hold("mark", 2) as checkpoints:
        assert checkpoints.run_id is None
        checkpoints.run_id = "0123abc"
        checkpoints.run_id = None  # a run without MLflow changes nothing
    with hold("mark", 2) as checkpoints:
        assert checkpoints.run_id == "0123abc"
        (checkpoints.folder / "run_id").write_text("")  # what a power cut leaves
        assert checkpoints.run_id is None


def test_checkpoints_lie_in_the_project_that_a_copy_was_made_of(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DVC_ROOT", str(home))
    with hold("mark", 2) as checkpoints:
        assert checkpoints.folder == home.resolve() / ".reprise" / "checkpoints" / "mark"


# The fingerprint

DVC_YAML = """
stages:
  train:
    cmd: python -m stages.train
    params: [task, tokenizer, model, train]
    deps: [constraints.txt, data/tokenized, data/models, code.py]
    outs: [models/best]
"""


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
    assert fingerprint(changed) != fingerprint(Params())


def test_what_train_does_not_depend_on_leaves_the_fingerprint(project_folder: Path) -> None:
    changed = Params(
        hardware=Hardware(num_threads=1, save_steps=3),
        tracking=Tracking(run_name="x"),
        evaluate=Evaluate(n_resamples=200),
    )
    assert fingerprint(changed) == fingerprint(Params())
    (project_folder / "README.md").write_text("new")
    (project_folder / "data" / "tokenized" / "__pycache__").mkdir()
    assert fingerprint(changed) == fingerprint(Params())


@pytest.mark.parametrize(
    "file", ["constraints.txt", "code.py", "data/tokenized/train.arrow", "data/models/tiny/model.safetensors"]
)
def test_every_dependency_changes_the_fingerprint(project_folder: Path, file: str) -> None:
    before = fingerprint(Params())
    flip(project_folder / file, 3)
    assert fingerprint(Params()) != before


@pytest.mark.parametrize("absolute", [True, False])
def test_a_model_folder_anywhere_counts_by_its_content(project_folder: Path, absolute: bool) -> None:
    name = str(project_folder / "elsewhere") if absolute else "./elsewhere"
    params = Params(model=Model(config=None, model_name_or_path=name))
    before = fingerprint(params)
    flip(project_folder / "elsewhere" / "model.safetensors", 3)
    assert fingerprint(params) != before


def test_a_tokenizer_folder_anywhere_counts_by_its_content(project_folder: Path) -> None:
    params = Params(tokenizer=Tokenizer(tokenizer_name="./elsewhere"))
    before = fingerprint(params)
    flip(project_folder / "elsewhere" / "model.safetensors", 3)
    assert fingerprint(params) != before


def test_the_revision_of_a_hub_model_counts(project_folder: Path) -> None:
    marks = {
        fingerprint(Params(model=Model(config=None, model_name_or_path="org/name", model_revision=revision)))
        for revision in (None, "a", "b")
    }
    assert len(marks) == 3


def test_another_version_of_torch_changes_the_fingerprint(
    project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(Params())
    monkeypatch.setattr("pipeline.training.checkpoint.version", lambda package: f"{package} 99")
    assert fingerprint(Params()) != before
