"""Which runs of an experiment are worth keeping, and the removal of the others."""

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient, entities
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.scores import fitting, less_is_better
from pipeline.tracking import records, store
from pipeline.tracking.records import Record

_PARENT = "mlflow.parentRunId"
_JOURNAL = "reprise.journal"
_LOOKED_AT = "reprise.look"  # tags that begin so count how often the test set was looked at
_PAGE, _MODELS = 500, 1000


@dataclass(frozen=True)
class Old:
    """A run, why it is kept (None: it is not), and the folder of its artifacts if that is on this machine."""

    record: Record
    reason: str | None
    artifacts: Path | None


@dataclass(frozen=True)
class Wanted:
    """What is to be kept, beside what is registered, running, unknown, or the parent or child of such a run.

    Attributes:
        best: so many runs with the best scores.
        metric: by which they are the best, such as `validation/loss`, of which less is better.
        models: the models that are kept, by DVC's hash or SHA-256, each with the reason.
        resumable: ids of runs (or of their journals) that a checkpoint can go on with.
    """

    best: int
    metric: str
    models: Mapping[str, str]
    resumable: Collection[str]


def survey(experiment_name: str, wanted: Wanted) -> list[Old]:
    """All runs of an experiment, the newest first.

    Raises:
        UserError: MLflow does not answer.
    """
    try:
        client = store.connect()
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is None:
            return []
        runs = list(_runs(client, [experiment.experiment_id]))
        reasons = _family_reasons(runs, _reasons(client, runs, wanted))
    except (MlflowException, store.Unreachable) as error:
        raise _no_answer(error) from error
    return [
        Old(Record.of(run, run.info.run_id, client), reasons.get(run.info.run_id), _local(run.info.artifact_uri))
        for run in runs
    ]


def aliases() -> set[str]:
    """The aliases of all registered models."""
    try:
        return {
            alias for model in store.connect().search_registered_models(max_results=_MODELS) for alias in model.aliases
        }
    except (MlflowException, store.Unreachable) as error:
        raise _no_answer(error) from error


def everywhere() -> list[Record]:
    """The runs of all experiments.

    Raises:
        UserError: MLflow does not answer.
    """
    try:
        client = store.connect()
        runs = list(_runs(client, [found.experiment_id for found in client.search_experiments()]))
    except (MlflowException, store.Unreachable) as error:
        raise _no_answer(error) from error
    return [Record.of(run, run.info.run_id, client) for run in runs]


def is_looked_at(tags: Collection[str]) -> bool:
    """Whether a run with these tags counts looks at a test set, so that the tags must stay."""
    return any(name.startswith(_LOOKED_AT) for name in tags)


def remove(olds: Sequence[Old]) -> None:
    """Delete runs with their artifacts. On a server they are only marked, until its admin runs `mlflow gc`.

    Raises:
        UserError: MLflow does not take it.
    """
    ids = [old.record.id for old in olds]
    uri = store.tracking_uri()
    try:
        client = store.connect()
        for run_id in ids:
            client.delete_run(run_id)
    except (MlflowException, store.Unreachable) as error:
        raise UserError(f"MLflow at {store.shown()} does not delete runs: {store.deepest_line(error)}") from error
    if store.is_server(uri) or not ids:
        return
    # Addresses may hold passwords: these go by the environment, which nobody else can read.
    variables = os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_BACKEND_STORE_URI": uri}
    command = (sys.executable, "-m", "mlflow", "gc", "--run-ids", ",".join(ids))
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(
            f"The runs are marked as deleted, but mlflow gc did not remove them: {lines[-1] if lines else ''}"
        )


def _runs(client: MlflowClient, experiments: list[str]) -> Iterator[entities.Run]:
    yield from _all(lambda token: client.search_runs(experiments, max_results=_PAGE, page_token=token))


def _all(page: Callable[[str | None], Any]) -> Iterator[Any]:
    """What a search finds, page by page."""
    token = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return


