"""Long work tells how far it is: a bar on a terminal, a line now and then elsewhere, always on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline import progress


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[progress.Bar]:
        with progress.bar(title, total, done) as bar:
            bar._started = bar._printed = self.now
            yield bar


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, no_terminal: None) -> Clock:
    return Clock(monkeypatch)


def test_lines_come_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.bar("train", 4000) as bar:
        for _ in range(1920):
            clock.now += 1 / 64
            bar.advance(note="loss 0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "train: 640 of 4,000  loss 0.5  52 s left"
    assert len(err.splitlines()) == 3


def test_quick_work_prints_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.bar("tokenize", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_counts_only_what_was_done_since_the_resume(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with clock.bar("train", 1100, done=900) as bar:
        clock.now += 20
        bar.advance(20)
    assert capsys.readouterr().err == "train: 920 of 1,100    3 min left\n"


def test_the_last_piece_has_no_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.bar("train", 10) as bar:
        clock.now += 20
        bar.advance(10)
    assert capsys.readouterr().err == "train: 10 of 10\n"


def test_what_is_said_is_printed_as_it_is(no_terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    text = "[red]step 7[/red] " + "a very long line " * 30 + "end"
    with progress.bar("train", 2) as bar:
        bar.say(text)
    assert capsys.readouterr().err == f"{text}\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.bar("train", 10, done=4) as bar:
        bar.advance(note="loss 0.5")
        bar.say("[half] way")
    out, err = capsys.readouterr()
    assert out == ""
    assert all(part in err for part in ("train", "5/10", "loss 0.5", "[half] way"))


def test_an_error_goes_through(no_terminal: None) -> None:
    with pytest.raises(KeyError), progress.bar("train", 10):
        raise KeyError
