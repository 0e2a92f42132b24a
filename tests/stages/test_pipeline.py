"""`dvc repro` in temporary clones: the promise of the README's table, and what re-runs what."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import yaml

from pipeline import digest, params_file
from pipeline.params import Data, Hardware, Params, Tracking, Train
from tests import warm
from tests.conftest import REPOSITORY, texts_and_labels
from tests.once import once


def files_of_the_repository() -> list[str]:
    """What a clone of the working tree would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()]


def run(folder: Path, *command: str, ok: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a clone as a user would, with the tests' own Python first on the PATH."""
    variables = environment() | variables
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=1800)
    assert not ok or result.returncode == 0, result.stdout + result.stderr
    return result


def repro(folder: Path, *arguments: str, ok: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc repro`, whose stages are forked: a real start of each is in the test that kills them."""
    path = f"{warm.python(*warm.STAGES).parent}{os.pathsep}{environment()['PATH']}"
    return run(folder, "dvc", "repro", *arguments, ok=ok, PATH=path, **variables)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "REPRISE_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "HF_HUB_OFFLINE": "1"}


def clone(folder: Path, params: Params) -> Path:
    """A clone with rows of its own under data/raw."""
    for name in files_of_the_repository():
        if not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    (folder / "params.yaml").write_text(params_file.render(params))
    texts, labels = texts_and_labels(300, seed=7)
    rows = [f"{text},{('bad', 'good')[label]}" for text, label in zip(texts, labels, strict=True)]
    (folder / "data/raw/reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        run(folder, "git", *command)
    return folder


def small(params: Params) -> Params:
    return params.model_copy(
        update={
            "data": Data(dataset_name=None, train_file="data/raw/reviews.csv"),
            "train": Train(num_train_epochs=6, global_batch_size=16),
            "hardware": Hardware(use_cpu=True, num_threads=1, save_steps=4),
        }
    )


def changed_stages(folder: Path) -> list[str]:
    """The stages that `dvc repro` would run for their own params and dependencies."""
    status = yaml.safe_load(run(folder, "dvc", "status", "--json").stdout)
    return sorted(status)


def checkpoints_of(folder: Path) -> list[Path]:
    return list(folder.glob(".reprise/checkpoints/*"))


def kill_after_train(folder: Path, bin_folder: Path) -> None:
    """Run `dvc repro`, and kill it and its stages when train has ended and DVC has not heard of it."""
    bin_folder.mkdir()
    python = bin_folder / "python"
    python.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" || exit\n[ "$2" != stages.train ] || kill -9 0\n')
    python.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{environment()['PATH']}"
    done = subprocess.run(
        ["dvc", "repro"], cwd=folder, env=environment() | {"PATH": path}, capture_output=True, start_new_session=True
    )
    assert done.returncode == -signal.SIGKILL


def edit(folder: Path, **sections: dict[str, object]) -> None:
    params = params_file.read(folder / "params.yaml")
    new = {name: getattr(params, name).model_copy(update=values) for name, values in sections.items()}
    (folder / "params.yaml").write_text(params_file.render(params.model_copy(update=new)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Params) -> Path:
    """A clone after its first `dvc repro`; tests that change it take a `copy`."""
    return once(tmp_path_factory, "trained", lambda folder: repro(clone(folder, small(tiny))))


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to change at will."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder, symlinks=True)
    return folder


def test_first_run_leaves_all_results(trained: Path) -> None:
    for name in ("models/best/model.safetensors", "metrics/evaluation.json", "reports/index.html", "dvc.lock"):
        assert (trained / name).stat().st_size > 0
    assert checkpoints_of(trained) == []
    report = (trained / "reports/index.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", report), "the report loads nothing from elsewhere"
    assert str(trained) not in report


def test_second_run_runs_nothing(trained: Path) -> None:
    before = (trained / "dvc.lock").read_bytes()
    assert "Running stage" not in repro(trained).stdout
    assert (trained / "dvc.lock").read_bytes() == before


def test_forced_rerun_leaves_the_lock_as_it_was(copy: Path) -> None:
    before = (copy / "dvc.lock").read_bytes()
    for command in (["-f"], ["-sf", "train"]):
        said = repro(copy, *command).stdout
        assert said.count("Running stage") == (5 if command == ["-f"] else 1)
        assert "going on from the checkpoint" not in said, "it really trains"
        assert checkpoints_of(copy) == []
    assert (copy / "dvc.lock").read_bytes() == before


def test_what_is_outside_the_experiment_reruns_nothing(copy: Path) -> None:
    edit(copy, hardware={"num_threads": 2, "save_steps": 9}, tracking={"run_name": "other"})
    text = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(f"# a comment\n{text}")
    (copy / "pipeline" / "unrelated.py").write_text("x = 1\n")
    (copy / "data/raw/__pycache__").mkdir()
    (copy / "data/raw/__pycache__/x.pyc").write_bytes(b"x")
    assert changed_stages(copy) == []


def test_what_is_inside_reruns_what_it_must(copy: Path) -> None:
    edit(copy, train={"learning_rate": 1e-3})
    assert changed_stages(copy) == ["check", "evaluate", "train"]
    edit(copy, train={"learning_rate": Train().learning_rate})
    assert changed_stages(copy) == []
    loop = copy / "pipeline/training/loop.py"
    loop.write_text(loop.read_text() + "# changed\n")
    assert "train" in changed_stages(copy)
    assert not {"prepare", "tokenize"} & set(changed_stages(copy))
    pins = copy / "constraints.txt"
    pins.write_text(pins.read_text() + "# changed\n")
    assert changed_stages(copy) == ["check", "evaluate", "prepare", "tokenize", "train"]


def test_one_changed_row_reruns_prepare(copy: Path) -> None:
    with (copy / "data/raw/reviews.csv").open("a") as file:
        file.write("good good good,good\n")
    assert changed_stages(copy) == ["check", "prepare"]


def test_another_slice_prepares_and_evaluates_anew_and_trains_nothing(copy: Path) -> None:
    before = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    edit(copy, evaluate={"slices": ["length", "text"], "publish_texts": "mlflow"})
    assert changed_stages(copy) == ["check", "evaluate", "prepare"]
    said = repro(copy).stdout
    ran = re.findall(r"Running stage '(\w+)'", said)
    assert ran == ["check", "prepare", "evaluate"]
    after = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    outs = [{out["path"]: out["md5"] for out in stages["prepare"]["outs"]} for stages in (before, after)]
    assert outs[0]["data/prepared"] == outs[1]["data/prepared"]
    assert outs[0]["data/slices"] != outs[1]["data/slices"]
    assert before["train"] == after["train"]
    scored = json.loads((copy / "reports/evaluation.json").read_text())["slices"]
    assert list(scored) == ["length", "text"]


def test_wrong_key_costs_no_earlier_result(copy: Path) -> None:
    before = digest.of_folder(copy / "models/best")
    text = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(text.replace("learning_rate:", "lerning_rate:"))
    result = repro(copy, ok=False)
    assert result.returncode != 0
    assert "train.lerning_rate'. Did you mean 'train.learning_rate'?" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert digest.of_folder(copy / "models/best") == before


def test_mlflow_has_one_run_with_curves_and_final_scores(trained: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{trained}/mlflow.db")
    experiment = client.get_experiment_by_name(Tracking().experiment_name)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["reprise.model_digest"] == digest.of_folder(trained / "models/best")
    assert {"test/accuracy", "validation/accuracy", "train/loss"} <= set(found.data.metrics)
    assert len(client.get_metric_history(found.info.run_id, "train/loss")) > 2
    assert {"model", "report", "params.yaml"} <= {item.path for item in client.list_artifacts(found.info.run_id)}
    assert found.data.params["train.num_train_epochs"] == "6.0"


def test_second_clone_elsewhere_killed_while_and_after_it_trains_ends_with_the_same_lock(
    trained: Path, tmp_path: Path, tiny: Params
) -> None:
    other = clone(tmp_path / "another folder", small(tiny))
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=other,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 1200
        while not list(other.glob(".reprise/checkpoints/*/step-*")):
            assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was ever written"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (other / "models/best").exists()
    kill_after_train(other, tmp_path / "bin")
    assert (other / "models/best").exists()
    assert len(checkpoints_of(other)) == 1, "kept until DVC has recorded the results"
    assert "going on from the checkpoint of step 90" in run(other, "dvc", "repro").stdout
    assert (other / "dvc.lock").read_bytes() == (trained / "dvc.lock").read_bytes()
    assert checkpoints_of(other) == []
    client = mlflow.MlflowClient(f"sqlite:///{other}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name(Tracking().experiment_name).experiment_id])
    steps = [point.step for point in client.get_metric_history(found.info.run_id, "train/loss")]
    assert found.info.status == "FINISHED"
    assert len(steps) == len(set(steps)), "each step once, although some were trained twice"


def test_folder_without_git_runs(tmp_path: Path, tiny: Params) -> None:
    folder = clone(tmp_path / "tarball", small(tiny))
    shutil.rmtree(folder / ".git")
    run(folder, "dvc", "config", "--local", "core.no_scm", "true")
    repro(folder, "prepare")
    assert (folder / "data/prepared/train.parquet").exists()
