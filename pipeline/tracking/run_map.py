"""Which MLflow run made which model: the local map, for when the server is away."""

import json
import os
from pathlib import Path

from pipeline import project
from pipeline.tracking.store import locked


def _path() -> Path:
    return project.state() / "runs.json"


def recall(model_digest: str) -> str | None:
    """The id of the run that made the model here, if one did."""
    try:
        runs = json.loads(_path().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # A map that is missing or broken is no loss: the runs carry the same digests as tags.
        return None
    found = runs.get(model_digest) if isinstance(runs, dict) else None
    return found if isinstance(found, str) else None


def remember(model_digest: str, run_id: str) -> None:
    """Note the run that made a model; several processes may do so at once, and a killed one leaves the old map."""
    path = _path()
    with locked("runs"):
        try:
            runs = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            runs = {}
        draft = path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({**(runs if isinstance(runs, dict) else {}), model_digest: run_id}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
