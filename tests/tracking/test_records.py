"""A run is found by whatever people call it, and what is not found says what may have been meant."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import dag, digest, project
from pipeline.errors import UserError
from pipeline.tracking import records, run_map
from tests.tracking.repositories import commit, git, write

EXPERIMENT = "reprise"
STAGES = """stages:
  train:
    cmd: python train.py
    params: [train]
    outs: [models/best]
"""
PROGRAM = """import pathlib
pathlib.Path("models/best").mkdir(parents=True)
pathlib.Path("models/best/weights").write_text(pathlib.Path("params.yaml").read_text())
"""


@pytest.fixture
def runs(client: MlflowClient, home: Path) -> dict[str, str]:
    """The ids of two runs, by name."""
    experiment = client.create_experiment(EXPERIMENT, artifact_location=(home / "mlartifacts").as_uri())
    return {name: client.create_run(experiment, run_name=name).info.run_id for name in ("calm sea", "ripe fig's")}


def find(called: str) -> records.Record:
    return records.find(called, EXPERIMENT)


def message(called: str) -> str:
    with pytest.raises(UserError) as error:
        find(called)
    return str(error.value)


def test_by_id_and_by_name(runs: dict[str, str]):
    for name, run_id in runs.items():
        assert find(run_id).name == name
        assert find(name).id == run_id
        assert find(name).called == name


def test_what_a_record_holds(runs: dict[str, str], client: MlflowClient):
    run_id = runs["calm sea"]
    client.log_param(run_id, "train.seed", "1")
    client.log_metric(run_id, "test/accuracy", 0.5, step=0)
    client.set_tag(run_id, "a", "b")
    client.set_terminated(run_id, "FAILED")
    record = find(run_id)
    assert (record.params, record.metrics, record.tags["a"]) == ({"train.seed": "1"}, {"test/accuracy": 0.5}, "b")
    assert record.status == "FAILED"
    assert record.started > 0


def test_artifacts_are_fetched_and_those_that_are_not_there_are_none(
    runs: dict[str, str], client: MlflowClient, tmp_path: Path
):
    run_id = runs["calm sea"]
    client.log_text(run_id, "é\n", "lineage/changes.patch")
    record = find(run_id)
    assert record.read("lineage/changes.patch") == "é\n".encode()
    assert record.read("lineage/other") is None
    assert record.read("other/changes.patch") is None
    folder = record.fetch("lineage", tmp_path / "new")
    assert folder is not None
    assert (folder / "changes.patch").read_text() == "é\n"


def test_several_of_a_name_are_listed(runs: dict[str, str], client: MlflowClient):
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    other = client.create_run(experiment, run_name="calm sea").info.run_id
    said = message("calm sea")
    assert other in said
    assert runs["calm sea"] in said


def test_names_of_other_experiments_do_not_count_but_ids_do(runs: dict[str, str], client: MlflowClient):
    other = client.create_run(client.create_experiment("other"), run_name="far away").info.run_id
    assert "There is no run 'far away'" in message("far away")
    assert find(other).name == "far away"


def test_by_registered_version_and_alias(runs: dict[str, str], client: MlflowClient):
    client.create_registered_model("reviews")
    for number, name in enumerate(runs, start=1):
        client.create_model_version("reviews", f"runs:/{runs[name]}/model", run_id=runs[name])
        assert find(f"reviews/{number}").id == runs[name]
    client.set_registered_model_alias("reviews", "champion", "1")
    assert find("reviews@champion").id == runs["calm sea"]
    assert "Did you mean 'reviews@champion'?" in message("reviews@chmpion")
    assert "There is no run 'reviews/3'" in message("reviews/3")


def test_a_version_whose_run_is_deleted_says_so(runs: dict[str, str], client: MlflowClient):
    client.create_registered_model("reviews")
    client.create_model_version("reviews", "file:///elsewhere", run_id=runs["calm sea"])
    client.delete_run(runs["calm sea"])
    assert f"its run {runs['calm sea']} is not at" in message("reviews/1")


def test_a_version_from_elsewhere_has_its_run_in_a_tag(runs: dict[str, str], client: MlflowClient):
    client.create_registered_model("reviews")
    client.create_model_version("reviews", "file:///elsewhere", tags={"reprise.run": runs["calm sea"]})
    assert find("reviews/1").id == runs["calm sea"]


def test_a_deleted_run_is_not_found(runs: dict[str, str], client: MlflowClient):
    client.delete_run(runs["calm sea"])
    assert "There is no run" in message(runs["calm sea"])
    assert "There is no run" in message("calm sea")


def test_an_unknown_name_says_which_may_be_meant(runs: dict[str, str]):
    assert "Did you mean 'calm sea'?" in message("clam sea")
    assert message("""both ' and " """)
    assert message("-n")


