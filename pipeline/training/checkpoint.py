"""Checkpoints: written whole or not at all, verified when read, pruned, and never shared by two trainers.

They lie outside DVC's outputs, which DVC deletes before a stage runs, keyed by a fingerprint of all that DVC would
re-run the stage for. A checkpoint is a folder: the pieces of every writing rank, the state as JSON, and a manifest of
checksums, for only that catches a flipped bit. The ranks find each other's files in the folder, not by collectives:
those belong to the training, which goes on meanwhile.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.training.folder_lock import locked as locked_folder
from pipeline.training.notes import UNFINISHED, Notes
from pipeline.training.pieces import SUFFIX, Piece, Pieces, write

_STATE, _MANIFEST = "state.json", "manifest.json"
_DIGITS = 8
_PATIENCE, _LAST_PATIENCE, _POLL = 600.0, 5.0, 0.05  # seconds


def folder_of(mark: str, folder: Path | None = None) -> Path:
    """Where the checkpoints of a fingerprint lie, below the folder of all experiments' checkpoints."""
    return (folder or project.state() / "checkpoints") / mark


@contextmanager
def hold(mark: str, save_total_limit: int, folder: Path | None = None) -> Iterator["Checkpoints"]:
    """The checkpoints of a fingerprint, for this training alone: of its ranks, the first one holds them.

    What a killed training left unfinished is removed, so the other ranks save only after this. On the way out, what
    is being written is finished; after an error, other ranks are not waited for longer than a few seconds.

    Args:
        folder: where the checkpoints of all experiments lie; .reprise/checkpoints of the project if None.

    Raises:
        UserError: another process trains the same experiment.
    """
    folder = folder_of(mark, folder)
    with locked_folder(folder):
        for left in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        checkpoints = Checkpoints(folder, save_total_limit)
        try:
            yield checkpoints
            checkpoints.wait()
        except BaseException as error:
            checkpoints.patience = _LAST_PATIENCE
            try:
                checkpoints.wait()
            except (OSError, UserError) as lost:
                error.add_note(f"The checkpoint that was being written is lost: {lost}")
            raise


