"""What champions answer to the candidate's test rows: read from their runs, or asked again where the rows changed."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline import digest, project, tasks
from pipeline.errors import UserError
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.lifecycle.register import evaluated
from pipeline.params import Params
from pipeline.tracking import history, records
from pipeline.tracking.registry import Registry, Version


def of_champion(registry: Registry, champion: Version, candidate: Examples, params: Params, folder: Path) -> Examples:
    """The champion's answers to the candidate's test rows.

    Raises:
        UserError: its run has answers to other rows alone, and the candidate's rows are not those in data/prepared.
    """
    kept = _kept(champion, candidate, params, folder)
    return kept if kept is not None else _asked_again(registry, champion, candidate, params)


def of_earlier(
    registry: Registry, champion: Version, candidate: Examples, params: Params, folder: Path
) -> list[Examples]:
    """The answers of earlier champions, of those that answered the very same test rows and were not rolled back."""
    numbers = set(history.champions(registry.state().events)) - {champion.number}
    versions = [version for version in registry.versions() if version.number in numbers]
    found = [_kept(version, candidate, params, folder) for version in versions]
    return [kept for kept in found if kept is not None]


def _kept(version: Version, candidate: Examples, params: Params, folder: Path) -> Examples | None:
    """The answers in the run of a version, if its run is still there and they are to the same rows."""
    try:
        record = records.find(version.run, params.tracking.experiment_name)
    except UserError:  # the run is gone, as after a cleaning up
        return None
    return evaluated(record, folder, candidate.digest)


def _asked_again(registry: Registry, champion: Version, candidate: Examples, params: Params) -> Examples:
    path = project.PREPARED / "test.parquet"
    rows = pq.read_table(path) if path.is_file() else None
    labels = tasks.find(params.task).load(project.PREPARED).labels if rows is not None else ()
    keys = np.array([], dtype=object) if rows is None else keys_of(rows, labels)
    if rows is None or digest.of_value(sorted(keys.tolist())) != candidate.digest:
        raise UserError(
            f"The test rows changed since {champion} was evaluated, so it must answer the candidate's anew; but those "
            f"in {path} are not the candidate's.\nGo to the candidate's commit, and bring its rows back: dvc checkout"
        )
    # Imported here: torch takes seconds, which answers that are kept do not need.
    from pipeline.lifecycle.fetch import fetched
    from pipeline.serving.predictor import Predictor

    task, predictions = Predictor.load(fetched(registry, champion), params.hardware).judged(rows, labels)
    if type(task) is not type(candidate.task):
        raise UserError(f"{champion} was trained for another task; register this model under another name.")
    ids = np.array(rows["id"].to_pylist(), dtype=object)
    return Examples(task, ids, keys, predictions, {})
