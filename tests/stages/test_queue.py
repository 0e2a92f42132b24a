"""A queue of DVC experiments on four GPUs that are faked: each has one for itself, and each is a run in MLflow."""

import itertools
import subprocess
import time
from pathlib import Path

import mlflow
import pytest

from pipeline.params import Hardware, Params, Tracking
from tests.stages import test_pipeline
from tests.stages.test_pipeline import clone, run, small

pytestmark = pytest.mark.slow

SECONDS = 1200.0  # that the queue may take on a busy machine
EXPERIMENTS, WORKERS = 12, 4
FAKE = Path(__file__).parent / "four_gpus"


def held(file: Path) -> list[tuple[str, int, int]]:
    """The devices that a process had for itself, from when to when."""
    lines = [line.split() for line in file.read_text().splitlines()[:-1]]  # the last line may be half of one
    times: dict[str, list[int]] = {}
    for instant, *seen in lines:
        if seen and "," not in seen[0]:
            times.setdefault(seen[0], []).append(int(instant))
    return [(device, min(when), max(when)) for device, when in times.items()]


def wait_for_the_queue(folder: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while any(state in run(folder, "dvc", "queue", "status").stdout for state in ("Queued", "Running")):
        assert time.monotonic() < deadline, run(folder, "dvc", "queue", "status").stdout
        time.sleep(2)


def test_twelve_queued_experiments_share_no_gpu_and_are_twelve_runs(
    tmp_path: Path, tiny: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    params = small(tiny).model_copy(update={"hardware": Hardware(save_steps=20)})
    folder = clone(tmp_path / "clone", params)
    kept = test_pipeline.environment()
    faked = {
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
        "REPRISE_LEASES": str(tmp_path / "leases"),
        "PYTHONPATH": str(FAKE),
        "TEST_SEEN": str(seen),
    }
    monkeypatch.setattr(test_pipeline, "environment", lambda: kept | faked)
    run(folder, "dvc", "add", "data/raw/reviews.csv")  # the copies hold what git or DVC knows
    run(folder, "dvc", "repro", "tokenize")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "data")
    for seed in range(EXPERIMENTS):
        run(folder, "dvc", "exp", "run", "--queue", "-S", f"train.seed={seed}", "evaluate")
    # Its words are nobody's: the workers would keep a pipe open until they are idle for long.
    start = ["dvc", "queue", "start", "-j", str(WORKERS)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(start, cwd=folder, env=test_pipeline.environment(), check=True, **quiet)
    wait_for_the_queue(folder)
    run(folder, "dvc", "queue", "stop")
    status = run(folder, "dvc", "queue", "status").stdout
    assert status.count("Success") == EXPERIMENTS, status

    leases = [lease for file in seen.iterdir() for lease in held(file)]
    assert len(leases) == 2 * EXPERIMENTS, "of train and of evaluate"
    for one, other in itertools.combinations(leases, 2):
        assert one[0] != other[0] or one[2] < other[1] or other[2] < one[1], "two processes had one GPU at one time"
    assert len({device for device, *_ in leases}) > 1, "no two ran at one time, so nothing was shown"
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(Tracking().experiment_name).experiment_id])
    assert sorted(run.data.params["train.seed"] for run in runs) == sorted(map(str, range(EXPERIMENTS)))
    assert {run.info.status for run in runs} == {"FINISHED"}
