"""Runs with evaluated examples, as evaluate leaves them in MLflow, made without a model."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.params import Params
from pipeline.tasks.text_classification import TextClassification
from pipeline.tracking import records, store, values

LABELS = ("bad", "calm", "good")
SOURCES = np.array(["web", "mail", "web", "chat"], dtype=object)


def table(rows: int = 200, seed: int = 0) -> pa.Table:
    """Prepared rows."""
    label = np.random.default_rng(seed).integers(0, 3, rows)
    ids = [f"rows.csv:{row + 2}" for row in range(rows)]
    return pa.table({"id": ids, "text": [f"text {row}" for row in range(rows)], "label": pa.array(label, pa.int32())})


def answers(rows: pa.Table, right: float, seed: int, labels: tuple[str, ...] = LABELS) -> Examples:
    """Answers of which about this share is right; the same rows are hard whatever the seed."""
    hard = np.random.default_rng(99).random(len(rows))
    draw = np.random.default_rng(seed)
    known = 0.5 * hard + 0.5 * draw.random(len(rows)) < right
    target = np.array([labels.index(LABELS[place]) for place in rows["label"].to_pylist()])
    predictions = {
        "target": target,
        "prediction": np.where(known, target, (target + 1) % len(labels)),
        "score": draw.uniform(0.4, 1, len(rows)),
        "loss": np.where(known, 0.3, 1.4) + draw.normal(0, 0.1, len(rows)),
    }
    named = rows.set_column(2, "label", pa.array(target, pa.int32()))
    slices = {"source": SOURCES[np.arange(len(rows)) % len(SOURCES)]}
    ids = np.array(rows["id"].to_pylist(), dtype=object)
    return Examples(TextClassification(labels), ids, keys_of(named, labels), predictions, slices)


def made(name: str, found: Examples, params: Params | None = None, **train: object) -> str:
    """A run of that name with these answers to the validation and the test rows.

    Returns:
        Its id.
    """
    params = params or Params()
    tracking = params.tracking.model_copy(update={"run_name": name})
    changed = params.model_copy(update={"tracking": tracking, "train": params.train.model_copy(update=train)})
    client = store.connect()
    run = client.create_run(store.experiment_id(client, params.tracking.experiment_name), run_name=name)
    run_id = str(run.info.run_id)
    for key, value in values.flatten(changed.model_dump(mode="json")).items():
        client.log_param(run_id, key, value)
    client.set_tag(run_id, f"{records.INPUT}pipeline/params", "0" * 64)
    with TemporaryDirectory() as folder:
        for split in ("validation", "test"):
            examples.write(Path(folder) / f"examples/{split}.parquet", params.task, found)
            for score, value in found.task.scores(found.predictions).items():
                client.log_metric(run_id, f"{split}/{score}", value)
        client.log_artifacts(run_id, folder, "report")
    client.set_terminated(run_id)
    return run_id


def worse_on(found: Examples, source: str) -> Examples:
    """The same answers, but wrong on two of three rows of a source."""
    places = np.flatnonzero(found.slices["source"] == source)
    prediction, loss = found.predictions["prediction"].copy(), found.predictions["loss"].copy()
    lost = places[np.arange(len(places)) % 3 > 0]
    prediction[lost] = (found.predictions["target"][lost] + 1) % len(found.task.labels)
    loss[lost] = 1.5
    return replace(found, predictions=found.predictions | {"prediction": prediction, "loss": loss})
