"""From a run to a registered version: the run's exported model, packed so that it serves anywhere."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples
from pipeline.params import Params
from pipeline.tracking import evaluations, records
from pipeline.tracking.records import Record
from pipeline.tracking.registry import COMMIT, RUN, TEST_SET, Registry, Version

_MODEL = "model"
_CARD = "report/model_card.md"
_ANSWERS = "report/examples/test.parquet"


def register(called: str, params: Params, name: str | None = None) -> tuple[Version, bool]:
    """Register the model of a run.

    Args:
        called: the run, as `records.find` takes it.
        name: of the registered model; else the params say it.

    Returns:
        The version, and whether it is new: a model that is registered already is not registered again.

    Raises:
        UserError: there is no such run, it made no model, or nobody has the model any more.
    """
    record = records.find(called, params.tracking.experiment_name)
    registry = Registry.open(name or params.tracking.model)
    model_digest = digest_of_model(record)
    if (there := registry.of_model(model_digest)) is not None:
        return there, False
    # Imported here: torch takes seconds, which a model that is registered already does not need.
    from pipeline.serving import package

    with scratch() as folder:
        answers = evaluated(record, folder)
        card = next((read for found in evaluations.of(record) if (read := found.read(_CARD)) is not None), None)
        readme = None if card is None else card.decode()
        tags = {RUN: record.id, records.MODEL_DIGEST: model_digest}
        tags |= {COMMIT: record.tags[COMMIT]} if COMMIT in record.tags else {}
        tags |= {TEST_SET: answers.digest} if answers is not None else {}
        packed = folder / "packed"
        package.write(_exported(record, model_digest, folder), packed, readme, tags, params.evaluate)
        return registry.register(record, packed, _described(readme), tags), True


def digest_of_model(record: Record) -> str:
    """SHA-256 of the model that a run made.

    Raises:
        UserError: it made none.
    """
    found = record.tags.get(records.MODEL_DIGEST)
    if found is None:
        raise UserError(f"The run {record.name} ({record.id}) made no model: its status is {record.status}.")
    return found


def evaluated(record: Record, folder: Path, test_set: str | None = None) -> Examples | None:
    """What the run's model answered to test rows, in its newest evaluation; None if it was not evaluated.

    Args:
        test_set: on these rows alone (`Examples.digest`).
    """
    for evaluation in evaluations.of(record):
        path = evaluation.fetch(_ANSWERS, folder / evaluation.id)
        if path is None:
            continue
        found = examples.read(path)
        if test_set in (None, found.digest):
            return found
    return None


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is downloaded and packed, in the project, as a system's own may be too small for models."""
    project.state().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project.state(), prefix="scratch-") as folder:
        yield Path(folder)


def _exported(record: Record, model_digest: str, folder: Path) -> Path:
    """The exported model of a run: what MLflow keeps of it, else models/best if it is the same."""
    if project.BEST_MODEL.is_dir() and digest.of_folder(project.BEST_MODEL) == model_digest:
        return project.BEST_MODEL
    kept = record.fetch(_MODEL, folder)
    if kept is None:
        raise UserError(
            f"The run {record.name} kept no model in MLflow (tracking.log_model), and {project.BEST_MODEL} is another."
            "\nBring it back with git checkout and dvc checkout of its commit, then register it again."
        )
    if digest.of_folder(kept) != model_digest:
        raise UserError(f"The model that MLflow keeps of the run {record.name} is not the one that it made.")
    return kept


def _described(card: str | None) -> str:
    """The model card without its front matter, which is for machines."""
    if card is None:
        return ""
    *_, body = card.split("\n---\n", 1)
    return body.strip()
