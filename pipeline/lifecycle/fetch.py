"""Registered models on this machine: each is downloaded once, and kept below .reprise/."""

import re
from pathlib import Path

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.lifecycle.register import scratch
from pipeline.tracking.registry import CHAMPION, Registry, Version

_VERSION = re.compile(r"(?P<model>[^/:@]+)(?:/(?P<number>\d+)|@(?P<alias>[^/:@]+))")


def of_registry(called: str) -> Path | None:
    """The exported model of MODEL/VERSION or MODEL@champion; None if the text is neither.

    Raises:
        UserError: there is no such version, or no champion.
    """
    match = _VERSION.fullmatch(called)
    if match is None:
        return None
    model, number, alias = match["model"], match["number"], match["alias"]
    registry = Registry.open(model)
    if number is None and (number := registry.aliases().get(alias)) is None:
        there = ", ".join(registry.aliases()) or "none"
        hint = "\nPromote a model first: reprise promote" if alias == CHAMPION else ""
        raise UserError(f"'{model}' has no alias '{alias}' in MLflow's registry; there is {there}.{hint}")
    return fetched(registry, registry.version(number))


def fetched(registry: Registry, version: Version) -> Path:
    """The exported model of a version.

    Raises:
        UserError: what the registry keeps is not what was registered.
    """
    kept = project.state() / "registry" / version.model_digest
    if kept.is_dir():
        return kept
    # Imported here: with it come torch and the whole of MLflow.
    from pipeline.serving import package

    with scratch() as folder:
        model = package.model_of(registry.fetch(version, folder))
        if digest.of_folder(model) != version.model_digest:
            raise UserError(f"What the registry keeps of {version} is not the model that was registered: it changed.")
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            model.rename(kept)
        except OSError:  # another process was faster
            if not kept.is_dir():
                raise
    return kept
