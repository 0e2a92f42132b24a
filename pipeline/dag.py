"""What dvc.yaml says of a stage: the params and dependencies that it is run again for."""

from pathlib import Path
from typing import Any

import yaml

from pipeline import digest

FILE = Path("dvc.yaml")


def param_sections(stage: str) -> list[str]:
    """The sections of params.yaml that the stage depends on."""
    sections: list[str] = _stage(stage)["params"]
    return sections


def inputs(stage: str) -> dict[str, str]:
    """SHA-256 of every dependency of the stage, by path."""
    return digest.of_paths(Path(path) for path in _stage(stage)["deps"])


def _stage(name: str) -> dict[str, Any]:
    stage: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["stages"][name]
    return stage
