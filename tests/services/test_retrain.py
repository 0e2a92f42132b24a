"""The retraining workflow, its own commands run as its YAML has them: git, DVC on S3 and an MLflow server are real."""

import json
import signal
import subprocess
import threading
from dataclasses import replace

import psutil
import pytest
from mlflow import MlflowClient

from pipeline import params_file
from tests.services.team import (
    BRANCH,
    champion,
    git,
    merge,
    on,
    owner,
    proposed,
    results,
    rows_of,
    said,
    seen,
    shows_a_row,
    wait_for,
)
from tests.services.workflow import Forge, Result

pytestmark = pytest.mark.services


def test_a_team_from_its_first_model_on(forge: Forge) -> None:
    the_first_model(forge)
    a_quiet_week(forge)
    a_better_parameter(forge)
    a_worse_one(forge)
    new_data(forge)
    a_broken_file(forge)


def the_first_model(forge: Forge) -> None:
    """The first model: there is no champion yet, so it passes; the owner's merge promotes it."""
    jobs = on(forge, event_name="push")
    assert results(jobs) == ["success", "success", "success", "skipped"], said(jobs)
    assert jobs["train"].outputs["verdict"] == "passed"
    assert champion(forge) is None, "nothing moves the alias before the owner has approved"
    assert results(merge(forge)) == ["skipped", "skipped", "skipped", "success"]
    assert champion(forge) == "1"


def a_quiet_week(forge: Forge) -> None:
    """Merging retrains nothing, and a quiet week pushes nothing."""
    before = proposed(forge)
    for event in ("push", "schedule"):
        jobs = on(forge, event_name=event)
        assert results(jobs) == ["success", "skipped", "skipped", "skipped"]
        assert "Nothing changed" in jobs["plan"].said
    assert proposed(forge) == before


def a_better_parameter(forge: Forge) -> None:
    """A better parameter."""
    source = forge.origin.parent / "source.csv"
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


def a_worse_one(forge: Forge) -> None:
    """A worse one is a draft that says why, and its merge promotes nothing."""
    jobs = on(forge, inputs={"overrides": "train.max_steps=2 train.seed=5"})
    assert jobs["train"].outputs["verdict"] == "not passed", said(jobs)
    assert results(jobs)[:3] == ["success"] * 3
    assert seen(forge, "state") == "draft\n"
    assert "did NOT pass" in seen(forge, "asked").splitlines()[-4]
    assert "| broken |" in seen(forge, "comment") or "| cannot tell |" in seen(forge, "comment")
    assert results(merge(forge))[-1] == "failure"
    assert champion(forge) == "2"


def new_data(forge: Forge) -> None:
    """New data at the source of the import."""
    source = forge.origin.parent / "source.csv"
    source.write_text(source.read_text() + rows_of(60, seed=11))
    jobs = on(forge, event_name="repository_dispatch", event={"client_payload": {"import": "data/raw/reviews.csv"}})
    assert results(jobs)[:3] == ["success"] * 3, said(jobs)
    assert "data/raw/reviews.csv.dvc: its source has changed" in jobs["plan"].said
    assert "data/raw/reviews.csv.dvc" in git(forge.origin, "diff", "--name-only", f"main...{BRANCH}").split()
    assert "| `data/raw` |" in seen(forge, "comment")


def a_broken_file(forge: Forge) -> None:
    """A broken file is told of with its line, and costs neither the proposal nor the champion."""
    source = forge.origin.parent / "source.csv"
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
