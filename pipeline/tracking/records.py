"""Runs as MLflow has them, found by what people call them: an id, a name, a registered model, a DVC revision."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from mlflow import MlflowClient, entities
from mlflow.exceptions import MlflowException

from pipeline import dag, digest, project
from pipeline.errors import UserError, did_you_mean
from pipeline.tracking import git, run_map, store
from pipeline.tracking.tag_names import INPUT as INPUT
from pipeline.tracking.tag_names import MODEL_DIGEST as MODEL_DIGEST
from pipeline.tracking.tag_names import OUTPUT as OUTPUT

WORKSPACE = "workspace"
_RUN_OF_VERSION = "reprise.run"
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_VERSION = re.compile(r"(?P<model>.+)(?:/(?P<version>\d+)|@(?P<alias>[^@/]+))")


@dataclass(frozen=True)
class Record:
    """A run, read once.

    Attributes:
        called: what it was asked for by.
        experiment: the id of its MLflow experiment.
        metrics: the last value of each.
        started: milliseconds since 1970.
    """

    id: str
    name: str
    called: str
    status: str
    experiment: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    started: int
    _client: MlflowClient = field(repr=False, compare=False)

    @classmethod
    def of(cls, run: entities.Run, called: str, client: MlflowClient) -> Self:
        """The record of a run that MLflow gave."""
        info, data = run.info, run.data
        return cls(
            info.run_id,
            info.run_name,
            called,
            info.status,
            info.experiment_id,
            data.params,
            data.tags,
            data.metrics,
            info.start_time,
            client,
        )

    def fetch(self, path: str, into: Path) -> Path | None:
        """Download an artifact, a file or a folder, below `into`; None if the run has none of that name.

        Raises:
            UserError: the store of the artifacts does not answer.
        """
        try:
            parent = path.rpartition("/")[0]
            if path not in {found.path for found in self._client.list_artifacts(self.id, parent or None)}:
                return None
            into.mkdir(parents=True, exist_ok=True)
            return Path(self._client.download_artifacts(self.id, path, str(into)))
        except Exception as error:
            if not store.is_foreign(error):
                raise
            raise UserError(
                f"The artifact {path} of the run {self.name} ({self.id}) cannot be fetched: {store.deepest_line(error)}"
            ) from error

    def read(self, path: str) -> bytes | None:
        """The bytes of an artifact that is a file; None if the run has none of that name."""
        with tempfile.TemporaryDirectory() as folder:
            found = self.fetch(path, Path(folder))
            return None if found is None else found.read_bytes()


def find(called: str, experiment_name: str) -> Record:
    """The run that is called so.

    Args:
        called: `workspace` (the run of models/best), a run's id, its name, MODEL@ALIAS, MODEL/VERSION, or a git
            revision or DVC experiment, whose dvc.lock says which model it has.
        experiment_name: the MLflow experiment whose names are meant.

    Raises:
        UserError: there is no such run, several have the name, or MLflow does not answer.
    """
    try:
        client = store.connect()
        run = _found(client, called, experiment_name)
    except store.Unreachable as error:
        raise UserError(f"MLflow at {store.shown()} does not answer. ({error})") from None
    except MlflowException as error:
        raise UserError(f"MLflow at {store.shown()} does not answer. ({store.no_answer(error)})") from None
    if run is None:
        near = did_you_mean(called, _known(client, experiment_name))
        raise UserError(
            f"There is no run '{called}' at {store.shown()}: no run id or name in the experiment '{experiment_name}', "
            f"no registered version, and no git revision or DVC experiment whose model a run made.{near}"
        )
    return Record.of(run, called, client)


def _found(client: MlflowClient, called: str, experiment_name: str) -> entities.Run | None:
    if called == WORKSPACE:
        return _of_workspace(client)
    if _RUN_ID.fullmatch(called) and (run := existing(client, called)):
        return run
    if (match := _VERSION.fullmatch(called)) and (run := _of_version(client, **match.groupdict())):
        return run
    return _named(client, called, experiment_name) or _of_revision(client, called)


def _of_workspace(client: MlflowClient) -> entities.Run | None:
    if not project.BEST_MODEL.is_dir():
        raise UserError(
            f"There is no model in {project.BEST_MODEL}. Train one: dvc repro; or bring it back: dvc checkout"
        )
    model_digest = digest.of_folder(project.BEST_MODEL)
    if (run := of_model(client, model_digest)) is None:
        raise UserError(
            f"No run at {store.shown()} made the model in {project.BEST_MODEL} (SHA-256 {model_digest[:12]}...): it "
            "was made elsewhere, or while MLflow was away."
        )
    return run


def of_model(client: MlflowClient, model_digest: str) -> entities.Run | None:
    """The run that made a model: the one noted here, else the newest that says so of itself.

    What is noted here goes first: on a shared server somebody else's run may have made the very same model.
    """
    noted = run_map.recall(model_digest)
    if noted is not None and (run := existing(client, noted)):
        return run
    return _newest(client, f"tags.`{MODEL_DIGEST}` = '{model_digest}'")


def existing(client: MlflowClient, run_id: str) -> entities.Run | None:
    """The run of that id, if it is there and not deleted."""
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def _of_version(client: MlflowClient, model: str, version: str, alias: str | None) -> entities.Run | None:
    try:
        found = client.get_model_version_by_alias(model, alias) if alias else client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    # A version whose files were copied has its run in a tag.
    run_id = found.run_id or found.tags.get(_RUN_OF_VERSION)
    if run_id is None or (run := existing(client, run_id)) is None:
        raise UserError(f"{model}/{found.version} is registered, but its run {run_id or ''} is not at {store.shown()}.")
    return run


def _named(client: MlflowClient, name: str, experiment_name: str) -> entities.Run | None:
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None or {"'", '"'} <= set(name):
        return None
    quote = '"' if "'" in name else "'"
    found = client.search_runs([experiment.experiment_id], f"attributes.run_name = {quote}{name}{quote}", max_results=5)
    if len(found) > 1:
        ids = ", ".join(f"{run.info.run_id} ({_day(run)})" for run in found)
        raise UserError(f"Several runs are called '{name}'. Name one by its id: {ids}")
    return found[0] if found else None


def _day(run: entities.Run) -> str:
    return f"{datetime.fromtimestamp(run.info.start_time / 1000):%Y-%m-%d %H:%M}"


def _known(client: MlflowClient, experiment_name: str) -> Iterator[str]:
    """What could have been meant: names of runs, registered versions, DVC experiments."""
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is not None:
        yield from (run.info.run_name for run in client.search_runs([experiment.experiment_id], max_results=200))
    for model in client.search_registered_models(max_results=200):
        yield from (f"{model.name}@{alias}" for alias in model.aliases)
        yield from (f"{model.name}/{version.version}" for version in model.latest_versions)
    yield from (name for _, name in git.experiments())


def _of_revision(client: MlflowClient, revision: str) -> entities.Run | None:
    """The run that made the model that dvc.lock has in a git revision or DVC experiment."""
    lock = git.text("show", "--end-of-options", f"{git.experiment(revision) or revision}:./{dag.LOCK}")
    made = dag.locked_output(lock, project.BEST_MODEL) if lock else None
    return _newest(client, f"tags.`{OUTPUT}{project.BEST_MODEL.as_posix()}` = '{made}'") if made else None


def _newest(client: MlflowClient, where: str) -> entities.Run | None:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, where, max_results=1, order_by=["attributes.start_time DESC"])
    return found[0] if found else None
