"""The card of an exported model, read in an instant: what is wrong with a folder is said before torch is imported."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import project
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Tokenizer


@dataclass(frozen=True)
class Card:
    """What `pipeline.model.export.export` says of a model.

    Attributes:
        task: the name of the task that it was trained for.
        state: the fields of that task.
        tokenizer: how its texts became tokens.
    """

    task: str
    state: dict[str, Any]
    tokenizer: Tokenizer

    @property
    def columns(self) -> tuple[str, ...]:
        """What somebody who asks must give."""
        return tuple(self.state["inputs"])


def read(folder: Path) -> Card:
    """The card of the model in a folder.

    Raises:
        UserError: there is no folder, no model in it, or none that Reprise exported.
    """
    if not (folder / "config.json").is_file():
        raise UserError(_no_model(folder))
    path = folder / project.MODEL_CARD
    if not path.is_file():
        raise UserError(
            f"{folder} was not exported by Reprise: it has no {project.MODEL_CARD}, which names the task.\n"
            f"Train it further with model.model_name_or_path: {folder}, or use transformers to load it."
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Card(values["task"], values["state"], Tokenizer(**values["tokenizer"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not as Reprise writes it ({error!r}). Restore it: dvc checkout {folder}") from None


def _no_model(folder: Path) -> str:
    here = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    if here == project.BEST_MODEL:
        return f"There is no model in {here} yet. Train one: dvc repro; or bring the last one back: dvc checkout"
    if folder.is_dir():
        return f"{here} holds no model: it has no config.json."
    near = did_you_mean(folder.name, (path.name for path in folder.parent.glob("*") if path.is_dir()))
    return f"There is no folder {here}.{near}"
