"""The numbers of docs/results.md are those that the runs left, and every dataset is a params.yaml of a few lines."""

import json
from pathlib import Path

import pytest

from benchmarks.results import tables
from benchmarks.results.run import NAMES, seeded
from pipeline import params_file, project
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "benchmarks" / "results"
FEW = 60


def line(by: str, seed: int, **scores: float) -> dict[str, object]:
    shown = {name: {"value": value} for name, value in scores.items()}
    return {"dataset": "d", "by": by, "seed": seed, "scores": shown}


def test_the_page_is_what_the_runs_left() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.filled(page, tables.runs()) == page


def test_every_dataset_is_on_the_page() -> None:
    assert {run["dataset"] for run in tables.runs() if run["by"] == tables.REPRISE} == set(NAMES)


def test_no_run_is_there_twice() -> None:
    runs = [(run["dataset"], run["by"], run["seed"]) for run in tables.runs()]
    assert len(runs) == len(set(runs))


@pytest.mark.parametrize("name", NAMES)
def test_a_few_lines_are_enough(name: str, folder: Path) -> None:
    few = FOLDER / f"{name}.yaml"
    assert len(few.read_text(encoding="utf-8").splitlines()) < FEW
    seeded(folder, few, 7)
    expected = params_file.read(few)
    expected.train.seed = 7
    assert params_file.read(Path(project.PARAMS)) == expected


def test_means_are_of_the_seeds_that_both_ran() -> None:
    ours = [line("Reprise", seed, accuracy=value, mcc=0.1) for seed, value in ((1, 0.80), (2, 0.82), (3, 0.84), (4, 0))]
    theirs = [line("Trainer", seed, accuracy=value) for seed, value in ((3, 0.7), (1, 0.7), (2, 0.7))]
    last = tables.beside_trainer([*ours, *theirs]).splitlines()[-1]
    assert last == "| `d` | accuracy | 82.0% ± 2.0 | 70.0% ± 0.0 | 1, 2, 3 |"


def test_a_page_without_a_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="beside-trainer"):
        tables.filled("no markers", [])


def test_the_lines_are_sorted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("".join(json.dumps(line("Trainer", seed)) + "\n" for seed in (2, 10, 1)), encoding="utf-8")
    monkeypatch.setattr(tables, "RUNS", file)
    assert [run["seed"] for run in tables.runs()] == [1, 2, 10]
