"""`reprise compare`: tables that fit, JSON that is whole, and a page."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from rich.console import Console

from pipeline import params_file
from pipeline.cli import compare_tables
from pipeline.cli.compare import command
from pipeline.lifecycle import compare_page
from pipeline.params import Evaluate, Params
from tests.lifecycle.conftest import client, empty_database, home
from tests.lifecycle.evaluated import answers, made, table, worse_on

__all__ = ["client", "empty_database", "home"]

GOOD = answers(table(), 0.75, seed=1)


@pytest.fixture
def ask(home: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a project with two runs, in a terminal of 80 columns."""
    (home / "params.yaml").write_text(params_file.render(Params(evaluate=Evaluate(n_resamples=100))))
    monkeypatch.setenv("COLUMNS", "80")
    made("lr 0.003 bs 64 modernbert docstrings", GOOD)
    made("lr 0.001 bs 64 modernbert docstrings", worse_on(GOOD, "mail"), learning_rate=1e-3)
    names = ("lr 0.003 bs 64 modernbert docstrings", "lr 0.001 bs 64 modernbert docstrings")
    return lambda *options: CliRunner().invoke(command, [*names, *options], catch_exceptions=False)


def test_tables_fit_and_say_what_matters(ask: Callable[..., Result]) -> None:
    said = ask()
    assert said.exit_code == 0
    tables = said.stdout.partition("right before, wrong now")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "train.learning_rate" in tables
    assert "accuracy" in tables
    assert "worse" in tables
    assert "mail" in tables
    assert "looked at" not in tables
    assert "0 wrong before, right now" in said.stdout


def test_no_name_and_no_number_is_cut_off(ask: Callable[..., Result]) -> None:
    said = ask().stdout
    scores = said[said.index("Scores") : said.index("right before, wrong now")]
    assert "…" not in scores
    lines = [" ".join(line.split()) for line in scores.splitlines()]
    for name in ("lr 0.003 bs 64", "lr 0.001 bs 64", "accuracy", "calibration_error", "difference", "p-value"):
        assert any(name in line for line in lines), name
    (widest,) = (line for line in lines if line.startswith("calibration_error") and " to " in line)
    assert widest.endswith(("better", "worse", "may be noise")), "in one line"


def test_json_is_all_there_is_and_the_page_is_written_beside_it(ask: Callable[..., Result], tmp_path: Path) -> None:
    said = ask("--json", "--html", str(tmp_path / "page.html"), "--split", "test", "--slice", "source")
    found = json.loads(said.stdout)
    assert list(found) == [
        "split",
        "rows",
        "rows_of_reference",
        "confidence_level",
        "looks",
        "runs",
        "differing",
        "comparisons",
    ]
    assert (found["split"], found["looks"]) == ("test", 1)
    assert list(found["comparisons"][0]) == ["name", "with_seeds", "differences", "other_targets", "flipped", "slices"]
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def scored(perplexity: float, mse: float) -> dict[str, Any]:
    values = {"perplexity": perplexity, "mse": mse, "f1": 0.8, "calibration_error": 0.0433}
    return {name: {"value": value, "std": value / 100} for name, value in values.items()}


def apart(value: float) -> dict[str, Any]:
    low, high, verdict = value - abs(value) / 2, value + abs(value) / 2, "may be noise"
    return {"difference": value, "low": low, "high": high, "p_value": 0.2, "smallest": abs(value), "verdict": verdict}


def test_scores_that_are_no_shares_have_the_decimals_that_tell() -> None:
    group = {"slice": "length", "group": "1 to 9", "rows": 4, "score": "mse", "adjusted": 0.01}
    found = {
        "split": "test",
        "rows": 9,
        "rows_of_reference": 9,
        "confidence_level": 0.95,
        "looks": None,
        "differing": {},
        "runs": [
            {"name": "a", "id": "1", "seeds": 2, "scores": scored(1234.56, 0.000123)},
            {"name": "b", "id": "2", "seeds": 2, "scores": scored(1232.06, 0.000124)},
        ],
        "comparisons": [
            {
                "name": "b",
                "with_seeds": True,
                "differences": {
                    "perplexity": apart(-2.5),
                    "mse": apart(0.000001),
                    "f1": apart(0.0),
                    "calibration_error": apart(-0.0076) | {"p_value": 0.0001},
                },
                "other_targets": None,
                "flipped": None,
                "slices": [group | apart(0.000001) | {"verdict": "worse"}],
            }
        ],
    }
    console = Console(width=80, record=True, file=io.StringIO())
    compare_tables.show(found, console)
    tables, page = console.export_text(), compare_page.render(found)
    for said in (tables, page):
        for due in ("1,234.6", "1,232.1", "± 12.3", "−2.5", "−3.8 to −1.2", "0.000123", "+0.000001", "0.8000"):
            assert due in said, due
    assert tables.count("may be noise") == 4, "no line is broken"
    assert sum("+0.000001 " in line for line in tables.splitlines()) == 2, "of all rows, and of a group"


def test_seeds_of_such_scores() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(compare_tables.of_seeds(["1", "2"], {"test/perplexity": 1234.56, "test/perplexity_std": 3.21}))
    assert console.export_text().split()[-3:] == ["test/perplexity", "1,234.6", "3.2"]


def test_looks_are_said(ask: Callable[..., Result]) -> None:
    assert "This test set has been looked at once." in ask("--split", "test").stdout
    assert "This test set has been looked at 2 times." in ask("--split", "test").stdout


def test_one_run_is_no_comparison() -> None:
    assert CliRunner().invoke(command, ["alone"]).exit_code == 2
