"""Judging the best model: predictions, scores with intervals, baselines, and all that the report shows."""

import csv
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from transformers import AutoTokenizer, PreTrainedModel

from pipeline import digest, json_file, project, tasks
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation import drawings, examples, model_card, reference, report, slices
from pipeline.evaluation.diagonal import diagonal
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.evaluation.generate import generate
from pipeline.evaluation.mistakes import confident_mistakes, confused_pairs
from pipeline.evaluation.predict import predict
from pipeline.evaluation.report import Findings
from pipeline.evaluation.statistics import Resampled, intervals, resample, versus
from pipeline.evaluation.verdict import compared
from pipeline.model.export import load
from pipeline.params import Evaluate, Params, Train
from pipeline.progress import bar
from pipeline.tasks.base import Collation, Predictions, Task, rows_of
from pipeline.views import Diagonal
from pipeline.world import World

# The same resamples for every experiment, so that no seed of the training moves an interval.
_SEED = 0
_MOST_PAIRS = 15
_JUDGED = ("test", "validation")
_LINEAGE = (project.PREPARED, project.TOKENIZED, project.BEST_MODEL)


def evaluate(params: Params, world: World) -> Findings:
    """Judge models/best, and write metrics/evaluation.json, the confusion matrix and the report with its figures.

    Returns:
        All that the report shows; its `metrics` are what reports/evaluation.json holds: see `judge`.
    """
    task = tasks.load(params, _metrics(params))
    model = load(project.BEST_MODEL, task).to(world.device)  # type: ignore[arg-type]
    rows = {split: pq.read_table(project.PREPARED / f"{split}.parquet") for split in project.SPLITS}
    before = reference.kept(project.BEST_MODEL)
    stores = {split: reference.open_store(split, before) for split in project.SPLITS}
    tokens = params.hardware.forward_tokens
    collation = Collation(model.config, AutoTokenizer.from_pretrained(project.BEST_MODEL))
    predictions = {
        split: predict(model, task, stores[split], rows[split], collation, world, tokens, f"evaluate {split}")
        for split in _JUDGED
    }
    written = _written(model, task, rows, collation, world, params)
    if task.generates == "all":
        predictions = {split: task.with_texts(found, written[split]) for split, found in predictions.items()}
    metrics = judge(task, predictions, _baselines(task, rows, stores, collation), params.evaluate)
    answered = {
        split: _examples(task, split, rows[split], stores[split], predictions[split], params) for split in predictions
    }
    metrics["slices"] = slices.scored(answered["test"], params.evaluate)
    findings = _findings(task, params, world, metrics, rows | written, stores, predictions["test"])
    _write(findings, answered)
    _write_confusions(predictions["test"], task.labels if _is_one_label(task, rows["test"]) else ())
    return findings


def _findings(
    task: Task,
    params: Params,
    world: World,
    metrics: Mapping[str, Any],
    rows: Mapping[str, pa.Table],
    stores: Mapping[str, Store],
    predictions: Predictions,
) -> Findings:
    """All that the report shows.

    Args:
        rows: by split, with what the model wrote to them.
        predictions: of the test rows.
    """
    test, most = rows["test"], params.evaluate.n_mistakes
    is_one_label = _is_one_label(task, test)
    labels = task.labels if is_one_label else ()
    training, minimised = _read_json(project.TRAIN_METRICS), _minimised(task, params.train)
    views = task.views(test, predictions, most)
    return Findings(
        params=params,
        metrics=metrics,
        training=training,
        audit=_read_json(project.PREPARED / "audit.json"),
        truncation=_read_json(project.TOKENIZED / "truncation.json"),
        confusions=confused_pairs(predictions, task.labels, _MOST_PAIRS) if is_one_label else None,
        mistakes=confident_mistakes(task, test, predictions, most) if is_one_label else None,
        drawings=[
            *drawings.of_scores(metrics),
            *drawings.of_training(training, minimised),
            *drawings.of_answers(predictions, labels),
            *(diagonal(view) for view in views if isinstance(view, Diagonal)),
            *drawings.of_data(rows, stores, labels, task.most_tokens(params.tokenizer)),
        ],
        views=views,
        columns=task.inputs,
        digests={path.as_posix(): digest.of_folder(path) for path in _LINEAGE},
        device=world.describe(),
        minimised=minimised,
    )


def _baselines(
    task: Task, rows: Mapping[str, pa.Table], stores: Mapping[str, Store], collation: Collation
) -> dict[str, Predictions]:
    """What is known without the model, of the test rows."""
    # Sparse solvers gain nothing from more threads (four took 20 times as long), and their last digits depend on them.
    with threadpool_limits(1):
        found = task.baselines(rows["train"], rows["test"])
        return found | task.baselines_on_tokens(stores["train"], stores["test"], rows["test"], collation)


def _write(findings: Findings, answered: Mapping[str, Examples]) -> None:
    """Write the answers, the scores, the report and the model card."""
    params, metrics = findings.params, findings.metrics
    for split, found in answered.items():
        examples.write(project.EXAMPLES / f"{split}.parquet", params.task, found)
    json_file.write(project.RESULTS, metrics)
    json_file.write(project.EVALUATION_METRICS, compared(metrics))
    report.write(findings, project.REPORTS, texts=params.evaluate.publish_texts != "none")
    model_card.write(findings, project.REPORTS)


