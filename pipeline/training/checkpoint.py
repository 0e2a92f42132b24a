"""Checkpoints: written whole or not at all, verified when read, pruned, and never shared by two trainers.

They lie outside DVC's outputs, which DVC deletes before a stage runs, keyed by a fingerprint of all that DVC would
re-run the stage for. Only a manifest of checksums catches a flipped bit: torch.load reads it without a word.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline import dag, digest, project
from pipeline.errors import UserError
from pipeline.model import origin
from pipeline.params import Params

_TENSORS, _STATE, _MANIFEST, _RUN = "state.pt", "state.json", "manifest.json", "run_id"
_UNFINISHED, _DIGITS = "unfinished", 8


def fingerprint(params: Params, inputs: Mapping[str, str]) -> str:
    """What a checkpoint belongs to: all that DVC re-runs the train stage for, and what DVC cannot list.

    The latter is a model folder outside data/models, and the versions that are installed.

    Args:
        inputs: SHA-256 of every dependency of the stage, by path (`dag.inputs`).
    """
    values = params.model_dump(mode="json")
    return digest.of_value(
        {
            "params": {section: values[section] for section in dag.param_sections("train")},
            "inputs": inputs,
            "model": origin.digests(params),
            "versions": {package: version(package) for package in ("torch", "transformers")},
        }
    )


@contextmanager
def hold(mark: str, save_total_limit: int) -> Iterator["Checkpoints"]:
    """The checkpoints of a fingerprint, for this process alone.

    Raises:
        UserError: another process trains the same experiment.
    """
    folder = project.state() / "checkpoints" / mark
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"The same experiment is being trained already, by {lock.read()}.\n"
                "Wait for it, or stop it: what it saved is taken up from there."
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield Checkpoints(folder, save_total_limit)


@dataclass
class Checkpoints:
    """The checkpoints of one experiment, newest last.

    Attributes:
        folder: where they lie, one folder a step.
        save_total_limit: how many are kept, beside the best.
    """

    folder: Path
    save_total_limit: int

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob(f"step-{'[0-9]' * _DIGITS}"))

    def save(self, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """Write a checkpoint, then remove those that are no longer needed.

        Args:
            tensors: state dictionaries of tensors and plain values.
            state: JSON values; `best_step` names the checkpoint that holds the best model.
        """
        unfinished = self.folder / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        with (unfinished / _TENSORS).open("wb") as file:  # a path instead would not tell that the disk is full
            torch.save(tensors, file)
        (unfinished / _STATE).write_text(json.dumps(state), encoding="utf-8")
        manifest = {name: digest.of_file(unfinished / name) for name in (_TENSORS, _STATE)}
        (unfinished / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        for name in (_TENSORS, _STATE, _MANIFEST):
            _sync(unfinished / name)
        _sync(unfinished)
        shutil.rmtree(self._at(step), ignore_errors=True)
        unfinished.rename(self._at(step))
        _sync(self.folder)
        self._prune()

    def latest(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and state of the newest whole checkpoint; None if nothing was ever saved.

        Raises:
            UserError: there are checkpoints, but none is whole, or the best one is not.
        """
        saved = self.steps()
        for step in reversed(saved):
            if reason := self._damage(step):
                print(f"The checkpoint of step {step} is damaged ({reason}); the one before it is used.")
                self._remove(step)
                continue
            state = json.loads((self._at(step) / _STATE).read_text(encoding="utf-8"))
            if state["best_step"] not in (None, step):
                self._verify(state["best_step"])
            return self.tensors(step), state
        if saved:
            raise UserError(
                f"No checkpoint of this experiment is whole ({self.folder}).\nRun again to train from the start."
            )
        return None

    def tensors(self, step: int) -> dict[str, Any]:
        """The tensors of a checkpoint, on the CPU.

        Raises:
            UserError: it is damaged.
        """
        self._verify(step)
        tensors: dict[str, Any] = torch.load(self._at(step) / _TENSORS, map_location="cpu", weights_only=True)
        return tensors

    @property
    def run_id(self) -> str | None:
        """The MLflow run that the training is written to, so that a resumed one goes on in it."""
        file = self.folder / _RUN
        return (file.read_text(encoding="utf-8") or None) if file.exists() else None

    @run_id.setter
    def run_id(self, run_id: str | None) -> None:
        if run_id is not None:
            (self.folder / _RUN).write_text(run_id, encoding="utf-8")

    def clear(self) -> None:
        """Remove all checkpoints: the training has succeeded. Newest first: what is left has its best step still."""
        for step in reversed(self.steps()):
            self._remove(step)
        (self.folder / _RUN).unlink(missing_ok=True)

    def _at(self, step: int) -> Path:
        return self.folder / f"step-{step:0{_DIGITS}d}"

    def _damage(self, step: int) -> str:
        """Which file is not what was written; an empty string if all are."""
        try:
            manifest = json.loads((self._at(step) / _MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return _MANIFEST
        for name in (_TENSORS, _STATE):
            try:
                if digest.of_file(self._at(step) / name) != manifest.get(name):
                    return name
            except OSError:
                return name
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
        gone = self.folder / _UNFINISHED
        shutil.rmtree(gone, ignore_errors=True)
        self._at(step).rename(gone)
        shutil.rmtree(gone)


def _sync(path: Path) -> None:
    """Make the disk itself hold a file or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
