"""Checkpoints are whole or not there, verified, pruned, and never shared; the fingerprint says whose they are."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.checkpoint import Checkpoints, hold

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
    for bit in range(0, 8 * len(whole), 23):
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
