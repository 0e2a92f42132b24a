"""Which run made which model: the local map, for when the server is away, and to be fast."""

import json
import os
from pathlib import Path

from pipeline import project
from pipeline.tracking.database import locked


def _path() -> Path:
    return project.state() / "runs.json"


def recall(model_digest: str) -> str | None:
    """The id of the MLflow run that made the model here, if one did and MLflow knows it."""
    return _read().get(model_digest, {}).get("run")


def recall_name(model_digest: str) -> str | None:
    """The name of the run that made the model here, if one did."""
    return _read().get(model_digest, {}).get("name")


def remember(model_digest: str, **facts: str) -> None:
    """Note what is known of the run that made a model: its `journal` and `name`, or its `run` in MLflow.

    Several processes may do so at once, and a killed one leaves the old map. Another journal is another run.
    """
    path = _path()
    with locked("runs"):
        runs = _read()
        known = runs.get(model_digest, {})
        if facts.get("journal", known.get("journal")) != known.get("journal"):
            known = {}
        draft = path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({**runs, model_digest: {**known, **facts}}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def _read() -> dict[str, dict[str, str]]:
    try:
        runs = json.loads(_path().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # A map that is missing or broken is no loss: the runs carry the same digests as tags.
        return {}
    return (
        {digest: facts for digest, facts in runs.items() if isinstance(facts, dict)} if isinstance(runs, dict) else {}
    )
