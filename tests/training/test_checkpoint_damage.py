"""Damage to a checkpoint is found and named; a full disk costs the checkpoint that was being written, and no other."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.training.checkpoint import Checkpoints
from tests.conftest import REPOSITORY
from tests.training.test_checkpoint import FILES, at, flip, pieces_of, save, save_by_two, tensors_of


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


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


def test_a_file_that_cannot_be_read_just_now_is_no_damage(two: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(path: Path) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.digest.of_file", away)
        with pytest.raises(UserError, match=r"step 20 cannot be read: .*: Stale file handle"):
            two.latest()
    found = two.latest()
    assert found is not None and found[1]["step"] == 20


def test_every_bit_of_the_manifest_counts(checkpoints: Checkpoints) -> None:
    save_by_two(checkpoints, 10, best_step=None)
    manifest = at(checkpoints, 10) / "manifest.json"
    whole = manifest.read_bytes()
    assert not checkpoints._damage(10)
    for bit in range(8 * len(whole)):
        flip(manifest, bit)
        assert checkpoints._damage(10), bit
        manifest.write_bytes(whole)


def test_no_whole_checkpoint_is_a_clear_error_and_then_a_fresh_start(two: Checkpoints) -> None:
    flip(at(two, 10) / "rank-00000.safetensors", 1000)
    truncate(at(two, 20) / "state.json")
    with pytest.raises(UserError, match="Run again to train from the start") as caught:
        two.latest()
    assert str(two.folder) in str(caught.value)
    assert two.latest() is None


def test_a_damaged_best_step_is_an_error_that_names_it(checkpoints: Checkpoints) -> None:
    for step in (10, 20, 30):
        save(checkpoints, step, best_step=10)
    flip(at(checkpoints, 10) / "rank-00000.safetensors", 77)
    with pytest.raises(UserError, match=r"step 10, .* is damaged \(rank-00000.safetensors\)") as caught:
        checkpoints.latest()
    assert str(checkpoints.folder) in str(caught.value)
    with pytest.raises(UserError, match="is damaged"):
        checkpoints.open(10)


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


def test_a_file_that_the_manifest_does_not_know_is_damage(two: Checkpoints, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((at(two, 20) / "manifest.json").read_text())
    del manifest["rank-00001.safetensors"]
    (at(two, 20) / "manifest.json").write_text(json.dumps(manifest))
    assert two.latest() == (10, {"step": 10, "best_step": 10})
    assert "step 20 is damaged (rank-00001.safetensors)" in capsys.readouterr().out


# A full disk


@pytest.mark.parametrize("call", range(6))
def test_a_full_disk_at_any_call_is_an_error_with_its_number(
    two: Checkpoints, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = iter(range(100))
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        two.save(30, pieces_of(tensors_of(30)), {"step": 30, "best_step": 20})
        if call < 5:  # tensors, state, manifest, folder, parent
            with pytest.raises(OSError, match="No space left on device") as caught:
                two.wait()
            assert caught.value.errno == errno.ENOSPC
        else:
            two.wait()
    found = two.latest()
    assert found is not None
    assert found[0] == (20 if call < 4 else 30)
    assert not list(two.folder.glob("unfinished*/*.safetensors"))  # what else is to be written has the space
    save(two, 40, best_step=20)
    assert two.steps() == [20, 40] if call < 4 else [20, 30, 40]


FULL = """
import errno, os, shutil, torch
from pathlib import Path
from pipeline.training.checkpoint import Checkpoints, hold
from pipeline.training.pieces import Piece

def pieces(size):
    return {"weight": Piece(torch.full((size,), 7.0))}

with hold("mark", 2, Path.cwd()) as checkpoints:
    checkpoints.save(10, pieces(100_000), {"step": 10, "best_step": 10})
    checkpoints.save(20, pieces(1_000_000), {"step": 20, "best_step": 20})
    try:
        checkpoints.wait()
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        print("full")
    assert checkpoints.latest() == (10, {"step": 10, "best_step": 10})
    assert torch.equal(checkpoints.open(10).read("weight"), torch.full((100_000,), 7.0))
    assert shutil.disk_usage(".").free > 500_000
    checkpoints.save(20, pieces(100_000), {"step": 20, "best_step": 20})
    assert checkpoints.latest() == (20, {"step": 20, "best_step": 20})
    print("and on")
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A tmpfs of 1 MiB that only this process sees and that goes with it."""
    mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = f"mount -t tmpfs -o size=1m tmpfs '{tmp_path}'; cd '{tmp_path}'; "
    if not shutil.which("unshare") or subprocess.run([*mounted, mount], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        [*mounted, mount + 'exec "$0" -c "$1"', sys.executable, FULL],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("full\nand on\n", 0), done.stderr
