"""Which MLflow run a journal is written to: gone on with, found by what it made, or created; and what it says first."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient, entities

from pipeline import project
from pipeline.tracking import records, store, values
from pipeline.tracking.journal import Entry, Journal
from pipeline.tracking.sent import Sent
from pipeline.tracking.tag_names import CHANGED, ERROR, EVALUATED, INPUT, JOURNAL, MODEL_DIGEST, OUTPUT, PARENT

_CHILD_OF = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"
_AT_ONCE = 100  # MLflow takes as many params and tags in a request
_RECENT = 50
_SHOWN = 60  # characters of a value in a description
# What says how and where a run was computed, not what it was.
_NO_DIFFERENCE = ("hardware.", "tracking.", "promotion.", "version")


def open_run(client: MlflowClient, journal: Journal, entry: Entry, sent: Sent) -> entities.Run | None:
    """Find or create the MLflow run, say what it is, and note its id in `sent`; doing it again changes nothing.

    The evaluation of a model goes on in the run that made it, and is a child of that run if one has ended there.

    Args:
        entry: what the journal was opened with.

    Returns:
        The run as it was before; None if it was created.

    Raises:
        UserError: the experiment is deleted.
        MlflowException: MLflow does not answer, or refuses.
    """
    before, tags, parent = _own(client, journal, sent), dict(entry["tags"]), None
    if before is None and entry["model"]:
        made = records.of_model(client, entry["model"])
        if made is not None and made.data.tags.get(EVALUATED, journal.id) != journal.id:
            parent = made
            tags[_NOTE] = f"Another evaluation of the model of **{made.info.run_name}**.\n\n{tags[_NOTE]}"
        else:
            before = made
            tags[MODEL_DIGEST] = entry["model"]
    if before is None:
        run = _create(client, journal, entry, sent, {} if parent is None else {_CHILD_OF: parent.info.run_id})
        if not entry["model"]:
            tags |= _difference(client, entry, run.info)
    else:
        run = before
        client.update_run(run.info.run_id, status="RUNNING")
        if ERROR in run.data.tags:
            client.delete_tag(run.info.run_id, ERROR)
    sent.run, sent.experiment, sent.started = run.info.run_id, run.info.experiment_id, run.info.start_time
    _introduce(client, run, entry["params"], tags)
    return before


def settle(client: MlflowClient, journal: Journal, sent: Sent) -> None:
    """Delete empty twins of the run: a server that hung may have created one for each request that it woke up to."""
    for run in _runs_of(client, journal):
        if run.info.run_id != sent.run:
            client.delete_run(run.info.run_id)
    sent.doubtful = False


def _own(client: MlflowClient, journal: Journal, sent: Sent) -> entities.Run | None:
    """The run that is written from this journal already."""
    if sent.run is not None and (run := records.existing(client, sent.run)):
        return run
    return next(iter(_runs_of(client, journal)), None)


def _runs_of(client: MlflowClient, journal: Journal) -> list[entities.Run]:
    """All runs that carry the journal's id, the oldest first; more than one only by accident (see `settle`)."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    where = f"tags.`{JOURNAL}` = '{journal.id}'"
    return list(client.search_runs(experiments, where, order_by=["attributes.start_time ASC"]))


def _create(
    client: MlflowClient, journal: Journal, entry: Entry, sent: Sent, parent: Mapping[str, str]
) -> entities.Run:
    experiment = store.experiment_id(client, entry["experiment"])
    # Who owns a run, MLflow takes from this tag, and only now.
    tags = {"mlflow.user": entry["owner"], JOURNAL: journal.id, **parent}
    doubtful, sent.doubtful = sent.doubtful, True
    journal.save(sent)
    run = client.create_run(experiment, start_time=entry["time"], tags=tags, run_name=entry["name"])
    sent.doubtful = doubtful
    return run


def _introduce(client: MlflowClient, run: entities.Run, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Say what the run is. What it said of itself before, when it is gone on with, stays."""
    said = run.data.params
    # MLflow refuses to change a param. On going on only hardware, tracking or evaluate can differ.
    changed = {f"{CHANGED}{name}": value for name, value in params.items() if said.get(name, value) != value}
    new = values.tags({**tags, **changed})
    batch(
        client,
        run.info.run_id,
        params=[entities.Param(name, value) for name, value in params.items() if name not in said],
        tags=[entities.RunTag(name, value) for name, value in new.items() if name not in run.data.tags],
    )


def batch(
    client: MlflowClient,
    run_id: str,
    params: Sequence[entities.Param] = (),
    tags: Sequence[entities.RunTag] = (),
) -> None:
    """Send params and tags together, in as few requests as MLflow takes."""
    for first in range(0, max(len(params), len(tags)), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        client.log_batch(run_id, params=params[part], tags=tags[part])


def _difference(client: MlflowClient, entry: Entry, own: entities.RunInfo) -> dict[str, str]:
    """The description, led by what differs from the run before: `learning_rate 0.003 -> 0.001`."""
    before = _before(client, entry, own)
    if before is None:
        return {}
    found = ", ".join(differences(before.data.params, before.data.tags, entry)) or "nothing differs"
    return {
        PARENT: before.info.run_id,
        _NOTE: f"**{found}** (against {before.info.run_name})\n\n{entry['tags'][_NOTE]}",
    }


def _before(client: MlflowClient, entry: Entry, own: entities.RunInfo) -> entities.Run | None:
    """The run of the DVC experiment's baseline, else the last finished training of the MLflow experiment."""
    if baseline := entry["baseline"]:
        where = f"tags.`{OUTPUT}{project.BEST_MODEL.as_posix()}` = '{baseline}'"
        if found := _newest_training(client, own, where):
            return found
    return _newest_training(client, own, "attributes.status = 'FINISHED'")


def _newest_training(client: MlflowClient, own: entities.RunInfo, where: str) -> entities.Run | None:
    order = ["attributes.start_time DESC"]
    found = client.search_runs([own.experiment_id], where, max_results=_RECENT, order_by=order)
    fitting = (run for run in found if run.info.run_id != own.run_id and _CHILD_OF not in run.data.tags)
    return next((run for run in fitting if run.info.start_time <= own.start_time), None)


def differences(params: Mapping[str, str], tags: Mapping[str, str], entry: Entry) -> list[str]:
    """What a new run has other than one with these params and tags, each in a few words."""
    new: Mapping[str, str] = entry["params"]
    changed = [
        name
        for name in sorted({*params, *new})
        if params.get(name) != new.get(name) and not name.startswith(_NO_DIFFERENCE)
    ]
    short = Counter(name.rpartition(".")[2] for name in changed)
    found = [
        f"{last if short[last] == 1 else name} {_shown(params.get(name))} -> {_shown(new.get(name))}"
        for name in changed
        for last in [name.rpartition(".")[2]]
    ]
    inputs = {name: value for name, value in entry["tags"].items() if name.startswith(INPUT)}
    other = [name.removeprefix(INPUT) for name, value in inputs.items() if tags.get(name, value) != value]
    code = [path for path in other if path.endswith(".py")]
    found += [path for path in other if path not in code]
    return [*found, *([f"{len(code)} file{'s' * (len(code) > 1)} of code"] if code else [])]


def _shown(value: str | None) -> str:
    if value is None:
        return "(none)"
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
