"""One run: everything that is measured goes through this class, into a journal on the disk, and so to MLflow.

The process that trains never speaks to MLflow, and imports nothing of it: an entry is appended to a file, and another
process (`sender`) sends it. A server that is slow, hung or down costs the training nothing, and the run no metric.
"""

import json
import math
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from pipeline import dag, digest, params_file, project
from pipeline.params import Params
from pipeline.tracking import journal as journals
from pipeline.tracking import lineage, run_map, store, values
from pipeline.tracking.journal import ARTIFACTS, ENTRIES, Journal
from pipeline.tracking.sending import Sending, say
from pipeline.tracking.tag_names import INPUT, OUTPUT

_DATASET_DIGEST_LENGTH = 36
# A process that a signal ends exits with this and the signal's number.
_SIGNALS_FROM = 128
_PREEMPTED = 75  # asked to stop, and saved


@final
class Run:
    """A run that is open inside a ``with`` block, and gets its status from how the block ends.

    Attributes:
        id: of its journal, which the MLflow run carries as the tag `reprise.journal`.
    """

    def __init__(self, journal: Journal, log_model: bool) -> None:
        self.id = journal.id
        self._journal, self._log_model = journal, log_model
        self._evaluates = False
        self._sending = Sending(journal)
        self._held = ExitStack()

    @classmethod
    def start(cls, params: Params, *, inputs: Mapping[str, str], device: str, resume: str | None = None) -> Self:
        """A new run, or `resume` gone on with.

        MLflow is asked first. If it does not answer within seconds, the run goes on without it.

        Args:
            inputs: digest of every dependency, by path.
            device: what it is computed on, in words.
            resume: the id of the run to go on with.

        Raises:
            UserError: MLFLOW_TRACKING_URI is wrong, the login is refused, the server is of MLflow 2, or the experiment
                is deleted.
        """
        journals.close_orphans()
        run = cls(_to_go_on_with(resume) or journals.new(), params.tracking.log_model)
        return run._opened(params, inputs, device)

    @classmethod
    def of_model(cls, params: Params, model_digest: str, *, inputs: Mapping[str, str], device: str) -> Self:
        """An evaluation: it goes on in the run that made the model, or in a child of that run if it has one already.

        Without such a run (as when the model was pulled) it is a run of its own.

        Raises:
            UserError: as in `start`.
        """
        journals.close_orphans()
        return cls(journals.new(), params.tracking.log_model)._opened(params, inputs, device, model_digest)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a checkpoint counts on: what was logged before it must outlive a power cut, too."""
        return (self._journal.file(ENTRIES),)

    def metrics(self, step: int, scores: Mapping[str, float]) -> None:
        """Points of curves, by names such as ``train/loss``. Steps that MLflow has already are not sent again."""
        self._append("metrics", step=step, values=_finite(scores))

    def finals(self, scores: Mapping[str, float]) -> None:
        """Scores that have no course, such as ``test/accuracy``. At step 0 MLflow draws them as bars."""
        self._append("finals", values=_finite(scores))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, in a folder of the run's artifacts."""
        assert path.is_file(), path
        self._artifact("artifact", path, folder=folder)

    def artifacts(self, source: Path, folder: str | None = None, *, passing: bool = False) -> None:
        """Keep all files below a folder.

        Args:
            passing: whether the folder will be gone when they are sent.
        """
        assert source.is_dir(), source
        self._artifact("artifact", source, passing, folder=folder)

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
        self._append(
            "dataset",
            name=name,
            context=context,
            digest=digest[:_DATASET_DIGEST_LENGTH],
            source=json.dumps({"uri": values.without_secrets(source)}),
            profile=json.dumps({"num_rows": rows, "sha256": digest}),
        )

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; long values are cut and marked, secrets are taken out."""
        self._append("tags", tags=values.tags(tags))

    def link_model(self, model_digest: str) -> None:
        """Note that this run made the model of that digest, in MLflow and in the local map."""
        first = self._journal.first()
        assert first is not None, "the run is open"
        run_map.remember(model_digest, journal=self.id, name=first["name"])
        self._append("model", digest=model_digest)

    def outputs(self, hashes: Mapping[str, str]) -> None:
        """Note the outputs of a stage, by path, with the hashes that dvc.lock will have."""
        self.tags({f"{OUTPUT}{path}": value for path, value in hashes.items()})
        with _files(lineage.outputs(hashes)) as folder:
            self.artifacts(folder, passing=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = _status(error)
        with self._held:
            self._append(
                "end",
                status=status,
                error=store.first_line(error) if error is not None and status != "FINISHED" else None,
                evaluation=self._evaluates,
            )
            self._close()

    def _close(self) -> None:
        """Wait for the sender; what it could not send is kept here, artifacts included."""
        if not (left := self._sending.finish()):
            self._journal.remove()
            return
        offset = self._journal.sent().offsets[ARTIFACTS]
        for entry, _ in self._journal.read(ARTIFACTS, offset):
            with suppress(FileNotFoundError):
                self._journal.keep(entry)
        reason = f" ({text})" if (text := self._journal.phase().text) else ""
        say(
            f"Not in MLflow at {store.shown()} yet: {left:,} entries of this run{reason}. "
            "They are kept; send them when it answers: reprise sync"
        )

    def _opened(self, params: Params, inputs: Mapping[str, str], device: str, model_digest: str | None = None) -> Self:
        self._evaluates = model_digest is not None
        goes_on = self._journal.folder.exists()
        self._held.enter_context(self._journal.writing())
        try:
            self._introduce(params, inputs, device, model_digest)
            self._sending.start()
        except BaseException as error:
            self._sending.stop()
            with self._held:
                if goes_on:
                    self._append("end", status=_status(error), error=store.first_line(error))
                else:
                    self._journal.remove()
            raise
        return self

    def _introduce(self, params: Params, inputs: Mapping[str, str], device: str, model_digest: str | None) -> None:
        """Say what the run is."""
        tags = {
            "mlflow.note.content": lineage.description(params),
            "reprise.device": device,
            "reprise.threads": str(params.hardware.num_threads),
            **lineage.facts(),
            **{f"{INPUT}{path}": found for path, found in inputs.items()},
            **params.tracking.tags,
        }
        earlier = [journal for journal in journals.pending(store.origin()) if journal.id != self.id]
        self._append(
            "open",
            uri=store.origin(),
            experiment=params.tracking.experiment_name,
            name=lineage.run_name(params),
            owner=lineage.owner(),
            params=values.flatten(params.model_dump(mode="json")),
            tags=values.tags(tags),
            model=model_digest,
            after=[journal.id for journal in earlier] if model_digest else [],
            baseline=_baseline(),
        )
        rendered = self._journal.folder / project.PARAMS.name
        rendered.write_text(values.without_secrets(params_file.render(params)), encoding="utf-8")
        self._artifact("first", rendered, folder=None, last=project.PARAMS.name)
        with _files(lineage.capture(params, inputs, device)) as folder:
            self._artifact("first", folder, passing=True, folder=None, last=lineage.LINEAGE)

    def _artifact(self, kind: str, source: Path, passing: bool = False, **facts: str | None) -> None:
        entry = {
            "kind": kind,
            "source": str(source.absolute()),
            "sha256": digest.of_path(source),
            "copy": uuid.uuid4().hex,
            **facts,
        }
        if passing:
            self._journal.keep(entry)
        self._journal.append(ARTIFACTS, entry)

    def _append(self, kind: str, **facts: Any) -> None:
        self._journal.append(ENTRIES, {"kind": kind, **facts})


def _to_go_on_with(journal_id: str | None) -> Journal | None:
    """The journal of a run that is resumed; None if what is left of it belongs to another server."""
    if journal_id is None:
        return None
    journal = journals.of(journal_id)
    first = journal.first()
    return journal if first is None or first["uri"] == store.origin() else None


@contextmanager
def _files(contents: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these files, by path, for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in contents.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield Path(folder)


def _baseline() -> str | None:
    """The hash of the model in the commit that a DVC experiment starts from."""
    revision = os.environ.get("DVC_EXP_BASELINE_REV")
    lock = lineage.file_at(revision, dag.LOCK) if revision else None
    return dag.locked_output(lock, project.BEST_MODEL) if lock else None


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """The scores by names that MLflow takes; None for what is not finite.

    MLflow would store an infinity as 1.8e308, and a chart with it shows nothing else.
    """
    points = {values.key(name): float(value) for name, value in scores.items()}
    return {name: value if math.isfinite(value) else None for name, value in points.items()}


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
