import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tracking import journal as journals
from pipeline.tracking.journal import ARTIFACTS, ENTRIES, Journal
from pipeline.tracking.sent import Sent
from tests.conftest import REPOSITORY


@pytest.fixture
def journal(folder: Path) -> Journal:
    return journals.new()


def write(journal: Journal, *kinds: str) -> None:
    with journal.writing():
        for kind in kinds:
            journal.append(ENTRIES, {"kind": kind})


def kinds(journal: Journal, offset: int = 0) -> list[str]:
    return [entry["kind"] for entry, _ in journal.read(ENTRIES, offset)]


def test_what_is_appended_is_read_in_order_from_any_offset(journal: Journal) -> None:
    write(journal, "open", "metrics")
    write(journal, "end")
    assert kinds(journal) == ["open", "metrics", "end"]
    offsets = [offset for _, offset in journal.read(ENTRIES, 0)]
    assert [kinds(journal, offset) for offset in offsets] == [["metrics", "end"], ["end"], []]
    assert [entry["time"] > 0 for entry, _ in journal.read(ENTRIES, 0)] == [True] * 3


def test_an_entry_counts_only_when_all_of_it_is_there(journal: Journal) -> None:
    write(journal, "open", "metrics")
    with journal.file(ENTRIES).open("a") as file:
        file.write('{"kind": "tor')
    assert kinds(journal) == ["open", "metrics"]
    # After a kill or a full disk the half entry stays alone, and costs no other.
    write(journal, "end")
    assert kinds(journal) == ["open", "metrics", "end"]
    assert journal.closed()


def test_an_entry_is_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write_it = os.write
    monkeypatch.setattr(os, "write", lambda file, data: written.append(data) or write_it(file, data))
    write(journal, "open", "metrics")
    assert [json.loads(line)["kind"] for line in written] == ["open", "metrics"]


def test_how_far_it_is_sent_is_kept_and_all_is_sent_again_where_that_is_lost(journal: Journal) -> None:
    write(journal, "open", "metrics", "end")
    sent = Sent(
        "run", "1", 7, {ENTRIES: next(offset for _, offset in journal.read(ENTRIES, 0)), "system": 0, ARTIFACTS: 0}
    )
    journal.save(sent)
    assert journal.sent() == sent
    assert (journal.left(ENTRIES), journal.all_left()) == (2, 2)
    (journal.folder / "sent.json").write_text('{"run": "ru')
    assert journal.sent() == Sent()
    assert journal.all_left() == 3


def test_a_journal_is_written_by_one_process(journal: Journal) -> None:
    with journal.writing():
        assert journal.written()
        with pytest.raises(BlockingIOError), Journal(journal.folder).writing():
            pass
    assert not journal.written()


def test_a_journal_that_is_removed_can_be_begun_anew(journal: Journal) -> None:
    with journal.writing():
        journal.append(ENTRIES, {"kind": "open"})
        journal.remove()
    assert journals.pending() == []
    assert list(journal.folder.parent.iterdir()) == []
    write(journal, "open")
    assert [found.id for found in journals.pending()] == [journal.id]
    shutil.rmtree(journal.folder)
    with journal.sending() as there:
        assert not there


def test_the_journals_of_runs_that_are_gone_are_closed_once(folder: Path) -> None:
    ended, open_, alive, empty = (journals.new() for _ in range(4))
    write(ended, "open", "end")
    write(open_, "open", "metrics")
    last = open_.file(ENTRIES).stat().st_mtime
    write(empty)
    with alive.writing():
        alive.append(ENTRIES, {"kind": "open"})
        assert journals.close_orphans() == 1
        assert journals.close_orphans() == 0
        assert kinds(alive) == ["open"]
    assert kinds(ended) == ["open", "end"]
    *_, (entry, _) = open_.read(ENTRIES, 0)
    assert (entry["kind"], entry["status"]) == ("end", "KILLED")
    assert abs(entry["time"] / 1000 - last) < 0.01, "it ended when it said its last word"
    assert not empty.folder.exists()


def test_what_a_killed_removal_left_takes_no_space(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with journal.writing(), monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
        journal.append(ENTRIES, {"kind": "open"})
        journal.remove()
    assert len(list(journal.folder.parent.iterdir())) == 1
    assert journals.close_orphans() == 0
    assert list(journal.folder.parent.iterdir()) == []


def test_an_artifact_is_the_one_that_was_meant_or_none(journal: Journal, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.txt").write_text("first")
    from pipeline import digest

    entry = {
        "kind": "artifact",
        "source": str(folder / "out"),
        "copy": "c1",
        "sha256": digest.of_folder(folder / "out"),
    }
    with journal.writing():
        assert journal.source(entry) == folder / "out"
        (folder / "out" / "a.txt").write_text("second")
        assert journal.source(entry) is None
        (folder / "out" / "a.txt").write_text("first")
        journal.keep(entry)
        (folder / "out" / "a.txt").write_text("second")
        journal.keep(entry)
        kept = journal.source(entry)
    assert kept is not None
    assert (kept.name, (kept / "a.txt").read_text()) == ("out", "first")


def test_the_training_process_imports_no_mlflow(folder: Path) -> None:
    code = "import sys, pipeline.tracking.run; sys.exit('mlflow' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
