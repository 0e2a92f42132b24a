"""A team on a forge: its repository, data on S3, an MLflow server, and what its owner does."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import params_file
from pipeline.params import Data, Params
from tests.conftest import REPOSITORY, texts_and_labels
from tests.services.workflow import Forge, Result, read
from tests.stages.test_pipeline import clone, small

WORKFLOW = read(REPOSITORY / ".github/workflows/retrain.yml")
BRANCH = "reprise/retrain"
GH = """#!/bin/sh
# Stands in for GitHub: notes what it is asked, and knows of one pull request.
echo "$@" >> "$GH_STATE/asked"
case "$1 $2" in
  "pr list") [ ! -f "$GH_STATE/open" ] || echo 1 ;;
  "pr create") touch "$GH_STATE/open" ;;
  "pr ready") case "$*" in *--undo*) echo draft ;; *) echo ready ;; esac > "$GH_STATE/state" ;;
  "pr comment") for last; do :; done; cp "$last" "$GH_STATE/comment" ;;
esac
"""


def forge_of(remote: dict[str, str], tiny: Params, tmp_path: Path) -> Forge:
    """A repository with one committed import of rows, and nothing trained; a team's variables and secrets are set."""
    work = clone(tmp_path / "owner", team(tiny))
    (work / "data/raw/reviews.csv").rename(tmp_path / "source.csv")
    programs = programs_of(tmp_path / "programs")
    (tmp_path / "github").mkdir()
    origin = tmp_path / "origin.git"
    variables = {
        **{name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ},
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "GH_STATE": str(tmp_path / "github"),
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(origin))
    git(tmp_path, "--git-dir", str(origin), "config", "uploadpack.allowAnySHA1InWant", "true")
    git(work, "config", "user.name", "owner")
    git(work, "config", "user.email", "owner@example.com")
    git(work, "remote", "add", "origin", f"file://{origin}")
    keep_on_s3(work, tmp_path / "source.csv", remote, variables)
    commit(work, "rows")
    contexts = {
        "vars": {"MLFLOW_TRACKING_URI": remote["mlflow"]},
        "secrets": {name: value for name, value in remote.items() if name.startswith("AWS")},
        "github": {"event_name": "workflow_dispatch", "repository": "team/project", "event": {}},
        "inputs": {},
    }
    return Forge(WORKFLOW, origin, tmp_path / "runner", contexts, programs, variables)


def programs_of(folder: Path) -> Path:
    """A folder with what the workflow calls and a runner does not have, or should not really run."""
    folder.mkdir()
    for name, script in (
        ("gh", GH),
        ("pip", '#!/bin/sh\necho "pip $@"\n'),
        ("reprise", f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.cli "$@"\n'),
    ):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def keep_on_s3(work: Path, source: Path, remote: Mapping[str, str], variables: Mapping[str, str]) -> None:
    """Have DVC import the rows, and push them to a place of their own in the bucket."""
    own = {**os.environ, **variables, **{name: value for name, value in remote.items() if name.isupper()}}
    for command in (
        ("init", "-q"),
        ("remote", "add", "-q", "-d", "s3", f"s3://{remote['bucket']}/{uuid.uuid4().hex}"),
        ("remote", "modify", "s3", "endpointurl", remote["endpoint"]),
        ("import-url", "-q", str(source), "data/raw/reviews.csv"),
        ("push", "-q", "data/raw/reviews.csv.dvc"),
    ):
        if command[0] != "init" or not (work / ".dvc/config").exists():
            subprocess.run(["dvc", *command], cwd=work, env=own, check=True, capture_output=True)


def team(params: Params) -> Params:
    """Params whose model is hardly trained at first, judged on enough rows to tell, in an experiment of their own."""
    params = small(params)
    return params.model_copy(
        update={
            "data": Data(dataset_name=None, train_file="data/raw/reviews.csv", test_split_percentage=30),
            "train": params.train.model_copy(update={"max_steps": 1}),
            "tracking": params.tracking.model_copy(update={"experiment_name": f"team-{uuid.uuid4().hex[:8]}"}),
        }
    )


def git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def owner(forge: Forge) -> Path:
    return forge.origin.parent / "owner"


def commit(work: Path, message: str) -> str:
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    git(work, "push", "-q", "origin", "HEAD:main")
    return git(work, "rev-parse", "HEAD")


def main(forge: Forge) -> str:
    return git(forge.origin, "rev-parse", "main")


def proposed(forge: Forge) -> str | None:
    return git(forge.origin, "for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}") or None


def merge(forge: Forge) -> dict[str, Result]:
    """The owner merges the proposal, which is an event of its own."""
    work = owner(forge)
    git(work, "fetch", "-q", "origin", BRANCH)
    git(work, "reset", "-q", "--hard", main(forge))
    git(work, "merge", "-q", "--no-ff", "-m", "Merge the proposal", "FETCH_HEAD")
    git(work, "push", "-q", "origin", "HEAD:main")
    (forge.origin.parent / "github/open").unlink()
    closed = {
        "merged": True,
        "merge_commit_sha": main(forge),
        "head": {"ref": BRANCH, "repo": {"full_name": "team/project"}},
    }
    return on(forge, event_name="pull_request", event={"pull_request": closed})


def on(forge: Forge, inputs: dict[str, str] | None = None, **github: object) -> dict[str, Result]:
    """Run the workflow on the newest commit of main."""
    event = {**forge.contexts["github"], "sha": main(forge), **github}
    return replace(forge, contexts={**forge.contexts, "github": event}).run(main(forge), inputs=inputs or {})


def results(jobs: dict[str, Result]) -> list[str]:
    return [found.result for found in jobs.values()]


def champion(forge: Forge) -> str | None:
    client = MlflowClient(forge.contexts["vars"]["MLFLOW_TRACKING_URI"])
    params = params_file.read(owner(forge) / "params.yaml")
    try:
        return str(client.get_model_version_by_alias(params.tracking.model, "champion").version)
    except MlflowException:
        return None


def seen(forge: Forge, name: str) -> str:
    return (forge.origin.parent / "github" / name).read_text()


def rows_of(count: int, seed: int) -> str:
    texts, labels = texts_and_labels(count, seed)
    return "".join(f"{text},{('bad', 'good')[label]}\n" for text, label in zip(texts, labels, strict=True))


def shows_a_row(report: str, source: Path) -> bool:
    rows = [line.rpartition(",")[0] for line in source.read_text().splitlines()[1:]]
    return any(row in report for row in rows if len(row.split()) > 2)


def said(jobs: dict[str, Result]) -> str:
    return "\n".join(f"--- {name}: {found.result}\n{found.said[-3000:]}" for name, found in jobs.items())


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "it ended before there was anything to interrupt"
        time.sleep(0.01)
