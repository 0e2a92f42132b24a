"""Runs that differ in their seed alone, under one parent run that holds the mean and the spread of their scores."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from mlflow import entities
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import records, store
from pipeline.tracking.records import Record

_MEMBERS: Final = "reprise.seeds"
_PARENT: Final = "mlflow.parentRunId"


def group(members: Sequence[Record], name: str) -> str:
    """Put runs under a parent run of that name, which gets the mean of each score and its standard deviation.

    A parent of the same runs is used again; so are runs that are in another group, which then hang below this one.

    Returns:
        The id of the parent run.

    Raises:
        UserError: MLflow does not take it.
    """
    listed = " ".join(sorted(record.id for record in members))
    experiment = members[0].experiment
    try:
        client = store.connect()
        earlier = client.search_runs([experiment], f"tags.`{_MEMBERS}` = '{listed}'", max_results=1)
        tags = {_MEMBERS: listed, "mlflow.user": members[0].tags.get("mlflow.user", "")}
        parent = earlier[0] if earlier else client.create_run(experiment, tags=tags, run_name=name)
        parent_id = str(parent.info.run_id)
        # What all members share, such as the learning rate, is true of the group as well.
        shared = {key: value for key, value in members[0].params.items() if _shared(members, key)}
        said = [entities.Param(key, value) for key, value in shared.items() if key not in parent.data.params]
        client.log_batch(parent_id, params=said)
        for key, value in summary(members).items():
            client.log_metric(parent_id, key, value, step=0)
        for record in members:
            client.set_tag(record.id, _PARENT, parent_id)
        client.set_terminated(parent_id)
    except (MlflowException, store.Unreachable) as error:
        raise UserError(f"The seeds cannot be grouped: MLflow at {store.shown()}: {store.first_line(error)}") from error
    return parent_id


def members_of(record: Record) -> list[Record]:
    """The runs of a group, in the order of their seeds; the run itself if it is no group.

    Raises:
        UserError: a run of the group is gone.
    """
    listed = record.tags.get(_MEMBERS, "").split()
    if not listed:
        return [record]
    found = [records.find(run_id, experiment_name="") for run_id in listed]
    return sorted(found, key=lambda member: (int(member.params.get("train.seed", 0)), member.id))


def summary(members: Sequence[Record]) -> dict[str, float]:
    """Mean and standard deviation (`_std`, of the sample) of the scores that all have, such as `test/accuracy_std`."""
    found = {}
    for name in members[0].metrics:
        values = [record.metrics.get(name, math.nan) for record in members]
        if not name.startswith(("validation/", "test/")) or not all(map(math.isfinite, values)):
            continue
        found[name] = statistics.fmean(values)
        if len(values) > 1:
            found[f"{name}_std"] = statistics.stdev(values)
    return found


def _shared(members: Sequence[Record], key: str) -> bool:
    values: Sequence[Mapping[str, str]] = [record.params for record in members]
    return len({found.get(key) for found in values}) == 1
