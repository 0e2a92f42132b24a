"""A small project under git and DVC, whose runs record where they come from as real ones do."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import dag, digest, params_file, project
from pipeline.params import Params
from pipeline.tracking import lineage, records, store
from pipeline.tracking.records import Record
from tests.lifecycle import forked
from tests.tracking.repositories import commit, git, write

STAGES = """stages:
  prepare:
    cmd: python prepare.py
    deps: [data/raw, prepare.py]
    outs: [data/prepared]
  train:
    cmd: python train.py
    params: [train]
    deps: [data/prepared, train.py]
    outs: [models/best, reports]
"""
PREPARE = """from pathlib import Path
Path("data/prepared").mkdir(parents=True)
rows = [path.read_text() for path in sorted(Path("data/raw").glob("*.csv"))]
Path("data/prepared/rows").write_text("".join(rows))
"""
TRAIN = """import json
from pathlib import Path
import yaml
Path("models/best").mkdir(parents=True)
Path("reports").mkdir()
rate = yaml.safe_load(Path("params.yaml").read_text())["train"]["learning_rate"]
rows = Path("data/prepared/rows").read_text()
Path("models/best/weights").write_text(f"{rate} {rows}")
scores = {"accuracy": {"value": len(rows) / 100, "low": 0.1, "high": 0.4}}
Path("reports/evaluation.json").write_text(json.dumps({"test": scores, "validation": {}}))
"""
IGNORED = "/data/raw/**\n!/data/raw/**/\n!/data/**/*.dvc\n!/data/**/.gitignore\n/data/prepared\n/models\n/reports\n"
IGNORED += "/mlflow.db*\n/mlartifacts/\n/.reprise/\n__pycache__/\n"


@dataclass
class Traced:
    """The project, in which the test runs.

    It has three files of data: one that git has, one that DVC has, and one that neither has.
    """

    home: Path
    client: MlflowClient
    experiment: str

    def run(self, name: str, score: float = 0.5, params: Params | None = None) -> Record:
        """Train with the project as it stands, and record it."""
        params = params or Params()
        (self.home / project.PARAMS).write_text(params_file.render(params))
        dvc("repro", "-q", "prepare")
        kept = lineage.capture(params, dag.inputs("train"), "cpu")
        dvc("repro", "-q", "train")
        run_id = self.client.create_run(self.experiment, run_name=name).info.run_id
        draft = self.home / ".reprise/draft"
        write({**kept, "params.yaml": params_file.render(params)}, draft)
        write({"report/evaluation.json": Path("reports/evaluation.json").read_bytes()}, draft)
        self.client.log_artifacts(run_id, str(draft))
        shutil.rmtree(draft)
        self.client.log_metric(run_id, "validation/accuracy", score, step=1)
        self.client.set_tag(run_id, records.MODEL_DIGEST, digest.of_folder(project.BEST_MODEL))
        for path, value in dag.outputs("train").items():
            self.client.set_tag(run_id, f"{records.OUTPUT}{path}", value)
        self.client.set_terminated(run_id)
        return records.find(run_id, "reprise")


def project_in(folder: Path) -> None:
    """Make the project in an empty folder."""
    git("init", "-q", "-b", "main", folder=folder)
    dvc("init", "-q", folder=folder)
    write({"data/raw/large.csv": "large\n", "data/raw/mine.csv": "mine\n", ".gitignore": IGNORED}, folder)
    dvc("add", "-q", "data/raw/large.csv", folder=folder)
    git("add", ".", folder=folder)
    code = {"prepare.py": PREPARE, "train.py": TRAIN, ".dvcignore": ".gitignore\n"}
    commit({"data/raw/small.csv": "small\n", **code}, folder=folder)
    commit({"dvc.yaml": STAGES, "params.yaml": params_file.render(Params())}, folder=folder)


def copy(made: Path, empty_database: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Traced:
    """A copy of the project in a folder of its own below `home`, so that there is room beside it."""
    folder = home / "project"
    shutil.copytree(made, folder, symlinks=True)
    shutil.copy(empty_database, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    client = store.connect()
    return Traced(folder, client, store.experiment_id(client, "reprise"))


def dvc(*command: str, folder: Path | None = None) -> str:
    """Run DVC, and fail if it fails."""
    return forked.done(folder or Path(), *command)
