"""Project folders in which the stage `train` runs as a process, and what such a run leaves behind."""

import os
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from pipeline import params_file, project
from pipeline.params import Hardware, Params
from tests.conftest import REPOSITORY

STAGE = [sys.executable, "-m", "stages.train"]
_RESULTS = (project.BEST_MODEL, project.TRAIN_METRICS, project.TRAIN_CURVE, project.VALIDATION_CURVES)


def environment() -> dict[str, str]:
    """That of a user's shell in such a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "REPRISE_"))}
    return kept | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}


def home_of(tokenized: Path, home: Path, params: Params, **hardware: Any) -> Path:
    """A copy of a tokenized folder whose params have this hardware; one that is there is given other hardware."""
    if not home.exists():
        shutil.copytree(tokenized, home)
    values = {**params.hardware.model_dump(), **hardware}
    rendered = params_file.render(params.model_copy(update={"hardware": Hardware(**values)}))
    (home / project.PARAMS).write_text(rendered)
    return home


def results(home: Path) -> dict[str, bytes]:
    """The bytes of all that the stage writes, by path."""
    files = [file for path in _RESULTS for file in ([home / path, *(home / path).rglob("*")]) if file.is_file()]
    return {str(file.relative_to(home)): file.read_bytes() for file in files}


def points(home: Path) -> dict[tuple[str, int], float]:
    """Every point of every curve in MLflow, by metric and step, of the run that is finished.

    Speed has points, but no value that comes again: it is 0. A run that was killed before it trained, or while its
    checkpoints were removed, is followed by another one: each that has points must be complete.
    """
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as database:
        runs = dict(database.execute("select run_uuid, status from runs"))
        rows = database.execute("select run_uuid, key, step, value from metrics where key not like 'system/%'")
        found: dict[str, list[tuple[tuple[str, int], float]]] = {}
        for run, key, step, value in rows:
            found.setdefault(run, []).append(((key, step), 0.0 if "per_second" in key else value))
    assert found, "no run has points"
    for run, told in found.items():
        assert runs[run] == "FINISHED", f"a run with points is {runs[run]}"
        twice = [name for name, count in Counter(name for name, _ in told).items() if count > 1]
        assert not twice, f"told more than once: {twice}"
    first, *others = (dict(told) for told in found.values())
    assert all(other == first for other in others)
    return first


def processes_of(session: int) -> list[psutil.Process]:
    """The processes of a session that are alive, its leader first."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return sorted(found, key=lambda process: process.pid != session)


def workers_of(session: int) -> list[psutil.Process]:
    """Those that torch elastic started: without the process that multiprocessing starts for itself."""

    def is_worker(process: psutil.Process) -> bool:
        try:
            return process.pid != session and "resource_tracker" not in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            return False

    return [process for process in processes_of(session) if is_worker(process)]


def checkpoints_of(home: Path, pattern: str) -> list[Path]:
    """What lies beside the checkpoints, or they themselves, by the pattern of its name."""
    return sorted((home / ".reprise" / "checkpoints").glob(f"*/{pattern}"))
