"""The numbers of docs/results.md are those that the runs left, and every dataset is a params.yaml of a few lines."""

import json
from pathlib import Path

import pytest
import yaml

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


def test_the_runs_are_of_the_files_that_are_here() -> None:
    for run in tables.runs():
        assert run["params"] == yaml.safe_load((FOLDER / f"{run['dataset']}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_few_lines_are_enough(name: str, folder: Path) -> None:
    few = FOLDER / f"{name}.yaml"
    assert len(few.read_text(encoding="utf-8").splitlines()) < FEW
    seeded(folder, few, 7)
    wanted, found = params_file.read(few).model_dump(), params_file.read(project.PARAMS).model_dump()
    assert found.pop("train") == wanted.pop("train") | {"seed": 7}
    assert found == wanted


def test_means_are_of_the_seeds_that_both_ran() -> None:
    ours = [line("Reprise", seed, accuracy=value, mcc=0.1) for seed, value in ((1, 0.80), (2, 0.82), (3, 0.84), (4, 0))]
    theirs = [line("Trainer", seed, accuracy=value) for seed, value in ((3, 0.7), (1, 0.7), (2, 0.7))]
    rows = tables.beside_trainer([*ours, *theirs]).splitlines()[2:]
    assert rows == ["| `d` | accuracy | 82.0% ± 2.0 | 70.0% ± 0.0 | 1, 2, 3 |"]


def test_one_seed_has_no_deviation() -> None:
    lines = [line(by, 1, accuracy=0.8) for by in ("Reprise", "Trainer")]
    assert tables.beside_trainer(lines).splitlines()[-1] == "| `d` | accuracy | 80.0% | 80.0% | 1 |"


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(AssertionError, match="beside-trainer"):
        tables.filled("no markers", [])


def test_the_last_run_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    ran = [line("Trainer", 10, accuracy=0.7), line("Trainer", 2, accuracy=0.6), line("Trainer", 10, accuracy=0.8)]
    file.write_text("".join(json.dumps(run) + "\n" for run in ran), encoding="utf-8")
    monkeypatch.setattr(tables, "RUNS", file)
    assert tables.runs() == [ran[1], ran[2]]