@contextmanager
def published(findings: Findings) -> Iterator[Path]:
    """The folder of the report as MLflow may have it: without texts of rows, unless evaluate.publish_texts says so."""
    if findings.params.evaluate.publish_texts == "mlflow":
        yield project.REPORTS
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(project.REPORTS, folder, dirs_exist_ok=True)
        report.write(findings, Path(folder), texts=False)
        yield Path(folder)


def judge(
    task: Task,
    predictions: Mapping[str, Predictions],
    baselines: Mapping[str, Predictions],
    settings: Evaluate,
) -> dict[str, Any]:
    """Scores with intervals of the model on test and validation, of the baselines on test, and paired differences.

    Args:
        predictions: the model's, for `test` and `validation`.
        baselines: predictions for the test rows, by the method's name.
    """
    level = settings.confidence_level
    with bar("intervals", len(predictions) + len(baselines)) as progress:

        def resampled(found: Predictions) -> Resampled:
            drawn = resample(task, found, settings.n_resamples, _SEED)
            progress.advance()
            return drawn

        ours = {split: resampled(found) for split, found in predictions.items()}
        for split, found in ours.items():
            _check_finite(task, found, split)
        theirs = {name: resampled(found) for name, found in baselines.items()}
    return {
        "rows": {split: rows_of(found) for split, found in predictions.items()},
        "confidence_level": level,
        **{split: intervals(found, level) for split, found in ours.items()},
        "baselines": {name: intervals(found, level) for name, found in theirs.items()},
        "versus": {name: versus(ours["test"], found, level) for name, found in theirs.items()},
    }


def _metrics(params: Params) -> list[str]:
    """The metrics of the user's own, that which picked the best model among them."""
    own = params.train.own_metric
    return list(dict.fromkeys([*params.evaluate.metrics, *([own] if own else [])]))


def _check_finite(task: Task, resampled: Resampled, split: str) -> None:
    """Raise a UserError if a metric of the user's own is no number for all rows of a split."""
    for metric in task.metrics:
        value = resampled.values[metric.rpartition(".")[2]]
        if not math.isfinite(value):
            raise UserError(f"The metric {metric} is {value} for the {split} rows. It must be a finite number.")


def _written(
    model: PreTrainedModel,
    task: Task,
    rows: Mapping[str, pa.Table],
    collation: Collation,
    world: World,
    params: Params,
) -> dict[str, pa.Table]:
    """By split, the rows to which the model writes texts, with these."""
    encoding, tokens = task.settled(params.tokenizer), params.hardware.forward_tokens
    return {
        split: generate(
            model, task, rows[split], collation, world, encoding, params.evaluate, tokens, f"write {split}", most
        )
        for split, most in _texts_wanted(task, params.evaluate).items()
    }


def _texts_wanted(task: Task, settings: Evaluate) -> dict[str, int | None]:
    """By split, to how many rows the model writes texts; None: to all."""
    wanted: dict[str, dict[str, int | None]] = {
        "none": {},
        "asked": {},
        "few": {"test": settings.n_mistakes},
        "all": dict.fromkeys(_JUDGED),
    }
    return wanted[task.generates]


def _examples(
    task: Task, split: str, rows: pa.Table, store: Store, predictions: Predictions, params: Params
) -> Examples:
    raw = pq.read_table(project.SLICES / f"{split}.parquet")
    assert raw["id"].equals(rows["id"]), f"{project.SLICES} and {project.PREPARED} have the same rows"
    labels = [task.labels[place] for place in rows["label"].to_pylist()] if _is_one_label(task, rows) else None
    groups = slices.group(params.evaluate.slices, labels, store.row_lengths(len(rows)), raw)
    ids = np.array(rows["id"].to_pylist(), dtype=object)
    return Examples(task, ids, keys_of(rows, task.labels), predictions, groups)


def _is_one_label(task: Task, rows: pa.Table) -> bool:
    """Whether the answer to a row is one of the task's labels."""
    return bool(task.labels) and "label" in rows.column_names and pa.types.is_integer(rows["label"].type)


def _minimised(task: Task, settings: Train) -> str:
    """What the loss of the training was taken with, and that of the evaluations was not."""
    smoothed = "smoothed labels" if settings.label_smoothing_factor and task.smooths_labels else ""
    weighted = "weighted labels" if settings.class_weights else ""
    return " and ".join(filter(None, (smoothed, weighted)))


def _read_json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _write_confusions(predictions: Predictions, labels: Sequence[str]) -> None:
    """One line a test row, as DVC's confusion plot wants it.

    Where a row's answer is not one label there is the header alone, of which DVC draws nothing.
    """
    project.CONFUSION_MATRIX.parent.mkdir(parents=True, exist_ok=True)
    with project.CONFUSION_MATRIX.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("actual", "predicted"))
        if not labels:
            return
        for target, prediction in zip(predictions["target"], predictions["prediction"], strict=True):
            writer.writerow((labels[target], labels[prediction]))
