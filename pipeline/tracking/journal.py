"""What a run has to say, on the disk first: files that are only appended to, and how much of them MLflow has.

A run's journal is a folder below `.reprise/journal/`, with a file a lane. One process appends, and holds a lock as
long as it lives. Another reads behind it and sends; it may be killed at any time. An append is one `os.write`: what
was appended outlives a killed process. A power cut is what `fsync` is for, which takes too long for a training step:
the sender calls it about once a second, and a checkpoint counts only when all that was appended before is on the disk.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, final

from pipeline import digest, project
from pipeline.tracking.sent import ARTIFACTS as ARTIFACTS
from pipeline.tracking.sent import ENTRIES as ENTRIES
from pipeline.tracking.sent import LANES, Phase, Sent
from pipeline.tracking.sent import SYSTEM as SYSTEM

Entry = dict[str, Any]
"""An entry of a lane: `kind` and `time` (milliseconds since 1970), and what its kind says."""

_SENT, _PHASE, _KEPT = "sent.json", "phase.json", "kept"
_WRITER, _SENDER = "writer.lock", "sender.lock"
_GONE = ".gone-"
_TAIL = 1 << 16  # bytes; the entry that ends a run is much shorter
_TRIES, _SECONDS_BETWEEN = 20, 0.05
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # made once: `dumps` makes one a call


@final
class Journal:
    """The journal in a folder, for the one who writes it and the one who sends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, int] = {}
        self._synced: dict[str, int] = {}

    @property
    def id(self) -> str:
        """Its name, which the MLflow run carries as a tag."""
        return self.folder.name

    def file(self, lane: str) -> Path:
        """The file of a lane."""
        return self.folder / f"{lane}.jsonl"

    def append(self, lane: str, entry: Mapping[str, Any]) -> None:
        """Write an entry behind the others, with the time if it has none.

        Raises:
            OSError: the disk is full.
        """
        line = _encode({"time": now(), **entry}) + "\n"
        if lane not in self._files:
            self._files[lane] = _opened(self.file(lane))
        rest = line.encode()
        while rest:  # more than once only on a disk that is about to be full
            rest = rest[os.write(self._files[lane], rest) :]

    def read(self, lane: str, offset: int) -> Iterator[tuple[Entry, int]]:
        """The whole entries from the offset on, each with the offset behind it."""
        with suppress(FileNotFoundError), self.file(lane).open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written
                offset += len(line)
                # What a full disk or a power cut left of an entry says nothing.
                with suppress(ValueError):
                    yield json.loads(line), offset

    def left(self, lane: str) -> int:
        """How many entries MLflow does not have yet."""
        return sum(1 for _ in self.read(lane, self.sent().offsets[lane]))

    def all_left(self) -> int:
        """How many entries MLflow does not have yet, in all lanes."""
        return sum(map(self.left, LANES))

    def first(self) -> Entry | None:
        """The entry that opened the journal; None if its process died before."""
        return next((entry for entry, _ in self.read(ENTRIES, 0) if entry["kind"] == "open"), None)

    def closed(self) -> bool:
        """Whether the last thing it says is how the run ended."""
        with suppress(FileNotFoundError, IndexError, ValueError), self.file(ENTRIES).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return bool(json.loads(file.read().splitlines()[-1])["kind"] == "end")
        return False

    def sent(self) -> Sent:
        """How far it is sent. Where that is unknown all is sent again, which changes nothing in MLflow."""
        try:
            return Sent(**json.loads((self.folder / _SENT).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return Sent()

    def save(self, sent: Sent) -> None:
        """Note how far it is sent; whoever is killed meanwhile leaves the note before."""
        _replace(self.folder / _SENT, json.dumps(asdict(sent)))

    def phase(self) -> Phase:
        """What its sender said last that it is doing."""
        try:
            return Phase(**json.loads((self.folder / _PHASE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Phase()

    def tell(self, phase: Phase) -> None:
        """Say what the sender is doing."""
        _replace(self.folder / _PHASE, json.dumps(asdict(phase)))

    def moved(self) -> float:
        """When its sender said or sent something last."""
        found = (self.folder / name for name in (_SENT, _PHASE))
        return max((path.stat().st_mtime for path in found if path.exists()), default=0.0)

    def sync(self) -> None:
        """Have the disk itself hold what was appended so far, also by another process."""
        for lane in LANES:
            path = self.file(lane)
            size = path.stat().st_size if path.exists() else 0
            if size > self._synced.get(lane, 0):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._synced[lane] = size

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal as the one who appends; it is made if it is not there.

        Raises:
            BlockingIOError: another process does.
        """
        lock = self._own()
        try:
            yield
        finally:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()
            lock.close()

    def _own(self) -> TextIO:
        """Its lock. Not got at once, it is tried again: somebody may just look, or close or remove it."""
        for tried in range(_TRIES):
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError), ExitStack() as stack:
                lock = stack.enter_context((self.folder / _WRITER).open("a", encoding="utf-8"))
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Removed between our opening and our locking, the file locks nothing any more.
                    if os.path.samestat(os.fstat(lock.fileno()), (self.folder / _WRITER).stat()):
                        stack.pop_all()
                        return lock
            time.sleep(_SECONDS_BETWEEN * (tried > 0))
        raise BlockingIOError(f"{self.folder} is being written by another process")

    def written(self) -> bool:
        """Whether the process that appends to it lives."""
        with suppress(FileNotFoundError), (self.folder / _WRITER).open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def sending(self) -> Iterator[bool]:
        """Hold the journal as the one who sends it, after any other who does; False if that one has removed it."""
        try:
            lock = (self.folder / _SENDER).open("a", encoding="utf-8")
        except FileNotFoundError:
            yield False
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield (self.folder / _SENDER).exists()

    def remove(self) -> None:
        """Remove it. Whoever calls this holds it as its writer."""
        gone = self.folder.with_name(f"{_GONE}{self.id}-{uuid.uuid4().hex}")
        self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)  # `close_orphans` may be at it, too

    def kept(self, entry: Entry) -> Path:
        """Where the copy of an artifact lies, or would lie."""
        return self.folder / _KEPT / str(entry["copy"]) / Path(entry["source"]).name

    def keep(self, entry: Entry) -> None:
        """Copy an artifact into the journal: what lies at its place may be another one when it is sent."""
        source, place = Path(entry["source"]), self.kept(entry)
        if place.exists():
            return
        draft = place.parent.with_name(f"{place.parent.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, draft / place.name)
        else:
            shutil.copy2(source, draft)
        draft.rename(place.parent)

    def source(self, entry: Entry) -> Path | None:
        """What is to be sent of an artifact: the copy, or what lies at its place; None if that is another one now."""
        if (copy := self.kept(entry)).exists():
            return copy
        source = Path(entry["source"])
        return source if source.exists() and digest.of_path(source) == entry["sha256"] else None


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def of(journal_id: str) -> Journal:
    """The journal of that id in this project, whether or not it is there."""
    return Journal(_folder() / journal_id)


def new() -> Journal:
    """A journal that nobody has written yet."""
    return of(uuid.uuid4().hex)


def pending(origin: str | None = None) -> list[Journal]:
    """All journals of this project, in the order in which their runs began.

    Args:
        origin: only those that were written for this address (`store.origin`).
    """
    opened = [(first, journal.id) for journal in _all() if (first := journal.first())]
    begun = [(first["time"], journal_id) for first, journal_id in opened if origin is None or first["uri"] == origin]
    return [of(journal_id) for _, journal_id in sorted(begun)]


def close_orphans() -> int:
    """Note of every open run whose process is gone that it was killed; how many there were."""
    for half_removed in _folder().glob(f"{_GONE}*"):
        shutil.rmtree(half_removed, ignore_errors=True)
    closed = 0
    for journal in _all():
        if journal.closed() or journal.written():
            continue
        with suppress(BlockingIOError), journal.writing():
            if journal.first() is None:
                journal.remove()
            elif not journal.closed():
                last = max(path.stat().st_mtime for path in journal.folder.glob("*.jsonl"))
                journal.append(ENTRIES, {"kind": "end", "status": "KILLED", "time": int(last * 1000)})
                closed += 1
    return closed


def _all() -> list[Journal]:
    return [Journal(path) for path in _folder().glob("*") if path.is_dir() and not path.name.startswith(".")]


def _folder() -> Path:
    return project.state() / "journal"


def _opened(path: Path) -> int:
    """The file, for appending; the half of an entry that a full disk left is ended first."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
