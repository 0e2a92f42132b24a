"""Train the model on every device that it gets, and write what happens to MLflow."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import dag, digest, progress, project
from pipeline.params import Params
from pipeline.tracking import sending
from pipeline.training import devices, launch, signals
from stages.run import main

if TYPE_CHECKING:
    from pipeline.training.checkpoint import Checkpoints
    from pipeline.world import World


def train(params: Params) -> None:
    """Write models/best, metrics/train.json and the curves; go on from the last checkpoint if there is one."""
    with devices.taken(params.hardware) as (workers, environment):
        launch.run(work, (params,), workers, environment)


def work(params: Params) -> None:
    """What every process does; the first one holds the checkpoints and tells MLflow."""
    # MLflow is imported while this process imports torch.
    with sending.ahead() if os.environ.get("RANK", "0") == "0" else nullcontext():
        _work(params)


def _work(params: Params) -> None:
    # Imported here: torch and transformers take seconds, and a process that only starts others needs neither.
    from pipeline.training import checkpoint, leftovers
    from pipeline.training import train as training
    from pipeline.training.fingerprint import fingerprint
    from pipeline.world import World

    with signals.noted() as stopping, World.join(params.hardware, params.train.precision) as world:
        inputs = dag.inputs("train")
        mark = fingerprint(params, inputs)
        folder = Path(params.hardware.checkpoint_dir) if params.hardware.checkpoint_dir else None
        limit = params.hardware.save_total_limit
        if world.rank:
            progress.mute()
            others = checkpoint.Checkpoints(checkpoint.folder_of(mark, folder), limit)
            training.train(params, world, others, lambda step, metrics: None, stopping)
            return
        if line := leftovers.others(mark, folder):
            print(f"train: {line}")
        with checkpoint.hold(mark, limit, folder) as checkpoints:
            if checkpoints.notes.recorded(dag.locked("train")):  # this is a forced re-run
                checkpoints.clear()
            _first(params, world, checkpoints, inputs, stopping)


def _first(
    params: Params,
    world: "World",
    checkpoints: "Checkpoints",
    inputs: dict[str, str],
    stopping: Callable[[], bool],
) -> None:
    # Imported here: seconds again, for this rank alone.
    import pyarrow.parquet as pq

    from pipeline.tracking.run import Run
    from pipeline.training.train import train as train_here

    with Run.start(params, inputs=inputs, device=world.describe(), resume=checkpoints.notes.run_id) as run:
        checkpoints.notes.run_id, checkpoints.logs = run.id, run.files
        for split, context in (("train", "training"), ("validation", "validation")):
            rows = project.PREPARED / f"{split}.parquet"
            run.dataset(split, context, digest.of_file(rows), pq.read_metadata(rows).num_rows, params.data.source)
        train_here(params, world, checkpoints, run.metrics, stopping)
        # The curves end with the last step. These are of the best, as dvc metrics shows them.
        best = json.loads(project.TRAIN_METRICS.read_text(encoding="utf-8"))["validation"]
        run.finals({f"best/validation_{name}": value for name, value in best.items() if value is not None})
        run.artifact(project.TRAIN_METRICS, "metrics")
        run.model(project.BEST_MODEL)
        run.link_model(digest.of_folder(project.BEST_MODEL))
        run.outputs(dag.outputs("train"))
    if dag.has_recorded("train"):  # a forced re-run, after which evaluate need not run
        checkpoints.clear()
    else:
        checkpoints.finish(dag.locked("train"))


if __name__ == "__main__":
    main(train)
