"""The checkpoints of all experiments that no process holds, for whoever wants to free their space."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.training.checkpoint import folder_of, hold
from pipeline.training.folder_lock import is_free
from pipeline.training.notes import Notes


@dataclass(frozen=True)
class Abandoned:
    """The checkpoints of one experiment.

    Attributes:
        run: the id of the run that they belong to, if they name one.
        recorded: DVC has recorded the results, so that nothing will go on from here.
    """

    folder: Path
    run: str | None
    recorded: bool


def find(locked: str, folder: Path | None = None) -> list[Abandoned]:
    """All that no process holds.

    Args:
        locked: what DVC has recorded of the train stage (`dag.locked`).
        folder: where the checkpoints of all experiments lie; .reprise/checkpoints of the project if None.
    """
    free = (path for path in sorted(folder_of("", folder).glob("*")) if any(path.glob("step-*")) and is_free(path))
    return [Abandoned(path, (found := Notes(path)).run_id, found.recorded(locked)) for path in free]


def remove(folder: Path) -> None:
    """Remove the checkpoints of an experiment, unless a process has taken them up meanwhile."""
    with suppress(UserError), hold(folder.name, 1, folder.parent) as checkpoints:
        checkpoints.clear()
