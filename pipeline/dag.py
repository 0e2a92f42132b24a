"""What dvc.yaml says of a stage, the params and dependencies that it is run again for, and dvc.lock of its results."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from pipeline import digest

FILE = Path("dvc.yaml")
LOCK = Path("dvc.lock")


def param_sections(stage: str) -> list[str]:
    """The sections of params.yaml that the stage depends on."""
    sections: list[str] = _stage(stage)["params"]
    return sections


def inputs(stage: str) -> dict[str, str]:
    """SHA-256 of every dependency of the stage, by path."""
    return digest.of_paths(Path(path) for path in _stage(stage)["deps"])


def locked(stage: str) -> str:
    """Digest of what dvc.lock says of the stage: another one as soon as DVC has recorded another result."""
    return digest.of_value(_locked(stage))


def has_recorded(stage: str) -> bool:
    """Whether dvc.lock names the files that the stage has written just now (folders are not looked at)."""
    outs = [out for out in _locked(stage).get("outs", ()) if Path(out["path"]).is_file()]
    return bool(outs) and all(out["md5"] == _md5(Path(out["path"])) for out in outs)


def _locked(stage: str) -> dict[str, Any]:
    entries = yaml.safe_load(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else None
    found: dict[str, Any] = (entries or {}).get("stages", {}).get(stage, {})
    return found


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _stage(name: str) -> dict[str, Any]:
    stage: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["stages"][name]
    return stage
