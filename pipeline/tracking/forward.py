"""From a journal to MLflow: in batches, in order, and so that sending an entry twice changes nothing.

Metrics keep the time of their entry, which is a part of MLflow's primary key. What a training repeated after a resume
is left out by step. The artifacts have a lane of their own: a store that is away holds up no metric.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import final

from mlflow import MlflowClient, entities

from pipeline import environment
from pipeline.tracking import opening, run_map, store
from pipeline.tracking.journal import ARTIFACTS, ENTRIES, SYSTEM, Entry, Journal
from pipeline.tracking.sending import say
from pipeline.tracking.store import Unreachable
from pipeline.tracking.tag_names import ERROR, EVALUATED, LOST, MODEL_DIGEST

POINTS = 500  # of metrics, in a request; MLflow takes 1,000
# A file is stored by the server before it answers: at this pace at least, or it counts as away.
_BYTES_PER_SECOND, _UPLOAD_SECONDS = 1_000_000, 20
_CURVES = ("metrics", "finals")

Report = Callable[[int, float], None]
"""Told after each batch how many entries it sent; before an upload 0, and how many seconds that may take."""


@final
class Forwarder:
    """Sends one journal, whose sender's lock the caller holds.

    Args:
        report: told of requests that may take long.
    """

    def __init__(self, journal: Journal, client: MlflowClient, report: Report = lambda sent, seconds: None) -> None:
        self._journal, self._client, self._report = journal, client, report
        self._sent = journal.sent()
        # Points that MLflow has, by metric and step; fetched when first needed, unless the run is ours alone.
        self._known: dict[str, dict[int, float]] = {}
        self._ours = False

    def forward(self) -> bool:
        """Send all that is there; whether that was anything.

        Raises:
            Unreachable: MLflow does not answer as it should; what is left can be sent later.
            UserError: the run cannot be created, and waiting does not help.
        """
        before = dict(self._sent.offsets)
        self._entries()
        if self._sent.run is not None:
            self._system()
            self._artifacts()
        return self._sent.offsets != before

    def _entries(self) -> None:
        for entries, offset in batches(self._journal.read(ENTRIES, self._sent.offsets[ENTRIES])):
            match entries[0]["kind"]:
                case "open":
                    self._open(entries[0])
                case "metrics" | "finals":
                    self._points(entries)
                case "tags":
                    tags = [entities.RunTag(name, value) for name, value in entries[0]["tags"].items()]
                    self._try(lambda client, run: opening.batch(client, run, tags=tags), {"tags": len(tags)})  # noqa: B023
                case "dataset":
                    self._dataset(entries[0])
                case "model":
                    self._model(entries[0])
                case "end":
                    self._end(entries[0])
            self._save(ENTRIES, offset, len(entries))

    def _open(self, entry: Entry) -> None:
        before = opening.open_run(self._client, self._journal, entry, self._sent)
        self._ours, self._known = before is None, {}

    def _points(self, entries: list[Entry]) -> None:
        new: dict[str, dict[int, float]] = {}
        points = []
        for entry in entries:
            step = entry.get("step", 0)
            for name, value in entry["values"].items():
                known = self._history(name) | new.get(name, {})
                # A step is trained once more after a resume; a score that has no course may be another one now.
                if step in known and (entry["kind"] == "metrics" or known[step] == value):
                    continue
                new.setdefault(name, {})[step] = value
                points.append(_point(name, value, entry["time"], step))
        self._log(points)
        for name, steps in new.items():
            self._known[name] |= steps

    def _history(self, name: str) -> dict[int, float]:
        if name not in self._known:
            found: list[entities.Metric] = []
            if not self._ours:
                self._try(lambda client, run: found.extend(client.get_metric_history(run, name)), {})
            self._known[name] = {point.step: point.value for point in found}
        return self._known[name]

    def _log(self, points: list[entities.Metric]) -> None:
        for first in range(0, len(points), POINTS):
            part = points[first : first + POINTS]
            self._try(lambda client, run: client.log_batch(run, metrics=part), {"metric points": len(part)})  # noqa: B023

    def _dataset(self, entry: Entry) -> None:
        data = entities.Dataset(
            entry["name"], entry["digest"], "local", entry["source"], None, profile=entry["profile"]
        )
        used = entities.DatasetInput(data, [entities.InputTag("mlflow.data.context", entry["context"])])
        self._try(lambda client, run: client.log_inputs(run, [used]), {"datasets": 1})

    def _model(self, entry: Entry) -> None:
        assert self._sent.run is not None
        self._try(lambda client, run: client.set_tag(run, MODEL_DIGEST, entry["digest"]), {"tags": 1})
        run_map.remember(entry["digest"], run=self._sent.run)

    def _end(self, entry: Entry) -> None:
        """Say how the run ended, after all else; what the store of artifacts does not take now is left for later."""
        self._system()
        with suppress(Unreachable):
            self._artifacts()
        tags = {
            name: value for name, value in {ERROR: entry.get("error"), LOST: counted(self._sent.lost)}.items() if value
        }
        if entry.get("evaluation") and entry["status"] == "FINISHED":
            tags[EVALUATED] = self._journal.id
        listed = [entities.RunTag(name, value) for name, value in tags.items()]
        self._try(lambda client, run: opening.batch(client, run, tags=listed), {"tags": len(tags)})
        self._try(lambda client, run: client.set_terminated(run, entry["status"], entry["time"]), {"status": 1})
        if self._sent.lost:
            say(f"Not in MLflow, and not to be sent later: {counted(self._sent.lost)}.")
        if self._sent.doubtful:
            self._try(lambda client, run: opening.settle(client, self._journal, self._sent), {})

    def _system(self) -> None:
        for entries, offset in batches(self._journal.read(SYSTEM, self._sent.offsets[SYSTEM])):
            self._log(
                [
                    # Seconds of the run: they go on where they were when the run does.
                    _point(name, value, entry["time"], (entry["time"] - self._sent.started) // 1000)
                    for entry in entries
                    for name, value in entry["values"].items()
                ]
            )
            self._save(SYSTEM, offset, len(entries))

    def _artifacts(self) -> None:
        for entry, offset in self._journal.read(ARTIFACTS, self._sent.offsets[ARTIFACTS]):
            source = self._journal.source(entry)
            if source is None:
                say(f"{entry['source']} is another one now, and no copy was kept: it is not sent.")
                self._count({"artifacts": 1})
            elif entry["kind"] == "first" and self._has(entry["last"]):
                pass  # a run that is gone on with keeps what it said first
            elif source.is_dir():
                for path in sorted(path for path in source.rglob("*") if path.is_file()):
                    inner = PurePosixPath(entry["folder"] or "", path.parent.relative_to(source).as_posix())
                    self._upload(path, inner.as_posix())
            else:
                self._upload(source, entry["folder"])
            self._save(ARTIFACTS, offset, 1)

    def _has(self, artifact: str) -> bool:
        folder, found = artifact.rpartition("/")[0] or None, list[entities.FileInfo]()
        self._try(lambda client, run: found.extend(client.list_artifacts(run, folder)), {})
        return artifact in {item.path for item in found}

    def _upload(self, path: Path, folder: str | None) -> None:
        patience = _UPLOAD_SECONDS + path.stat().st_size // _BYTES_PER_SECOND
        self._report(0, patience)
        where = None if folder in (None, "", ".") else folder
        with environment.changed({store.TIMEOUT: str(patience)}):
            self._try(lambda client, run: client.log_artifact(run, str(path), where), {"artifacts": 1})

    def _try(self, request: Callable[[MlflowClient, str], object], worth: Mapping[str, int]) -> None:
        """Make a request once; what MLflow refuses for what it says is told of, and lost."""
        assert self._sent.run is not None
        try:
            request(self._client, self._sent.run)
        except Exception as error:
            if not store.is_foreign(error):
                raise
            if not store.is_final(error):
                raise Unreachable(store.deepest_line(error)) from error
            if worth.keys() - self._sent.lost.keys():  # the first of its kind; how many there were, the end tells
                say(f"MLflow refused {counted(worth)}: {store.first_line(error)}")
            self._count(worth)

    def _count(self, worth: Mapping[str, int]) -> None:
        for kind, count in worth.items():
            self._sent.lost[kind] = self._sent.lost.get(kind, 0) + count

    def _save(self, lane: str, offset: int, entries: int) -> None:
        self._sent.offsets[lane] = offset
        self._journal.save(self._sent)
        self._report(entries, 0)


def batches(entries: Iterator[tuple[Entry, int]]) -> Iterator[tuple[list[Entry], int]]:
    """The entries in order, points that follow each other together, with the offset behind them."""
    held: list[Entry] = []
    points = behind = 0
    for entry, offset in entries:
        same = bool(held) and entry["kind"] in _CURVES and held[0]["kind"] in _CURVES
        if held and not (same and points + len(entry["values"]) <= POINTS):
            yield held, behind
            held, points = [], 0
        held.append(entry)
        points += len(entry.get("values", ()))
        behind = offset
    if held:
        yield held, behind


def counted(worth: Mapping[str, int]) -> str:
    """Numbers of things, in words: `3 metric points, 1 tags`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in worth.items() if count)


def _point(name: str, value: float | None, time: int, step: int) -> entities.Metric:
    return entities.Metric(name, float("nan") if value is None else value, time, step)
