"""What champions answer to the candidate's test rows: read from their runs, or asked again where the rows changed.

Whatever is asked again is kept with the champion's run, without texts, so that it is asked once.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline import digest, project, tasks
from pipeline.errors import UserError
from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.lifecycle.register import evaluated
from pipeline.params import Params
from pipeline.tracking import history, records
from pipeline.tracking.registry import Registry, Version

_ASKED = "answers"
"""The folder of a run's artifacts that holds its answers to test rows of later runs."""


def of_champion(registry: Registry, champion: Version, candidate: Examples, params: Params, folder: Path) -> Examples:
    """The champion's answers to the candidate's test rows.

    Raises:
        UserError: its run has answers to other rows alone, and the candidate's rows are not those in data/prepared.
    """
    try:
        record = records.find(champion.run, params.tracking.experiment_name)
    except UserError:  # the run is gone, as after a cleaning up
        return _asked_again(registry, champion, candidate, params)
    if (own := evaluated(record, folder, candidate.digest)) is not None:
        return own
    name = f"{candidate.digest}.parquet"
    if (kept := record.fetch(f"{_ASKED}/{name}", folder / record.id)) is not None:
        return examples.read(kept)
    asked = _asked_again(registry, champion, candidate, params)
    examples.write(folder / name, params.task, asked)
    registry.keep(record.id, folder / name, _ASKED)
    return asked


def of_earlier(
    registry: Registry, champion: Version, candidate: Examples, params: Params, folder: Path
) -> list[Examples]:
    """Likewise the answers of earlier champions, of those that are still registered and were not rolled back.

    Those of before a change of the test rows as well: or else the margins would add up over the changes.

    Raises:
        UserError: as in `of_champion`.
    """
    numbers = set(history.champions(registry.state().events)) - {champion.number}
    versions = [version for version in registry.versions() if version.number in numbers]
    return [of_champion(registry, version, candidate, params, folder) for version in versions]


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

    predictor = Predictor.load(fetched(registry, champion), params.hardware, params.evaluate)
    task, predictions = predictor.judged(rows, labels)
    if type(task) is not type(candidate.task):
        raise UserError(f"{champion} was trained for another task; register this model under another name.")
    ids = np.array(rows["id"].to_pylist(), dtype=object)
    return Examples(task, ids, keys, predictions, {})
