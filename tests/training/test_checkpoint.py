"""Checkpoints are whole or not there, verified, pruned, and never shared; the fingerprint says whose they are."""

import shutil
from pathlib import Path

import pytest
import torch

from pipeline.training.checkpoint import Checkpoints, hold
from pipeline.training.pieces import Piece
from tests.training.test_pieces import chunks, same

FILES = ("rank-00000.safetensors", "rank-00001.safetensors", "state.json", "manifest.json")


def tensors_of(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {
        "model.weight": torch.randn(51, 3, generator=generator),
        "model.half": torch.full((5,), step, dtype=torch.bfloat16),
        "optimizer.weight.step": torch.tensor(float(step)),
    }


def pieces_of(tensors: dict[str, torch.Tensor], rank: int = 0, size: int = 1) -> dict[str, Piece]:
    return {name: chunks(whole, size)[rank] if whole.ndim else Piece(whole) for name, whole in tensors.items()}


def save(checkpoints: Checkpoints, step: int, best_step: int | None) -> None:
    """By one rank, to the end."""
    state = {"step": step, "best_step": best_step, "best_score": 1 / 3, "window": [[float("inf"), 0.1]]}
    checkpoints.save(step, pieces_of(tensors_of(step)), state)
    checkpoints.wait()


def save_by_two(checkpoints: Checkpoints, step: int, best_step: int | None) -> None:
    other = Checkpoints(checkpoints.folder, checkpoints.save_total_limit)
    checkpoints.save(step, pieces_of(tensors_of(step), 0, 2), {"step": step, "best_step": best_step}, size=2)
    other.save(step, pieces_of(tensors_of(step), 1, 2), {}, rank=1, size=2)
    other.wait()
    checkpoints.wait()


def assert_holds(checkpoints: Checkpoints, step: int, tensors: dict[str, torch.Tensor]) -> None:
    pieces = checkpoints.open(step)
    assert pieces.names() == sorted(tensors)
    assert all(same(pieces.read(name), tensor) for name, tensor in tensors.items())


def at(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.folder / f"step-{step:08d}"


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    place, shift = divmod(bit % (8 * len(content)), 8)
    content[place] ^= 1 << shift
    file.write_bytes(content)


# Written and read


def test_nothing_saved_is_nothing_to_take_up(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    assert checkpoints.steps() == []


def test_the_newest_comes_back_bit_for_bit(checkpoints: Checkpoints) -> None:
    for step in (10, 20):
        save(checkpoints, step, best_step=20)
    state = {"step": 20, "best_step": 20, "best_score": 1 / 3, "window": [[float("inf"), 0.1]]}
    assert Checkpoints(checkpoints.folder, 2).latest() == (20, state)
    for step in (10, 20):
        assert_holds(checkpoints, step, tensors_of(step))


def test_two_ranks_write_one_checkpoint_with_nothing_else_in_it(two: Checkpoints) -> None:
    assert two.latest() == (20, {"step": 20, "best_step": 20})
    assert_holds(two, 10, tensors_of(10))
    assert_holds(two, 20, tensors_of(20))
    assert sorted(path.name for path in at(two, 20).iterdir()) == sorted(FILES)
    assert sorted(path.name for path in two.folder.iterdir()) == ["step-00000010", "step-00000020"]


def test_a_step_saved_again_replaces_the_first(two: Checkpoints) -> None:
    two.save(20, pieces_of(tensors_of(99)), {"step": 20, "best_step": 10})
    assert_holds(two, 20, tensors_of(99))
    assert two.steps() == [10, 20]


# Kills


@pytest.mark.parametrize("written", range(6))
def test_what_a_kill_left_unfinished_is_removed(folder: Path, written: int) -> None:
    with hold("mark", 2) as checkpoints:
        save_by_two(checkpoints, 10, best_step=10)
    for name in ("unfinished-30", "unfinished-removal"):
        (checkpoints.folder / name).mkdir()
        for file in (*FILES, "rank-00002.safetensors")[:written]:
            source = at(checkpoints, 10) / file
            shutil.copy(source if source.exists() else at(checkpoints, 10) / FILES[0], checkpoints.folder / name / file)
    assert checkpoints.latest() == (10, {"step": 10, "best_step": 10})
    with hold("mark", 2) as checkpoints:
        assert checkpoints.latest() == (10, {"step": 10, "best_step": 10})
        save(checkpoints, 30, best_step=10)
        assert_holds(checkpoints, 30, tensors_of(30))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["lock", "step-00000010", "step-00000030"]


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


def test_success_leaves_nothing_behind(folder: Path) -> None:
    with hold("mark", 2) as checkpoints:
        for step in (10, 20):
            save(checkpoints, step, best_step=10)
        checkpoints.notes.run_id = "abc"
        checkpoints.clear()
        assert checkpoints.latest() is None
        assert checkpoints.notes.run_id is None
        assert [path.name for path in checkpoints.folder.iterdir()] == ["lock"]
    assert not checkpoints.folder.exists()
    with hold("mark", 2) as checkpoints:
        save(checkpoints, 10, best_step=10)
    assert checkpoints.steps() == [10]


def test_the_run_is_remembered(folder: Path) -> None:
    with hold("mark", 2) as checkpoints:
        assert checkpoints.notes.run_id is None
        checkpoints.notes.run_id = "0123abc"
        checkpoints.notes.run_id = None  # a run without MLflow changes nothing
    with hold("mark", 2) as checkpoints:
        assert checkpoints.notes.run_id == "0123abc"
        (checkpoints.folder / "run_id").write_text("")  # what a power cut leaves
        assert checkpoints.notes.run_id is None


def test_checkpoints_lie_in_the_project_that_a_copy_was_made_of(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DVC_ROOT", str(home))
    with hold("mark", 2) as checkpoints:
        assert checkpoints.folder == home.resolve() / ".reprise" / "checkpoints" / "mark"


def test_checkpoints_lie_where_one_wants_them(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("mount") / "checkpoints"
    with hold("mark", 2, elsewhere) as checkpoints:
        save(checkpoints, 10, best_step=10)
    assert checkpoints.folder == elsewhere / "mark"
    assert list(folder.iterdir()) == []
