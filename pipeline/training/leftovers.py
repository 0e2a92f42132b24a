"""Checkpoints that nobody needs any more: those of a recorded result go, others are told of."""

from contextlib import suppress
from pathlib import Path

from pipeline.errors import UserError
from pipeline.training.checkpoint import folder_of, hold
from pipeline.training.folder_lock import is_free

_GIB = 2**30


def clear(mark: str, locked: str, folder: Path | None = None) -> None:
    """Remove the checkpoints of a fingerprint if DVC has recorded its results, and nobody trains it again.

    Args:
        locked: what DVC has recorded of the train stage (`dag.locked`).
        folder: where the checkpoints of all experiments lie; .reprise/checkpoints of the project if None.
    """
    if folder_of(mark, folder).exists():
        with suppress(UserError), hold(mark, 1, folder) as checkpoints:
            if checkpoints.notes.recorded(locked):
                checkpoints.clear()


def others(mark: str, folder: Path | None = None) -> str | None:
    """A line on the checkpoints of other fingerprints that no process holds; None if there are none."""
    own = folder_of(mark, folder)
    found = [path for path in own.parent.glob("*") if path != own and any(path.glob("step-*")) and is_free(path)]
    if not found:
        return None
    size = sum(map(_size, found)) / _GIB
    return (
        f"{own.parent} holds checkpoints of {len(found)} other experiment{'s' * (len(found) > 1)} ({size:.2f} GiB); "
        "those that will not be resumed can be removed"
    )


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # removed by its owner meanwhile
            size += path.stat().st_size
    return size