@dataclass
class Checkpoints:
    """The checkpoints of one experiment, newest last.

    Ranks other than the first make one of these for the folder that the first rank holds, and only save and open.

    Attributes:
        folder: where they lie, one folder a step.
        save_total_limit: how many are kept, beside the best.
        patience: seconds that a save waits for the other ranks.
        logs: files that the training appends to as it goes on. A checkpoint counts only when they are on the disk:
            a training that goes on from it does not write again what came before.
    """

    folder: Path
    save_total_limit: int
    patience: float = _PATIENCE
    logs: tuple[Path, ...] = ()
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"), repr=False)
    _saving: Future[None] | None = field(default=None, repr=False)

    @property
    def notes(self) -> Notes:
        """What the training notes beside them."""
        return Notes(self.folder)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob(f"step-{'[0-9]' * _DIGITS}"))

    def save(
        self, step: int, pieces: Mapping[str, Piece], state: Mapping[str, Any], *, rank: int = 0, size: int = 1
    ) -> None:
        """Write a checkpoint in the background, from a copy that is made before this returns.

        Every writing rank calls it, for the same steps in the same order. The first rank's write ends when the
        checkpoint is there and those that are no longer needed are gone; that of the others when their file is there.

        Args:
            pieces: what this rank holds of the tensors.
            state: JSON values; `best_step` names the checkpoint that holds the best model. The first rank's is kept.
            size: how many ranks write.

        Raises:
            OSError, UserError: the save before this one failed (see `wait`).
        """
        self.wait()
        copies = {name: replace(piece, tensor=_copy(piece.tensor)) for name, piece in pieces.items()}
        text = json.dumps(state) if rank == 0 else ""
        self._saving = self._writer.submit(self._write, step, copies, text, rank, size)

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            OSError: the write failed, for instance on a full disk; earlier checkpoints are whole.
            UserError: other ranks did not write their part.
        """
        if saving := self._saving:
            try:
                saving.result()
            finally:  # an interrupted wait leaves it to the next one
                if saving.done():
                    self._saving = None

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest whole checkpoint, which `open` reads; None if nothing was ever saved.

        Raises:
            UserError: there are checkpoints, but none is whole, or the best one is not.
        """
        self.wait()
        saved = self.steps()
        for step in reversed(saved):
            if reason := self._damage(step):
                print(f"The checkpoint of step {step} is damaged ({reason}); the one before it is used.")
                self._remove(step)
                continue
            state: dict[str, Any] = json.loads((self._at(step) / _STATE).read_text(encoding="utf-8"))
            if state["best_step"] not in (None, step):
                self._verify(state["best_step"])
            return step, state
        if saved:
            raise UserError(
                f"No checkpoint of this experiment is whole ({self.folder}).\nRun again to train from the start."
            )
        return None

    def open(self, step: int, *, verified: bool = False) -> Pieces:
        """The tensors of a checkpoint, to be read by rows.

        Args:
            verified: it was found whole just now, by `latest` or by another rank: do not read all of it again.

        Raises:
            UserError: it is damaged.
        """
        self.wait()
        if not verified:
            self._verify(step)
        return Pieces(self._at(step))

    def finish(self, locked: str) -> None:
        """Note that the training has written its results, and saves no more: see `Notes.finish`."""
        self.wait()
        self.notes.finish(locked)

    def clear(self) -> None:
        """Remove all checkpoints: their results are safe. Newest first: what is left has its best step still."""
        self.wait()
        for step in reversed(self.steps()):
            self._remove(step)
        self.notes.clear()

    def _at(self, step: int) -> Path:
        return self.folder / f"step-{step:0{_DIGITS}d}"

    def _write(self, step: int, pieces: dict[str, Piece], state: str, rank: int, size: int) -> None:
        """This rank's part of a checkpoint; the first rank waits for the others' and makes it a checkpoint."""
        unfinished = self.folder / f"{UNFINISHED}-{step}"
        tensors = unfinished / f"rank-{rank:05d}{SUFFIX}"
        if rank:  # of a step that is saved twice in a row, the first save must have its name before the second starts
            self._await(lambda: [0] if tensors.exists() else [], step)
        unfinished.mkdir(exist_ok=True)
        try:
            sha256 = write(tensors, pieces)
            if rank:
                unnamed = tensors.with_suffix(".sha256.unfinished")
                unnamed.write_text(sha256, encoding="utf-8")
                unnamed.rename(tensors.with_suffix(".sha256"))
                return
            manifest = {tensors.name: sha256}
            told = {other: unfinished / f"rank-{other:05d}.sha256" for other in range(1, size)}
            self._await(lambda: [other for other, file in told.items() if not file.exists()], step)
            for file in told.values():
                manifest[file.with_suffix(SUFFIX).name] = file.read_text(encoding="utf-8")
                file.unlink()
            self._publish(step, unfinished, manifest, state)
        except OSError:
            tensors.unlink(missing_ok=True)  # what else has to be written may need the space
            raise

    def _await(self, missing: Callable[[], list[int]], step: int) -> None:
        begun = time.monotonic()
        while ranks := missing():
            if time.monotonic() - begun > self.patience:
                raise UserError(
                    f"The checkpoint of step {step} was not written: no word from rank {', '.join(map(str, ranks))} "
                    f"for {self.patience:g} seconds ({self.folder}).\n"
                    "Look for what that process said last, and run again: earlier checkpoints are whole."
                )
            time.sleep(_POLL)

    def _publish(self, step: int, unfinished: Path, manifest: dict[str, str], state: str) -> None:
        (unfinished / _STATE).write_text(state, encoding="utf-8")
        manifest[_STATE] = digest.of_file(unfinished / _STATE)
        (unfinished / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        for path in (*self.logs, unfinished / _STATE, unfinished / _MANIFEST, unfinished):
            _sync(path)
        if self._at(step).exists():
            self._remove(step)
        unfinished.rename(self._at(step))
        _sync(self.folder)
        self._prune()

    def _damage(self, step: int) -> str:
        """Which file is not what was written; an empty string if all are.

        Raises:
            UserError: a file cannot be read just now, as on a mount that is away: that is no damage.
        """
        folder, reading = self._at(step), _MANIFEST
        try:
            manifest: dict[str, str] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            # What lies there counts as well: a flipped bit can make one name in the manifest another.
            for reading in sorted({_STATE, *manifest, *(path.name for path in folder.glob(f"*{SUFFIX}"))}):
                if digest.of_file(folder / reading) != manifest.get(reading):
                    return reading
        except (FileNotFoundError, ValueError):
            return reading
        except OSError as error:
            raise UserError(
                f"The checkpoint of step {step} cannot be read: {folder / reading}: {error.strerror}.\n"
                f"Run again when it can be, or remove {self.folder} to train from the start."
            ) from error
        return ""

    def _verify(self, step: int) -> None:
        if reason := self._damage(step):
            raise UserError(
                f"The checkpoint of step {step}, which holds the best model, is damaged ({reason}).\n"
                f"Remove {self.folder} to train again from the start."
            )

    def _prune(self) -> None:
        kept = set(self.steps()[-self.save_total_limit :])
        for step in tuple(kept):
            # An earlier one may have been damaged since it was written: no reason to stop.
            with suppress(OSError, ValueError):
                kept.add(json.loads((self._at(step) / _STATE).read_text(encoding="utf-8"))["best_step"])
        for step in self.steps():
            if step not in kept:
                self._remove(step)

    def _remove(self, step: int) -> None:
        """Remove a checkpoint; renamed first, so that a kill leaves no half of one under its name."""
        gone = self.folder / f"{UNFINISHED}-removal"
        shutil.rmtree(gone, ignore_errors=True)
        self._at(step).rename(gone)
        shutil.rmtree(gone)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _sync(path: Path) -> None:
    """Make the disk itself hold a file or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