def test_before_the_first_run_there_is_none(home: Path):
    assert "There is no run" in message("any")


def test_a_server_that_is_away_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = message("any")
    assert "MLflow at http://127.0.0.1:1 does not answer" in said
    assert "\n" not in said


def made(home: Path) -> str:
    """Put a model into the working tree, and return its digest."""
    write({"models/best/weights": "abc"}, home)
    return digest.of_folder(home / project.BEST_MODEL)


def test_the_workspace_is_the_run_of_its_model(runs: dict[str, str], client: MlflowClient, home: Path):
    assert "There is no model in models/best" in message(records.WORKSPACE)
    model = made(home)
    assert "No run at" in message(records.WORKSPACE)
    client.set_tag(runs["calm sea"], records.MODEL_DIGEST, model)
    assert find(records.WORKSPACE).id == runs["calm sea"]


def test_the_run_that_is_noted_here_goes_before_a_newer_one(runs: dict[str, str], client: MlflowClient, home: Path):
    model = made(home)
    for run_id in runs.values():
        client.set_tag(run_id, records.MODEL_DIGEST, model)
    run_map.remember(model, run=runs["calm sea"])
    assert find(records.WORKSPACE).id == runs["calm sea"]
    client.delete_run(runs["calm sea"])
    assert find(records.WORKSPACE).id == runs["ripe fig's"]


def dvc(*command: str) -> str:
    answer = subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_by_revision_experiment_and_what_the_run_cache_restores(
    runs: dict[str, str], client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{Path('/usr/bin')}:{Path('/bin')}")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ann@example.org")
    git("init", "-q", "-b", "main")
    dvc("init", "-q")
    ignored = "/mlflow.db*\n/mlartifacts\n/.reprise\n/models\n"
    commit({"dvc.yaml": STAGES, "params.yaml": "train: 1\n", "train.py": PROGRAM, ".gitignore": ignored})
    dvc("repro", "-q")
    first = digest.of_folder(project.BEST_MODEL)
    client.set_tag(runs["calm sea"], f"{records.OUTPUT}models/best", dag.md5(project.BEST_MODEL))
    client.set_tag(runs["calm sea"], records.MODEL_DIGEST, first)
    commit({"dvc.lock": Path("dvc.lock").read_bytes()})
    git("tag", "v1")
    assert find("v1").id == find("HEAD").id == find("main").id == runs["calm sea"]
    assert "There is no run 'HEAD~1'" in message("HEAD~1")

    dvc("exp", "run", "-q", "-n", "ripe-fig", "-S", "train=2")
    client.set_tag(runs["ripe fig's"], f"{records.OUTPUT}models/best", dag.md5(project.BEST_MODEL))
    assert find("ripe-fig").id == runs["ripe fig's"]
    assert "Did you mean 'ripe-fig'?" in message("ripe-fog")

    Path("params.yaml").write_text("train: 1\n")
    dvc("repro", "-q")
    assert digest.of_folder(project.BEST_MODEL) == first, "it is back from the run cache, and nothing ran"
    assert find(records.WORKSPACE).id == runs["calm sea"]
