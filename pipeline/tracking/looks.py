"""How often a test set has been looked at: every comparison or decision on it is one look.

The more often a test set decides, the less it says of rows that nobody has seen: Dwork and others, "The reusable
holdout: Preserving validity in adaptive data analysis", Science 349 (2015), pages 636-638. A look is a tag of its own
on the run looked at, so that two at once are two.
"""

import uuid
from collections.abc import Iterator

from mlflow import entities
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import store, values
from pipeline.tracking.records import Record

_LOOK = "reprise.look."
# Says which runs have looks at a test set, as MLflow finds runs by a tag's name, and not by its beginning.
_LOOKED_AT = "reprise.looked_at."
_DIGITS = 16


def look(record: Record, test_set_digest: str, what: str) -> None:
    """Note on a run that its answers to a test set were looked at.

    Args:
        test_set_digest: `Examples.digest`.
        what: who looked and why, in words, such as ``compare with 3f2a...``.

    Raises:
        UserError: MLflow does not take it.
    """
    test_set = test_set_digest[:_DIGITS]
    noted = {f"{_LOOKED_AT}{test_set}": "true", f"{_LOOK}{test_set}.{uuid.uuid4().hex[:_DIGITS]}": values.tag(what)}
    try:
        store.connect().log_batch(record.id, tags=[entities.RunTag(name, value) for name, value in noted.items()])
    except (MlflowException, store.Unreachable) as error:
        raise _not_counted(error) from error


def count(experiment_id: str, test_set_digest: str) -> int:
    """How often the runs of an experiment were looked at on this test set.

    Raises:
        UserError: MLflow does not answer.
    """
    test_set = test_set_digest[:_DIGITS]
    try:
        return sum(
            name.startswith(f"{_LOOK}{test_set}.")
            for run in _runs(experiment_id, f"tags.`{_LOOKED_AT}{test_set}` = 'true'")
            for name in run.data.tags
        )
    except (MlflowException, store.Unreachable) as error:
        raise _not_counted(error) from error


def _runs(experiment_id: str, where: str) -> Iterator[entities.Run]:
    client, token = store.connect(), None
    while True:
        page = client.search_runs([experiment_id], where, run_view_type=entities.ViewType.ALL, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _not_counted(error: Exception) -> UserError:
    return UserError(f"Looks at the test set cannot be counted: MLflow at {store.shown()}: {store.first_line(error)}")
