"""Judge the best model on the test rows, write the report, and add the scores to the MLflow run that made it."""

import os
from pathlib import Path

from pipeline import dag, digest, project
from pipeline.params import Params
from pipeline.tracking import sending
from pipeline.training import devices
from stages.run import main


def evaluate(params: Params) -> None:
    """Write metrics/evaluation.json, the confusion matrix and the report."""
    # MLflow is imported while this process imports torch.
    with sending.ahead(), devices.taken(params.hardware.model_copy(update={"devices": 1})) as (_, environment):
        os.environ.update(environment)  # before torch looks for devices
        _evaluate(params)


def _evaluate(params: Params) -> None:
    # Imported here: what they import takes seconds.
    import pyarrow.parquet as pq

    from pipeline.evaluation import evaluate as evaluation
    from pipeline.evaluation.verdict import headline
    from pipeline.tracking.run import Run
    from pipeline.world import World

    _clear_checkpoints(params)
    world = World.start(params.hardware, params.train.precision)
    model = digest.of_folder(project.BEST_MODEL)
    with Run.of_model(params, model, inputs=dag.inputs("evaluate"), device=world.describe()) as run:
        rows = project.PREPARED / "test.parquet"
        run.dataset("test", "test", digest.of_file(rows), pq.read_metadata(rows).num_rows, params.data.source)
        findings = evaluation.evaluate(params, world)
        metrics = findings.metrics
        values = {f"test/{name}": found["value"] for name, found in metrics["test"].items()}
        run.finals({name: value for name, value in values.items() if value is not None})
        run.artifact(project.EVALUATION_METRICS, "metrics")
        with evaluation.published(findings) as folder:
            run.artifacts(folder, "report", passing=True)
        run.outputs(dag.outputs("evaluate"))
    print(f"evaluate: {headline(metrics)}")


def _clear_checkpoints(params: Params) -> None:
    """Remove those of the training, whose results DVC has recorded by now."""
    from pipeline.training import leftovers
    from pipeline.training.fingerprint import fingerprint

    folder = Path(params.hardware.checkpoint_dir) if params.hardware.checkpoint_dir else None
    leftovers.clear(fingerprint(params, dag.inputs("train")), dag.locked("train"), folder)


if __name__ == "__main__":
    main(evaluate)
