"""Contestants run in turn, and their table tells medians, spread and the ratio within a round."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from benchmarks import contest


def counted(name: str, calls: list[str], values: list[float]) -> Callable[[], contest.Measured]:
    def call() -> contest.Measured:
        calls.append(name)
        return {"seconds": values[calls.count(name) - 1]}

    return call


def test_every_round_runs_each_once_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    found = contest.contest({"a": counted("a", calls, [9, 1, 2]), "b": counted("b", calls, [9, 4, 5])}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert found == {"a": [{"seconds": 1}, {"seconds": 2}], "b": [{"seconds": 4}, {"seconds": 5}]}


def test_the_ratio_is_the_median_of_those_within_a_round() -> None:
    rounds = {"ours": [1.0, 4.0, 10.0], "theirs": [2.0, 16.0, 20.0]}
    found = {name: [{"seconds": value} for value in values] for name, values in rounds.items()}
    lines = contest.table(found, ["seconds"], "theirs").splitlines()
    assert lines[0] == "|  | seconds | ÷ theirs |"
    assert lines[2] == "| ours | 4 (1..10) | 0.50 |"  # of the medians it would be 0.25
    assert lines[3] == "| theirs | 16 (2..20) | 1.00 |"


def test_what_a_contestant_does_not_measure_is_left_empty() -> None:
    found = {"ours": [{"seconds": 1.0}], "theirs": [{"seconds": 2.0, "tokens": 1234.0}]}
    assert contest.table(found, ["seconds", "tokens"], "theirs").splitlines()[2] == "| ours | 1 (1..1) | 0.50 |  |  |"


def test_a_program_is_measured_and_may_say_more(tmp_path: Path) -> None:
    code = "import json, os; print('hi'); print(json.dumps({'tokens': int(os.environ['TOKENS'])}))"
    found = contest.run([sys.executable, "-c", code], tmp_path, {"TOKENS": "7"})
    assert found["tokens"] == 7
    assert found["CPU seconds"] > 0 and found["seconds"] > 0
    assert found["peak MiB"] > 1
    assert "TOKENS" not in os.environ


def test_a_program_that_fails_is_shown(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="too bad"):
        contest.run([sys.executable, "-c", "raise SystemExit('too bad')"], tmp_path)


def test_the_footing_names_the_peers_as_they_are_pinned() -> None:
    line = contest.footing(threads=2, repeats=5, peers=["accelerate"])
    assert "Medians of 5 runs" in line
    assert "accelerate 1." in line and "lightning" not in line
