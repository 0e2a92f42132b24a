"""A project whose five stages are copies of files: DVC, git and a remote are real, and nothing is trained."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline import params_file
from pipeline.params import Data, Params
from tests.lifecycle import forked

IGNORED = """/data/checked.txt
/data/prepared
/data/tokenized
/models/
/reports
/.reprise/
/data/raw/*
!/data/raw/*.dvc
"""
STAGES = """
stages:
  check:
    cmd: mkdir -p data && echo fine > data/checked.txt
    params: [data, train]
    deps: [data/raw]
    outs: [{data/checked.txt: {cache: false}}]
  prepare:
    cmd: cp data/raw/rows.csv data/prepared
    params: [data]
    deps: [data/checked.txt, data/raw]
    outs: [data/prepared]
  tokenize:
    cmd: cp data/prepared data/tokenized
    deps: [data/checked.txt, data/prepared]
    outs: [data/tokenized]
  train:
    cmd: mkdir -p models/best && cp data/tokenized models/best/model && cat params.yaml >> models/best/model
    params: [train]
    deps: [data/checked.txt, data/tokenized]
    outs: [models/best]
  evaluate:
    cmd: mkdir -p metrics && wc -c < models/best/model > metrics/evaluation.json && cp models/best/model reports
    deps: [data/checked.txt, models/best]
    outs: [reports]
    metrics: [{metrics/evaluation.json: {cache: false}}]
"""


def run(folder: Path, *command: str) -> str:
    """Run a command there, and give back what it wrote."""
    if command[0] == "dvc":
        return forked.done(folder, *command[1:])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(command, cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project(folder: Path) -> Path:
    """A clone of a bare repository, both below the folder, with results that DVC and git have and have pushed."""
    run(folder, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
    run(folder, "git", "clone", "-q", "origin.git", "work")
    work = folder / "work"
    (work / "data/raw").mkdir(parents=True)
    (folder / "source.csv").write_text("text,label\na,b\n")
    params = Params(data=Data(dataset_name=None, train_file="data/raw/rows.csv"))
    (work / "params.yaml").write_text(params_file.render(params))
    (work / "dvc.yaml").write_text(STAGES)
    (work / ".gitignore").write_text(IGNORED)
    for key, value in (("user.name", "t"), ("user.email", "t@example.com")):
        run(work, "git", "config", key, value)
    run(work, "dvc", "init", "-q")
    (work / ".dvcignore").write_text(".gitignore\n")
    run(work, "dvc", "remote", "add", "-q", "-d", "store", str(folder / "store"))
    run(work, "dvc", "import-url", "-q", str(folder / "source.csv"), "data/raw/rows.csv")
    run(work, "dvc", "repro", "-q")
    run(work, "dvc", "push", "-q", "--run-cache")
    commit(work, "results")
    return work


def commit(work: Path, message: str) -> None:
    """Commit everything, and push it to main."""
    run(work, "git", "add", "-A")
    run(work, "git", "commit", "-qm", message)
    run(work, "git", "push", "-q", "origin", "HEAD:main")


def clone(made: Path, folder: Path) -> Path:
    """A clone of a project, in a folder, beside a bare repository of its own."""
    run(folder, "git", "clone", "-q", "--bare", str(made.parent / "origin.git"), "origin.git")
    run(folder, "git", "clone", "-q", "origin.git", "work")
    return folder / "work"
