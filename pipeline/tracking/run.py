"""One MLflow run: everything that is measured goes through this class, and nothing that MLflow does stops training.

Only the client API with an explicit run id is used. The fluent one would make stray runs in threads and other
processes, which do not inherit the active run.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, final

from mlflow import MlflowClient, entities
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pipeline import params_file
from pipeline.params import Params
from pipeline.tracking import lineage, records, run_map, store, values
from pipeline.tracking.sender import Sender, say

_DATASET_DIGEST_LENGTH = 36
_SYSTEM_METRICS_SECONDS = 5
# A process that a signal ends exits with this and the signal's number.
_SIGNALS_FROM = 128
_PREEMPTED = 75  # asked to stop, and saved
_ERROR = "reprise.error"


@final
class Run:
    """An MLflow run that is open inside a ``with`` block, and gets its status from how the block ends.

    A server that does not answer costs one warning: the run goes on untracked, and what was lost is said at the end.
    """

    def __init__(self) -> None:
        self.id: str | None = None
        self._sender = Sender()
        # Points that MLflow has already, by metric and step; of a run that is gone on with, fetched when first needed.
        self._points: dict[str, dict[int, float]] = {}
        self._before: entities.Run | None = None
        self._log_model = False
        self._monitor: SystemMetricsMonitor | None = None

    @classmethod
    def start(cls, params: Params, *, inputs: Mapping[str, str], device: str, resume: str | None = None) -> Self:
        """A new run, or `resume` gone on with if MLflow still has that run.

        Args:
            inputs: digest of every dependency, by path.
            device: what it is computed on, in words.

        Raises:
            UserError: MLFLOW_TRACKING_URI is wrong, the login is refused, or the experiment is deleted.
        """
        return cls()._opened(
            params, inputs, device, lambda client: records.existing(client, resume) if resume else None
        )

    @classmethod
    def of_model(cls, params: Params, model_digest: str, *, inputs: Mapping[str, str], device: str) -> Self:
        """The run that made the model, gone on with; a new one if there is none (as when the model was pulled).

        Raises:
            UserError: as in `start`.
        """
        run = cls()._opened(params, inputs, device, lambda client: records.of_model(client, model_digest))
        run.link_model(model_digest)
        return run

    def metrics(self, step: int, scores: Mapping[str, float]) -> None:
        """Points of curves, by names such as ``train/loss``. Steps that MLflow has already are not sent again."""
        self._log({name: float(value) for name, value in scores.items() if step not in self._known(name)}, step)

    def finals(self, scores: Mapping[str, float]) -> None:
        """Scores that have no course, such as ``test/accuracy``. At step 0 MLflow draws them as bars."""
        self._log({name: float(value) for name, value in scores.items() if self._known(name).get(0) != value}, 0)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, in a folder of the run's artifacts."""
        assert path.is_file(), path
        self._sender.send(lambda client, run: client.log_artifact(run, str(path), folder), {"artifacts": 1})

    def artifacts(self, source: Path, folder: str | None = None) -> None:
        """Keep all files below a folder."""
        assert source.is_dir(), source
        self._sender.send(lambda client, run: client.log_artifacts(run, str(source), folder), {"artifact folders": 1})

    def model(self, source: Path) -> None:
        """Keep the exported model, if tracking.log_model says so."""
        if self._log_model:
            self.artifacts(source, "model")

    def dataset(self, name: str, context: str, digest: str, rows: int, source: str) -> None:
        """Note a split that was used.

        Args:
            context: ``training``, ``validation`` or ``test``.
            digest: SHA-256 of all rows. MLflow's field takes its first 36 digits, the profile all of it.
            source: where the rows came from, a path or an address.
        """
        profile = json.dumps({"num_rows": rows, "sha256": digest})
        uri = json.dumps({"uri": values.without_secrets(source)})
        data = entities.Dataset(name, digest[:_DATASET_DIGEST_LENGTH], "local", uri, None, profile)
        used = entities.DatasetInput(data, [entities.InputTag("mlflow.data.context", context)])
        self._sender.send(lambda client, run: client.log_inputs(run, [used]), {"datasets": 1})

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; long values are cut and marked, secrets are taken out."""
        self._sender.batch(tags=[entities.RunTag(name, value) for name, value in values.tags(tags).items()])

    def link_model(self, model_digest: str) -> None:
        """Note that this run made the model of that digest, in MLflow and in the local map."""
        if self.id is not None:
            run_map.remember(model_digest, self.id)
        self.tags({records.MODEL_DIGEST: model_digest})

    def outputs(self, hashes: Mapping[str, str]) -> None:
        """Note the outputs of a stage, by path, with the hashes that dvc.lock will have."""
        self.tags({f"{records.OUTPUT}{path}": value for path, value in hashes.items()})
        self._keep(lineage.outputs(hashes))

    def _keep(self, contents: Mapping[str, bytes]) -> None:
        """Keep artifacts that are no files yet, by path."""
        with tempfile.TemporaryDirectory() as folder:
            for path, content in contents.items():
                file = Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.artifacts(Path(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = _status(error)
        if error is not None and status != "FINISHED":
            self.tags({_ERROR: store.first_line(error)})
        elif self._before is not None and _ERROR in self._before.data.tags:
            self._sender.send(lambda client, run: client.delete_tag(run, _ERROR), {})
        if self._monitor is not None and self._sender.connected:
            # With the server away its thread may hang in a request; it dies with the process.
            self._monitor.finish()
        self._sender.close(status)

    def _opened(
        self,
        params: Params,
        inputs: Mapping[str, str],
        device: str,
        earlier: Callable[[MlflowClient], entities.Run | None],
    ) -> Self:
        self._log_model = params.tracking.log_model
        try:
            self._open(params, earlier)
            self._introduce(params, inputs, device)
            self._watch_system()
        except store.Unreachable as error:
            self._sender.disconnect(str(error))
        except MlflowException as error:
            self._sender.disconnect(store.no_answer(error))
        except BaseException as error:
            if self._sender.connected:
                self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _open(self, params: Params, earlier: Callable[[MlflowClient], entities.Run | None]) -> None:
        client = store.connect()
        self._before = earlier(client)
        if self._before is not None:
            self.id = self._before.info.run_id
            client.update_run(self.id, status="RUNNING")
        else:
            experiment = store.experiment_id(client, params.tracking.experiment_name)
            # Who owns a run, MLflow takes from this tag, and only now.
            owner = {"mlflow.user": lineage.owner()}
            self.id = client.create_run(experiment, tags=owner, run_name=lineage.run_name(params)).info.run_id
        self._sender.connect(client, self.id)

    def _introduce(self, params: Params, inputs: Mapping[str, str], device: str) -> None:
        """Say what the run is. What it said of itself before, when it is gone on with, stays."""
        said_tags = self._before.data.tags if self._before else {}
        said_params = self._before.data.params if self._before else {}
        flat = values.flatten(params.model_dump(mode="json"))
        # MLflow refuses to change a param. On going on only hardware, tracking or evaluate can differ.
        changed = {name: value for name, value in flat.items() if said_params.get(name, value) != value}
        tags = values.tags(
            {
                "mlflow.note.content": lineage.description(params),
                "reprise.device": device,
                "reprise.threads": str(params.hardware.num_threads),
                **lineage.facts(),
                **{f"{records.INPUT}{path}": digest for path, digest in inputs.items()},
                **{f"reprise.changed.{name}": value for name, value in changed.items()},
                **params.tracking.tags,
            }
        )
        self._sender.batch(
            params=[entities.Param(name, value) for name, value in flat.items() if name not in said_params],
            tags=[entities.RunTag(name, value) for name, value in tags.items() if name not in said_tags],
        )
        if self._before is None:
            text = values.without_secrets(params_file.render(params))
            self._sender.send(lambda client, run: client.log_text(run, text, "params.yaml"), {"artifacts": 1})
            self._keep(lineage.capture(params, inputs, device))

    def _watch_system(self) -> None:
        wanted = os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in ("0", "false")
        if not (wanted and self._sender.connected):
            return
        try:
            self._monitor = SystemMetricsMonitor(
                self.id,
                sampling_interval=_SYSTEM_METRICS_SECONDS,
                resume_logging=self._before is not None,
                tracking_uri=self._sender.uri,
            )
        except Exception as error:
            # Where a container hides its network or disks, psutil returns None to MLflow.
            if not (store.is_foreign(error) or isinstance(error, AttributeError)):
                raise
            say(f"No system metrics: {store.first_line(error)}")
            return
        self._monitor.start()

    def _known(self, name: str) -> dict[int, float]:
        """The points of a metric, by step, that this run had before it was gone on with."""
        if self._before is None:
            return {}
        if name not in self._points:
            history: list[entities.Metric] = []
            self._sender.send(lambda client, run: history.extend(client.get_metric_history(run, values.key(name))), {})
            self._points[name] = {point.step: point.value for point in history}
        return self._points[name]

    def _log(self, scores: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        # MLflow would store an infinity as 1.8e308, and a chart with it shows nothing else.
        self._sender.batch(
            metrics=[
                entities.Metric(values.key(name), value if math.isfinite(value) else math.nan, now, step)
                for name, value in scores.items()
            ]
        )


def _status(error: BaseException | None) -> str:
    """MLflow's status for how a block ended: an exit code that stands for a signal is a kill, as is Ctrl-C."""
    match error:
        case None | SystemExit(code=None | 0):
            return "FINISHED"
        case KeyboardInterrupt():
            return "KILLED"
        case SystemExit(code=int(code)) if code == _PREEMPTED or code >= _SIGNALS_FROM:
            return "KILLED"
        case _:
            return "FAILED"
