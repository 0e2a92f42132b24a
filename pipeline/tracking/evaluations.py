"""The evaluations of a run's model: the first goes on in the run itself, each later one is a child of it."""

from pipeline import project
from pipeline.tracking import records, store
from pipeline.tracking.records import Record
from pipeline.tracking.registry import answered

_AT_MOST = 100


def of(record: Record) -> list[Record]:
    """The runs that evaluated the model of a run, the newest first, itself the last.

    Raises:
        UserError: MLflow does not answer.
    """
    model = record.tags.get(records.MODEL_DIGEST)
    if model is None:
        return [record]
    where = (
        f"tags.`mlflow.parentRunId` = '{record.id}' and attributes.status = 'FINISHED' "
        f"and tags.`{records.INPUT}{project.BEST_MODEL.as_posix()}` = '{model}'"
    )
    with answered():
        client = store.connect()
        found = client.search_runs(
            [record.experiment], where, max_results=_AT_MOST, order_by=["attributes.start_time DESC"]
        )
    return [*(Record.of(run, record.called, client) for run in found), record]
