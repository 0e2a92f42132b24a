"""The retraining workflow, its own commands run as its YAML has them: git, DVC on S3 and an MLflow server are real."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import params_file
from pipeline.params import Data, Params
from tests.conftest import REPOSITORY, texts_and_labels
from tests.services import servers
from tests.services.servers import Server
from tests.services.workflow import Forge, Result, read
from tests.stages.test_pipeline import clone, small

pytestmark = pytest.mark.services

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


@pytest.fixture(scope="module")
def remote(s3: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A bucket and an MLflow server; the variables that lead to them."""
    import boto3

    bucket = f"reprise-{uuid.uuid4().hex}"
    keys = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    boto3.client(
        "s3",
        endpoint_url=s3.address,
        aws_access_key_id="testing",
        aws_secret_access_key="testing-secret",
        region_name="us-east-1",
    ).create_bucket(Bucket=bucket)
    folder = tmp_path_factory.mktemp("mlflow")
    server = servers.mlflow(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "log")
    server.start()
    yield {"bucket": bucket, "endpoint": s3.address, "mlflow": server.address, **keys}
    server.close()


@pytest.fixture
def forge(remote: dict[str, str], tiny: Params, tmp_path: Path) -> Forge:
    """A repository with one committed import of rows, and nothing trained; a team's variables and secrets are set."""
    work = clone(tmp_path / "owner", team(tiny))
    (work / "data/raw/reviews.csv").rename(tmp_path / "source.csv")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (
        ("gh", GH),
        ("pip", '#!/bin/sh\necho "pip $@"\n'),
        ("reprise", f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.cli "$@"\n'),
    ):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
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
    own = {**os.environ, **variables, **{name: value for name, value in remote.items() if name.isupper()}}
    for command in (
        ("init", "-q"),
        ("remote", "add", "-q", "-d", "s3", f"s3://{remote['bucket']}/{uuid.uuid4().hex}"),
        ("remote", "modify", "s3", "endpointurl", remote["endpoint"]),
        ("import-url", "-q", str(tmp_path / "source.csv"), "data/raw/reviews.csv"),
        ("push", "-q", "data/raw/reviews.csv.dvc"),
    ):
        if command[0] != "init" or not (work / ".dvc/config").exists():
            subprocess.run(["dvc", *command], cwd=work, env=own, check=True, capture_output=True)
    commit(work, "rows")
    contexts = {
        "vars": {"MLFLOW_TRACKING_URI": remote["mlflow"]},
        "secrets": {name: value for name, value in remote.items() if name.startswith("AWS")},
        "github": {"event_name": "workflow_dispatch", "repository": "team/project", "event": {}},
        "inputs": {},
    }
    return Forge(WORKFLOW, origin, tmp_path / "runner", contexts, programs, variables)


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


def test_a_team_from_its_first_model_on(forge: Forge) -> None:
    source = forge.origin.parent / "source.csv"

    # The first model: there is no champion yet, so it passes; the owner's merge promotes it.
    jobs = on(forge, event_name="push")
    assert results(jobs) == ["success", "success", "success", "skipped"], said(jobs)
    assert jobs["train"].outputs["verdict"] == "passed"
    assert champion(forge) is None, "nothing moves the alias before the owner has approved"
    assert results(merge(forge)) == ["skipped", "skipped", "skipped", "success"]
    assert champion(forge) == "1"

    # Merging retrains nothing, and a quiet week pushes nothing.
    before = proposed(forge)
    for event in ("push", "schedule"):
        jobs = on(forge, event_name=event)
        assert results(jobs) == ["success", "skipped", "skipped", "skipped"]
        assert "Nothing changed" in jobs["plan"].said
    assert proposed(forge) == before

    # A better parameter.
    jobs = on(forge, inputs={"overrides": "train.max_steps=90"})
    assert results(jobs)[:3] == ["success"] * 3, said(jobs)
    assert jobs["train"].outputs["verdict"] == "passed"
    assert seen(forge, "state") == "ready\n"
    changed = git(forge.origin, "diff", "--name-only", f"main...{BRANCH}").split()
    assert changed == [
        "dvc.lock",
        "metrics/decision.json",
        "metrics/evaluation.json",
        "metrics/train.json",
        "params.yaml",
    ]
    difference = git(forge.origin, "diff", "--unified=0", f"main...{BRANCH}", "--", "params.yaml")
    assert "+  max_steps: 90  #" in difference, "the comment stays"
    assert "checkpoint_dir" not in difference, "where a runner keeps checkpoints is not proposed"
    report = seen(forge, "comment")
    assert "| `train.max_steps` | `1` | `90` |" in report
    assert f"{forge.contexts['vars']['MLFLOW_TRACKING_URI']}/#/experiments/" in report
    assert not shows_a_row(report, source)
    assert champion(forge) == "1"
    assert results(merge(forge))[-1] == "success"
    assert champion(forge) == "2"

    # A worse one is a draft that says why, and its merge promotes nothing.
    jobs = on(forge, inputs={"overrides": "train.max_steps=2 train.seed=5"})
    assert jobs["train"].outputs["verdict"] == "not passed", said(jobs)
    assert results(jobs)[:3] == ["success"] * 3
    assert seen(forge, "state") == "draft\n"
    assert "did NOT pass" in seen(forge, "asked").splitlines()[-4]
    assert "| broken |" in seen(forge, "comment") or "| cannot tell |" in seen(forge, "comment")
    assert results(merge(forge))[-1] == "failure"
    assert champion(forge) == "2"

    # New data at the source of the import.
    source.write_text(source.read_text() + rows_of(60, seed=11))
    jobs = on(forge, event_name="repository_dispatch", event={"client_payload": {"import": "data/raw/reviews.csv"}})
    assert results(jobs)[:3] == ["success"] * 3, said(jobs)
    assert "data/raw/reviews.csv.dvc: its source has changed" in jobs["plan"].said
    assert "data/raw/reviews.csv.dvc" in git(forge.origin, "diff", "--name-only", f"main...{BRANCH}").split()
    assert "| `data/raw` |" in seen(forge, "comment")

    # A broken file is told of with its line, and costs neither the proposal nor the champion.
    before = proposed(forge)
    source.write_text('text,label\n"never closed,good\n')
    jobs = on(forge, event_name="repository_dispatch", event={"client_payload": {"import": "data/raw/reviews.csv"}})
    assert results(jobs) == ["success", "failure", "skipped", "skipped"]
    assert "data/raw/reviews.csv, line 2" in jobs["train"].said
    assert "Traceback" not in jobs["train"].said
    assert (proposed(forge), champion(forge)) == (before, "2")


def test_an_environment_approves_before_the_merge(forge: Forge) -> None:
    forge.contexts["vars"]["RETRAIN_ENVIRONMENT"] = "production"
    jobs = on(forge)
    assert results(jobs) == ["success"] * 4, said(jobs)
    assert champion(forge) == "1"
    assert results(merge(forge)) == ["skipped"] * 4


def test_an_attempt_goes_on_where_the_one_before_was_cancelled_or_killed(forge: Forge) -> None:
    checkpoints = forge.folder / "home/.cache/reprise/checkpoints"
    forge.contexts["inputs"] = {}
    overrides = {"overrides": "train.max_steps=150"}

    def cancelled(process: "subprocess.Popen[str]") -> None:
        wait_for(lambda: any(checkpoints.glob("*/step-*")), process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)  # as GitHub does: to this process alone
        process.wait(300)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive, "the training goes on without anybody who knows of it"

    def killed(process: "subprocess.Popen[str]") -> None:
        known = set(checkpoints.glob("*/step-*"))
        wait_for(lambda: bool(set(checkpoints.glob("*/step-*")) - known), process)
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            child.kill()

    for interfere in (cancelled, killed):
        jobs = on(replace(forge, interfere=interfere), inputs=overrides)
        assert results(jobs) == ["success", "failure", "skipped", "skipped"], said(jobs)
        assert any(checkpoints.glob("*/step-*"))
        assert champion(forge) is None and proposed(forge) is None
    jobs = on(forge, inputs=overrides)
    assert results(jobs)[:3] == ["success"] * 3, said(jobs)
    assert "going on from the checkpoint of step" in jobs["train"].said
    client = MlflowClient(forge.contexts["vars"]["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name(params_file.read(owner(forge) / "params.yaml").tracking.experiment_name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"


def test_two_at_once_leave_one_whole_proposal(forge: Forge) -> None:
    machines = [replace(forge, folder=forge.folder / name) for name in ("one", "two")]
    found: dict[int, dict[str, Result]] = {}

    def work(number: int) -> None:
        found[number] = on(machines[number], inputs={"overrides": f"train.seed={number + 1}"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results(jobs)[:2] == ["success"] * 2 for jobs in found.values()), [said(jobs) for jobs in found.values()]
    lost = [jobs["propose"] for jobs in found.values() if jobs["propose"].result != "success"]
    assert len(lost) < 2
    assert all("git push failed" in jobs.said for jobs in lost)
    work_tree = forge.origin.parent / "proposal"
    git(forge.origin.parent, "clone", "-q", "-b", BRANCH, str(forge.origin), str(work_tree))
    decision = json.loads((work_tree / "metrics/decision.json").read_text())
    seed = params_file.read(work_tree / "params.yaml").train.seed
    client = MlflowClient(forge.contexts["vars"]["MLFLOW_TRACKING_URI"])
    assert client.get_run(decision["run"]).data.params["train.seed"] == str(seed), "dvc.lock and params belong together"
    assert champion(forge) is None


def test_without_a_server_it_is_a_notice(forge: Forge) -> None:
    forge.contexts["vars"] = {}
    jobs = on(forge)
    assert results(jobs) == ["success", "skipped", "skipped", "skipped"]
    assert "::notice" in jobs["plan"].said


@pytest.mark.parametrize("override", ["train.lerning_rate=1", "--push", "promotion.margin=1", "train.seed=$(id)"])
def test_a_wrong_override_starts_nothing(forge: Forge, override: str) -> None:
    jobs = on(forge, inputs={"overrides": override})
    assert results(jobs) == ["failure", "skipped", "skipped", "skipped"]
    assert "Traceback" not in jobs["plan"].said and "uid=" not in jobs["plan"].said


def test_a_remote_that_refuses_is_an_error(forge: Forge) -> None:
    forge.contexts["secrets"] = {}
    forge.variables["AWS_EC2_METADATA_DISABLED"] = "true"
    jobs = on(forge)
    assert results(jobs) == ["success", "failure", "skipped", "skipped"]
    assert "Nothing can be fetched from the DVC remote" in jobs["train"].said
    assert "Unable to locate credentials" in jobs["train"].said


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
