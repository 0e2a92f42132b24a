"""`reprise summary`: the numbers of reports/evaluation.json, and commands that work in the reader's shell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline import digest, project
from pipeline.cli.summary import command
from pipeline.errors import UserError
from pipeline.tracking import run_map
from tests.conftest import REPOSITORY

LABELLED = "words [bold] & trees"


def interval(value: float, key: str = "value") -> dict[str, float]:
    return {key: value, "low": value - 0.0124, "high": value + 0.0124}


def metrics() -> dict[str, Any]:
    return {
        "rows": {"test": 1234, "validation": 1000},
        "confidence_level": 0.9,
        "test": {"accuracy": interval(0.8), "f1_macro": interval(0.7), "mcc": interval(0.65), "loss": interval(0.6)},
        "validation": {},
        "baselines": {
            "majority": {name: interval(0.1) for name in ("accuracy", "f1_macro", "mcc", "loss")},
            LABELLED: {name: interval(0.75) for name in ("accuracy", "f1_macro", "mcc", "loss")},
        },
        "versus": {
            name: {"accuracy": interval(difference, "difference")}
            for name, difference in (("majority", 0.7), (LABELLED, 0.05))
        },
    }


@pytest.fixture
def evaluated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    project.RESULTS.parent.mkdir()
    project.RESULTS.write_text(json.dumps(metrics()))
    return folder


def shown() -> str:
    result = CliRunner().invoke(command, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_shows_every_score_with_its_interval_in_80_columns(evaluated: Path) -> None:
    output = shown()
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    assert "no interval" not in output
    for text in ("90% intervals, 1,234 rows", "accuracy", "0.800", "0.788–0.812", "0.650", "0.100", LABELLED):
        assert text in output
    names = ("this model", LABELLED, "majority")
    assert sorted(names, key=output.index) == list(names), "the strongest baseline stands next to the model"
    headline = "Test accuracy is 80.0% (90% interval 78.8% to 81.2%), better than the strongest baseline"
    assert headline in " ".join(output.split())


def test_many_scores_and_long_names_are_shown_whole_in_80_columns(evaluated: Path) -> None:
    names = ("target of the most alike source in training", "the source itself", "first 9 words of the source")
    scores = ("chrf", "bleu", "rougeL", "rouge1", "rouge2", "token_accuracy", "calibration_error", "loss")
    found = {name: interval(0.5) for name in scores}
    many = metrics() | {"test": found, "baselines": dict.fromkeys(names, found)}
    many["versus"] = {name: {score: interval(0.1, "difference") for score in scores} for name in names}
    project.RESULTS.write_text(json.dumps(many))
    output = shown()
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output
    assert output.count("0.488–0.512") == len(scores) * (1 + len(names))
    for word in " ".join((*names, *scores)).split():
        assert word in output


def test_ends_with_the_next_three_steps(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/make")
    monkeypatch.setattr(sys, "prefix", str(evaluated / ".venv"))
    (evaluated / "Makefile").touch()
    assert shown().splitlines()[-3:] == [
        "report      reports/index.html",
        'try it      .venv/bin/reprise predict --text "..."',
        "MLflow      make ui",
    ]


def test_with_an_environment_elsewhere_make_would_install_another(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/make")
    (evaluated / "Makefile").touch()
    assert shown().splitlines()[-1] == "MLflow      reprise ui"


@pytest.mark.parametrize("make", [None, "/usr/bin/make"])
def test_without_make_or_makefile_it_names_the_command_itself(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, make: str | None
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: make)
    assert shown().splitlines()[-1] == "MLflow      reprise ui"


@pytest.mark.parametrize(("activated", "said"), [(False, ".venv/bin/reprise"), (True, "reprise")])
def test_an_environment_that_is_not_activated_is_named_by_its_path(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, activated: bool, said: str
) -> None:
    monkeypatch.setattr(sys, "prefix", str(evaluated / ".venv"))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix if activated else "/somewhere/else")
    assert f"try it      {said} predict" in shown()


def test_a_score_without_interval_is_shown_alone(evaluated: Path) -> None:
    found = metrics()
    found["test"]["mcc"] = {"value": None, "low": None, "high": None}
    found["test"]["f1_macro"] = {"value": 0.512, "low": None, "high": None}
    del found["baselines"]["majority"]["loss"]
    project.RESULTS.write_text(json.dumps(found))
    output = shown()
    assert max(map(len, output.splitlines())) <= 80
    assert "0.512" in output
    assert output.count("no interval\n") == 0
    assert output.count("no interval ") == 1
    assert "no interval: every resample gives the same score" in output
    assert "–" in output
    assert "None" not in output


def test_nothing_evaluated_yet(folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"reports/evaluation.json is not here: nothing has been evaluated(.|\n)*dvc repro"
    ):
        CliRunner().invoke(command, catch_exceptions=False)


def test_a_broken_file_is_named(evaluated: Path) -> None:
    project.RESULTS.write_text("<<<<<<< HEAD")
    with pytest.raises(UserError, match=r"reports/evaluation.json is no valid JSON"):
        CliRunner().invoke(command, catch_exceptions=False)


def test_it_waits_for_no_torch() -> None:
    heavy = ("torch", "transformers", "mlflow", "sklearn", "numpy", "matplotlib")
    code = f"import sys, pipeline.cli.summary; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run((sys.executable, "-c", code), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_names_the_run_of_the_model_if_it_is_known_here(evaluated: Path) -> None:
    assert "run " not in shown()
    project.BEST_MODEL.mkdir(parents=True)
    (project.BEST_MODEL / "model.safetensors").write_bytes(b"weights")
    assert "run " not in shown()
    model_digest = digest.of_folder(project.BEST_MODEL)
    run_map.remember(model_digest, journal="0" * 32, name="lr 0.003 bs 64")
    assert "run " not in shown(), "MLflow does not have it yet"
    run_map.remember(model_digest, run="abc")
    assert "run         abc (lr 0.003 bs 64)" in shown()


def test_loads_no_mlflow(evaluated: Path) -> None:
    code = "import sys, pipeline.cli.summary; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True)


def test_lists_failed_tasks_of_the_queue_with_the_command_that_queues_them_again(evaluated: Path) -> None:
    def git(*command: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@t")
        return subprocess.run(("git", *who, *command), check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    Path("params.yaml").write_text("train:\n  seed: 1\n  max_steps: null\n")
    git("add", "params.yaml")
    git("commit", "-qm", "base")
    base = git("rev-parse", "HEAD")
    assert "queue" not in shown()
    Path("params.yaml").write_text("train:\n  seed: 2\n  max_steps:\n")
    # As DVC stashes a task (dvc/repo/experiments/stash.py): its second parent is the index.
    tree = git("rev-parse", f"{git('stash', 'create')}^{{tree}}")
    commit = git("commit-tree", tree, "-p", base, "-p", base, "-m", f"dvc-exp:{base}:{base}:dry-fig")
    message = f"commit: dvc-exp:{base}:{base}:dry-fig"
    git("update-ref", "--create-reflog", "-m", message, "refs/exps/celery/failed", commit)
    assert f"{commit[:7]}     dvc exp run --queue -n dry-fig -S train.seed=2\n" in shown()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["question", "context"], 'predict --text "..." --text-pair "..."'),
        (["sent1", "sent2", "ending0", "ending1"], "predict --input rows.jsonl --output answers.jsonl"),
    ],
)
def test_a_model_is_asked_as_its_columns_need_it(evaluated: Path, columns: list[str], said: str) -> None:
    project.BEST_MODEL.mkdir(parents=True)
    (project.BEST_MODEL / "config.json").write_text("{}")
    card = {"task": "some-task", "state": {"inputs": columns}, "tokenizer": {}}
    (project.BEST_MODEL / project.MODEL_CARD).write_text(json.dumps(card))
    assert said in shown()
