"""What dvc.yaml says of a stage, the params and dependencies that it is run again for, and dvc.lock of its results."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import digest, yaml_file

FILE = Path("dvc.yaml")
LOCK = Path("dvc.lock")


def param_sections(stage: str) -> list[str]:
    """The sections of params.yaml that the stage depends on."""
    sections: list[str] = _stage(stage)["params"]
    return sections


def inputs(stage: str) -> dict[str, str]:
    """SHA-256 of every dependency of the stage, by path."""
    return digest.of_paths(Path(path) for path in _stage(stage)["deps"])


def outputs(stage: str) -> dict[str, str]:
    """The hash that dvc.lock will have of every output, by path; computed, as DVC writes it only afterwards."""
    paths = map(Path, _made(_stage(stage)))
    return {path.as_posix(): md5(path) for path in paths if path.exists()}


def dependencies(stage: str) -> set[Path]:
    """The files and folders that the stage depends on."""
    return {Path(path) for path in _stage(stage)["deps"]}


def maker(path: str) -> str:
    """The stage that makes an output."""
    return next(name for name, stage in _stages().items() if path in _made(stage))


def sources() -> list[str]:
    """The dependencies that no stage makes, of all stages: code, settings, and the user's own data."""
    stages = _stages().values()
    made = {path for stage in stages for path in _made(stage)}
    return sorted({path for stage in stages for path in stage.get("deps", ())} - made)


def without_results(lock: str, pipeline: str, stage: str) -> str:
    """The text of a dvc.lock without the entries of a stage and of those that use what it makes.

    Args:
        pipeline: the text of the dvc.yaml that it belongs to.
    """
    stages, gone = yaml_file.written(pipeline)["stages"], {stage}
    while later := {
        name
        for name, entry in stages.items()
        if name not in gone and any(not set(_made(stages[other])).isdisjoint(entry.get("deps", ())) for other in gone)
    }:
        gone |= later
    entries = yaml_file.written(lock) or {}
    kept = {name: entry for name, entry in entries.get("stages", {}).items() if name not in gone}
    return yaml.safe_dump({**entries, "stages": kept}, sort_keys=False)


def locked_output(lock: str, path: Path) -> str | None:
    """The hash of an output in the text of a dvc.lock; None if no stage has made it."""
    stages = (yaml_file.written(lock) or {}).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", ()))
    return next((str(out["md5"]) for out in outs if out["path"] == path.as_posix()), None)


def locked(stage: str) -> str:
    """Digest of what dvc.lock says of the stage: another one as soon as DVC has recorded another result."""
    return digest.of_value(_locked(stage))


def has_recorded(stage: str) -> bool:
    """Whether dvc.lock names the files that the stage has written just now (folders are not looked at)."""
    outs = [out for out in _locked(stage).get("outs", ()) if Path(out["path"]).is_file()]
    return bool(outs) and all(out["md5"] == md5(Path(out["path"])) for out in outs)


def _locked(stage: str) -> dict[str, Any]:
    entries = yaml_file.written(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else None
    found: dict[str, Any] = (entries or {}).get("stages", {}).get(stage, {})
    return found


def md5(path: Path) -> str:
    """The hash that DVC gives to a file, or to a folder: that of the JSON list of its files, with `.dir` behind it."""
    if path.is_dir():
        return of_files(
            {inner.relative_to(path).as_posix(): md5(inner) for inner in path.rglob("*") if inner.is_file()}
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def of_files(hashes: Mapping[str, str]) -> str:
    """The hash that DVC gives to a folder, of the hashes of its files by their path in it."""
    listed = [{"md5": found, "relpath": name} for name, found in sorted(hashes.items())]
    return f"{hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()}.dir"


def _stages() -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = yaml_file.written(FILE.read_text(encoding="utf-8"))["stages"]
    return stages


def _stage(name: str) -> dict[str, Any]:
    return _stages()[name]


def _made(stage: dict[str, Any]) -> list[str]:
    """The paths of a stage's outputs."""
    listed = (out for kind in ("outs", "metrics") for out in stage.get(kind, ()))
    return [str(next(iter(out))) if isinstance(out, dict) else str(out) for out in listed]
