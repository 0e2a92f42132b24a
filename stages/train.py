"""Train the model, and write what happens to MLflow."""

import pyarrow.parquet as pq

from pipeline import dag, digest, project
from pipeline.params import Params
from pipeline.tracking.run import Run
from pipeline.training import checkpoint
from pipeline.training import train as training
from pipeline.world import World
from stages.run import main


def train(params: Params) -> None:
    """Write models/best, metrics/train.json and the curves; go on from the last checkpoint if there is one."""
    world = World.start(params.hardware, params.train.precision)
    inputs = dag.inputs("train")
    with checkpoint.hold(checkpoint.fingerprint(params, inputs), params.hardware.save_total_limit) as checkpoints:
        run = Run.start(params, inputs=inputs, device=world.describe(), resume=checkpoints.run_id)
        with run:
            checkpoints.run_id = run.id
            for split, context in (("train", "training"), ("validation", "validation")):
                rows = project.PREPARED / f"{split}.parquet"
                run.dataset(split, context, digest.of_file(rows), pq.read_metadata(rows).num_rows, params.data.source)
            training.train(params, world, checkpoints, run.metrics)
            run.artifact(project.TRAIN_METRICS, "metrics")
            run.model(project.BEST_MODEL)
            run.link_model(digest.of_folder(project.BEST_MODEL))
        checkpoints.clear()


if __name__ == "__main__":
    main(train)
