"""Runs as they stand in MLflow after evaluate, made at once: a tiny model, and answers that err where a test says."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from safetensors.numpy import load_file, save_file

from pipeline import digest, params_file, project
from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.params import Hardware, Params, Promotion
from pipeline.tasks.text_classification import TextClassification
from pipeline.tracking import records, store
from pipeline.tracking.registry import CHAMPION
from tests.conftest import texts_and_labels
from tests.serving.exported import LABELS

TASK = TextClassification(LABELS)
CARD = "---\na: b\n---\n\n# Card\n"
COMMIT = "c0ffee" * 6 + "c0ff"


def project_folder(promotion: Promotion | None = None) -> Params:
    """Make the folder that the test runs in a project with 400 test rows, and give its params."""
    params = Params(promotion=promotion or Promotion(), hardware=Hardware(use_cpu=True))
    params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"n_resamples": 200})})
    Path("dvc.yaml").touch()
    Path("params.yaml").write_text(params_file.render(params))
    write_test_rows(seed=5)
    return params


def write_test_rows(seed: int) -> None:
    """Other test rows for other seeds."""
    texts, _ = texts_and_labels(400, seed, labels=3)
    # Numbered, so that no two rows are equal.
    rows = {
        "id": [f"test.csv:{row + 2}" for row in range(400)],
        "text": [f"{text} {row}" for row, text in enumerate(texts)],
        "label": pa.array([row % len(LABELS) for row in range(400)], pa.int32()),
    }
    project.PREPARED.mkdir(parents=True, exist_ok=True)
    TASK.save(project.PREPARED)
    pq.write_table(pa.table(rows), project.PREPARED / "test.parquet")


def other_model(model: Path, folder: Path, number: int) -> Path:
    """A copy of a model whose weights differ a little from those of every other number."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    save_file(
        weights | {name: weights[name] + np.float32(number * 1e-3)}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


def answered(errors: int) -> Examples:
    """Answers to the test rows of the project, the first ones wrong."""
    rows = pq.read_table(project.PREPARED / "test.parquet")
    target = rows["label"].to_numpy().astype(np.int64)
    prediction = np.where(np.arange(len(target)) < errors, (target + 1) % len(LABELS), target)
    predictions = {
        "target": target,
        "prediction": prediction,
        "score": np.full(len(target), 0.9),
        "loss": np.where(target == prediction, 0.1, 2.3),
    }
    ids = np.array(rows["id"].to_pylist(), dtype=object)
    return Examples(TASK, ids, keys_of(rows, LABELS), predictions, {})


def evaluated_again(client: MlflowClient, run: str, errors: int) -> str:
    """Another evaluation of the model of a run, a child of it as the stage makes it; its id."""
    made = client.get_run(run)
    tags = {"mlflow.parentRunId": run, f"{records.INPUT}models/best": made.data.tags[records.MODEL_DIGEST]}
    child = client.create_run(made.info.experiment_id, tags=tags).info.run_id
    examples.write(Path("answers/test.parquet"), Params().task, answered(errors))
    client.log_artifact(child, "answers/test.parquet", "report/examples")
    client.set_terminated(child)
    return child


def evaluated_run(
    client: MlflowClient, name: str, model: Path, errors: int, card: str = "---\na: b\n---\n\n# Card\n"
) -> str:
    """A run that made this model and erred on so many test rows; its id."""
    experiment = store.experiment_id(client, Params().tracking.experiment_name)
    tags = {records.MODEL_DIGEST: digest.of_folder(model), "reprise.git.commit": COMMIT}
    run = client.create_run(experiment, tags=tags, run_name=name).info.run_id
    examples.write(Path("answers/test.parquet"), Params().task, answered(errors))
    client.log_artifact(run, "answers/test.parquet", "report/examples")
    client.log_text(run, CARD, "report/model_card.md")
    client.log_artifacts(run, str(model), "model")
    client.set_terminated(run)
    return run


def champion(client: MlflowClient) -> str:
    """The number of the version that the alias names."""
    return str(client.get_model_version_by_alias("reprise", CHAMPION).version)