def _reasons(client: MlflowClient, runs: Sequence[entities.Run], wanted: Wanted) -> dict[str, str]:
    """Why single runs are kept, by id."""
    registered = _registered(client)
    scores = {run.info.run_id: _score(client, run, wanted.metric) for run in runs if run.info.status == "FINISHED"}
    known = {run_id: score for run_id, score in scores.items() if score is not None}
    order = sorted(known, key=lambda run_id: known[run_id], reverse=not less_is_better(wanted.metric))
    best = {run_id: place for place, run_id in enumerate(order[: wanted.best], start=1)}
    reasons = {}
    for run in runs:
        run_id, tags = run.info.run_id, run.data.tags
        values = [
            value for name, value in tags.items() if name == records.MODEL_DIGEST or name.startswith(records.OUTPUT)
        ]
        model = next((wanted.models[value] for value in values if value in wanted.models), None)
        if run_id in registered:
            reasons[run_id] = registered[run_id]
        elif run_id in best:
            reasons[run_id] = (
                f"{best[run_id]} of the best {wanted.best}, {wanted.metric} {fitting(wanted.metric, known[run_id])}"
            )
        elif model is not None:
            reasons[run_id] = model
        elif run.info.status in ("RUNNING", "SCHEDULED"):
            reasons[run_id] = "is running"
        elif run.info.status != "FINISHED" and {run_id, tags.get(_JOURNAL)} & set(wanted.resumable):
            reasons[run_id] = "unfinished, and a checkpoint can go on with it"
        elif run.info.status == "FINISHED" and run_id not in known:
            reasons[run_id] = f"has no {wanted.metric}"
        elif is_looked_at(tags) and not _has_files(run):
            reasons[run_id] = "counts looks at the test set"
    return reasons


def _score(client: MlflowClient, run: entities.Run, metric: str) -> float | None:
    """The best value of the metric in the run: that of the model which training kept."""
    if metric not in run.data.metrics:
        return None
    values = [point.value for point in client.get_metric_history(run.info.run_id, metric)]
    values = [value for value in values if value == value]
    return (min if less_is_better(metric) else max)(values, default=None)


def _registered(client: MlflowClient) -> dict[str, str]:
    """Of runs that a registered version was made from: which."""
    found: dict[str, str] = {}
    for model in _all(lambda token: client.search_registered_models(max_results=_PAGE, page_token=token)):
        names = {str(version): alias for alias, version in model.aliases.items()}
        where = f'name = "{model.name}"'
        for version in _all(
            lambda token: client.search_model_versions(where, max_results=_PAGE, page_token=token)  # noqa: B023
        ):
            alias = f", {names[str(version.version)]}" if str(version.version) in names else ""
            for run_id in filter(None, (version.run_id, version.tags.get("reprise.run"))):
                found[run_id] = f"registered as {version.name}/{version.version}{alias}"
    return found


def _family_reasons(runs: Sequence[entities.Run], own: Mapping[str, str]) -> dict[str, str]:
    """The same for whole families: of parents and children all are kept, or none."""
    parents = {run.info.run_id: run.data.tags.get(_PARENT) for run in runs}

    def root(run_id: str) -> str:
        seen = {run_id}
        while (parent := parents.get(run_id)) in parents and parent not in seen and parent is not None:
            seen.add(parent)
            run_id = parent
        return run_id

    kept: dict[str, str] = {}
    for run_id in own:
        kept.setdefault(root(run_id), run_id)
    reasons = {}
    for run in runs:
        run_id = run.info.run_id
        if run_id in own:
            reasons[run_id] = own[run_id]
        elif (relative := kept.get(root(run_id))) is not None:
            reasons[run_id] = f"belongs to the run {relative}, which is kept"
    return reasons


def _has_files(run: entities.Run) -> bool:
    """Whether the run has artifacts on this machine."""
    folder = _local(run.info.artifact_uri)
    return folder is not None and folder.is_dir()


def _local(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _no_answer(error: MlflowException | store.Unreachable) -> UserError:
    return UserError(f"MLflow at {store.shown()} does not answer. ({store.deepest_line(error)})")
