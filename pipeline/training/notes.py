"""What a training notes beside its checkpoints: its run, the micro-batch that fits, and that it is finished."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

UNFINISHED = "unfinished"
"""What the names begin with of all that is being written: it is whole when it is renamed."""

_RUN, _TOKENS, _FINISHED = "run_id", "micro_batch_tokens.json", "finished"


@dataclass
class Notes:
    """The notes of one experiment, which lie in the folder of its checkpoints, a file each."""

    folder: Path

    @property
    def run_id(self) -> str | None:
        """The id of the run that the training is written to, so that a resumed one goes on in it."""
        file = self.folder / _RUN
        return (file.read_text(encoding="utf-8") or None) if file.exists() else None

    @run_id.setter
    def run_id(self, run_id: str | None) -> None:
        if run_id is not None:
            self._note(_RUN, run_id)

    def kept_tokens(self, asked: int | str) -> int | None:
        """The micro-batch that was found to fit when `asked` was asked for; that itself, if it is a number.

        Args:
            asked: hardware.micro_batch_tokens.
        """
        file = self.folder / _TOKENS
        with suppress(FileNotFoundError):
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["asked"] == asked:
                return int(kept["tokens"])
        return asked if isinstance(asked, int) else None

    def keep_tokens(self, asked: int | str, tokens: int) -> None:
        """Have a resumed training use the same micro-batches."""
        self._note(_TOKENS, json.dumps({"asked": asked, "tokens": tokens}))

    def finish(self, locked: str) -> None:
        """Note that the training has written its results. They are lost if DVC is killed before it records them.

        Args:
            locked: what DVC has recorded of the stage before (`dag.locked`).
        """
        self._note(_FINISHED, locked)

    def recorded(self, locked: str) -> bool:
        """Whether DVC has recorded the results since the training was finished, so that nothing here is needed."""
        with suppress(FileNotFoundError):
            return (self.folder / _FINISHED).read_text(encoding="utf-8") != locked
        return False

    def clear(self) -> None:
        """Remove all notes."""
        for name in (_RUN, _TOKENS, _FINISHED):
            (self.folder / name).unlink(missing_ok=True)

    def _note(self, name: str, text: str) -> None:
        unnamed = self.folder / f"{UNFINISHED}-{name}.{os.getpid()}"
        unnamed.write_text(text, encoding="utf-8")
        unnamed.rename(self.folder / name)
