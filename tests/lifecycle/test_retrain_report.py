"""The report tells numbers, verdict and changes, and nothing in it can become a link, a mention or a secret."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from pipeline.lifecycle import retrain_report
from pipeline.lifecycle.decide import Decision
from pipeline.lifecycle.gate import Check
from pipeline.lifecycle.retrain_report import Facts

CHECK = Check("accuracy better", "broken", -0.1, -0.2, 0.0, 0.95, 200, "the gain is -0.100, its bound -0.200")
DECISION = Decision(
    *("not passed", "reprise", "r" * 32, "a run", "m" * 64, "3", "c" * 64, "t" * 64, 200, {}, "g" * 64, (CHECK,), 4),
    *("who", "2026-01-01T00:00:00+00:00", None, None),
)
RESULTS: dict[str, Any] = {
    "confidence_level": 0.95,
    "rows": {"test": 200, "validation": 100},
    "test": {"accuracy": {"value": 0.8, "low": 0.75, "high": 0.85}, "loss": {"value": 1.5, "low": None, "high": None}},
    "validation": {
        "accuracy": {"value": 0.81, "low": 0.7, "high": 0.9},
        "loss": {"value": None, "low": None, "high": None},
    },
}


def lock(seed: int = 42, raw: str = "a" * 32, code: str = "c" * 32) -> str:
    return yaml.safe_dump(
        {
            "stages": {
                "train": {
                    "params": {"params.yaml": {"train": {"seed": seed, "max_steps": None}}},
                    "deps": [
                        {"path": "data/raw", "md5": f"{raw}.dir", "size": 5, "nfiles": 2},
                        {"path": "pipeline/x.py", "md5": code, "size": 1},
                    ],
                    "outs": [{"path": "models/best", "md5": f"{seed:032d}.dir", "size": 7, "nfiles": 3}],
                },
                "evaluate": {"deps": [{"path": "models/best", "md5": f"{seed:032d}.dir", "size": 7, "nfiles": 3}]},
            }
        }
    )


FACTS = Facts(
    title="Retrained: did NOT pass the gate",
    decision=DECISION,
    lock_before=lock(),
    lock=lock(seed=7, raw="b" * 32, code="d" * 32),
    scores_before={"accuracy": 0.9},
    results=RESULTS,
    base="1" * 40,
    version="reprise/4",
    run="a run",
    link="https://mlflow.example.com/#/experiments/1/runs/2",
    figures=("loss.png",),
)


def test_what_a_reader_asks_for_is_there():
    report = retrain_report.render(FACTS)
    assert "**Not passed**, against the champion (version 3)." in report
    assert "| accuracy better | broken | the gain is -0.100, its bound -0.200 |" in report
    assert "| `accuracy` | 0.800 (0.750 to 0.850) | 0.810 (0.700 to 0.900) | 0.900 |" in report
    assert "| `loss` | 1.500 | – | – |" in report
    assert "| `train.seed` | `42` | `7` |" in report
    assert "| `data/raw` | `aaaaaaaaaaaa, 2 files, 5 bytes` | `bbbbbbbbbbbb, 2 files, 5 bytes` |" in report
    assert "Code: `pipeline/x.py`." in report
    assert "max_steps" not in report, "it did not change"
    assert "![loss.png](figures/loss.png)" in report
    assert "[a run](https://mlflow.example.com/#/experiments/1/runs/2)" in report


def test_a_comment_has_no_pictures_that_it_cannot_show():
    comment = retrain_report.as_comment(retrain_report.render(FACTS))
    assert "![" not in comment and "with the MLflow run" in comment
    assert "| `train.seed` |" in comment


@pytest.mark.parametrize(
    ("before", "said"), [("", "everything is new"), (lock(seed=7, raw="b" * 32, code="d" * 32), "were made again")]
)
def test_what_did_not_change(before: str, said: str):
    assert said in retrain_report.render(replace(FACTS, lock_before=before))


def test_names_stay_text():
    odd = "x](http://evil.example) <img> @someone | `code`"
    report = retrain_report.render(
        replace(FACTS, run=odd, notes=(odd,), decision=replace(DECISION, checks=(replace(CHECK, reason=odd),)))
    )
    assert "](http://evil" not in report.replace("\\]", "") and "<img>" not in report.replace("\\<", "")
    assert "@someone" not in report


def test_a_password_in_an_address_is_left_out():
    new = yaml.safe_load(FACTS.lock)
    new["stages"]["train"]["params"]["params.yaml"]["train"]["seed"] = "https://me:hunter2hunter2@example.com/rows"
    report = retrain_report.render(replace(FACTS, lock=yaml.safe_dump(new)))
    assert "hunter2" not in report and "example.com/rows" in report


def test_metrics_that_are_none():
    assert retrain_report.read_scores("") == retrain_report.read_scores("<<<<<<< HEAD") == {}
    assert retrain_report.read_scores('{"accuracy": 0.5, "note": "x"}') == {"accuracy": 0.5}
