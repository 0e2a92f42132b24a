"""Where a model and a tokenizer come from: a folder or the hub, and what they are by content."""

import json
import os
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError

from pipeline import digest, json_file, project
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Params

_MAX_REASON = 200
_NOTED = "model.json"


def named(params: Params) -> tuple[tuple[str, str | None, str | None], ...]:
    """(key, name, revision) of the model and of the tokenizer."""
    return (
        ("model.model_name_or_path", params.model.model_name_or_path, params.model.model_revision),
        ("tokenizer.tokenizer_name", params.tokenizer.tokenizer_name, params.tokenizer.tokenizer_revision),
    )


def located(name: str, key: str) -> str:
    """The folder or the hub name.

    Raises:
        UserError: it looks like a folder but there is none (no question for the hub), or DVC would delete it.
    """
    folder = Path(name).expanduser()
    for output in (project.BEST_MODEL, project.TOKENIZED):
        if folder.resolve().is_relative_to(output.resolve()):
            raise UserError(
                f"{key}: {name} is an output, which DVC deletes before it is made again.\n"
                f"Copy it first: cp -r {name} data/models/NAME, and name the copy."
            )
    if folder.is_dir():
        return str(folder)
    if folder.is_absolute() or name.startswith((".", "~", "data/", "models/")) or name.count("/") > 1:
        near = did_you_mean(folder.name, (path.name for path in folder.parent.glob("*") if path.is_dir()))
        copy = ""
        if not folder.is_absolute() and (project.home() / folder).is_dir():
            copy = f"\nThis is a temporary copy, without git-ignored files: dvc add {name}, and commit {name}.dvc."
        raise UserError(f"{key}: there is no folder {name}.{near}{copy}")
    return name


def refusal(key: str, name: str, error: Exception, what: str) -> str:
    """That the name stands for no model or tokenizer (`what`), and why."""
    if Path(name).expanduser().is_dir():
        needed = {"model": "config.json and model.safetensors", "tokenizer": "tokenizer.json"}[what]
        return f"{key}: the folder {name} is no {what} that transformers can load; it needs {needed}.\n{reason(error)}"
    return f"{key}: neither a folder nor a {what} of the hub (or there is no network): {name}\n{reason(error)}"


def reason(error: Exception) -> str:
    """What transformers says, in one line that is not too long."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    if isinstance(error, StrictDataclassError):
        text = text.split("Error: ")[-1]
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."


def digests(params: Params) -> dict[str, str]:
    """What the weights and the tokenizer are: digests of local folders by content, hub models by name and revision."""
    found = {}
    for key, name, revision in named(params):
        if name is not None:
            folder = Path(name).expanduser()
            found[key] = digest.of_folder(folder) if folder.is_dir() else f"{name}@{revision}"
    return found


def unwatched(name: str) -> bool:
    """Whether the name is a folder that DVC does not see change, since it lies outside data/models."""
    # Not resolved: what lies below data/models may be a link to another disk, or into DVC's cache.
    inside = Path(os.path.abspath(Path(name).expanduser())).is_relative_to(Path.cwd() / project.MODELS)  # noqa: PTH100
    return Path(name).expanduser().is_dir() and not inside


def note(params: Params) -> None:
    """Note beside the tokens what they were made for: train runs again when that changes, and for nothing else."""
    json_file.write(project.TOKENIZED / _NOTED, digests(params))


def check_noted(params: Params) -> None:
    """Raise a UserError if a folder has changed since the tokens were made for it: DVC's record would name the old."""
    noted = json.loads((project.TOKENIZED / _NOTED).read_text(encoding="utf-8"))
    now = digests(params)
    for key, name, _ in named(params):
        if noted.get(key) != now.get(key):
            raise UserError(
                f"{key}: {name} has changed since stage tokenize used it, and DVC watches {project.MODELS}/ only.\n"
                f"Run dvc repro -sf tokenize, then dvc repro. Better: copy it to {project.MODELS}/, and name the copy."
            )
