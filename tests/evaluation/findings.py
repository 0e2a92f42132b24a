"""Made-up results for the tests of figures and report."""

from typing import Any

import numpy as np

from pipeline.evaluation.mistakes import Confusion, Mistake
from pipeline.evaluation.report import Findings
from pipeline.params import Params

LABELS = ("bad", "good")
SCORES = ("accuracy", "f1_macro", "loss")


def interval(value: float, width: float = 0.02, key: str = "value") -> dict[str, float | None]:
    return {key: value, "low": round(value - width, 6), "high": round(value + width, 6)}


def metrics(difference: float = 0.05, width: float = 0.02) -> dict[str, Any]:
    """What reports/evaluation.json holds when the model is ahead of the strongest baseline by this difference."""
    values = {"accuracy": 0.8, "f1_macro": 0.79, "loss": 0.6}
    return {
        "rows": {"test": 1234, "validation": 1200},
        "confidence_level": 0.95,
        "test": {name: interval(value) for name, value in values.items()},
        "validation": {name: interval(value + 0.01) for name, value in values.items()},
        "baselines": {
            "majority": {name: interval(0.1) for name in SCORES},
            "words & <trees>": {name: interval(value - difference) for name, value in values.items()},
        },
        "slices": {
            "label": {"bad": {"rows": 9, "accuracy": interval(0.5, 0.2)}, "<b>": {"rows": 3, "accuracy": interval(0.9)}}
        },
        "versus": {
            "majority": {name: interval(0.7, key="difference") for name in SCORES},
            "words & <trees>": {name: interval(difference, width, "difference") for name in SCORES},
        },
    }


def curves(steps: int = 6) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
    places = list(range(10, 10 * steps + 1, 10))
    falling, rising = np.linspace(2, 0.5, steps).tolist(), np.linspace(0.3, 0.8, steps).tolist()
    return {
        ("train", "loss"): (places, falling),
        ("train", "learning_rate"): (places, falling),
        ("validation", "loss"): (places, falling),
        ("validation", "accuracy"): (places, rising),
        ("validation", "f1_macro"): (places, rising),
    }


def audit(labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """What data/prepared/audit.json holds."""
    split = {
        "rows": 50,
        "removed": 3,
        "empty_texts": 1,
        "exact_duplicates": 2,
        "normalised_duplicates": 4,
        "labels": {name: {"rows": 25, "share": 0.5} for name in labels},
        "missing_labels": [],
        "rare_labels": [],
        "words": {"min": 1, "p25": 4, "median": 9, "p75": 12, "p95": 19, "max": 31},
    }
    return {
        "splits": {"train": split, "validation": split, "test": split},
        "across": [{"splits": ["train", "test"], "exact": 1, "normalised": 3}],
        "conflicting": {"texts": 1, "rows": 2},
        "warnings": ["3 rows were removed from train."],
    }


def findings(**changed: Any) -> Findings:
    """Findings without drawings, with what is given instead of the default."""
    cut = {"rows": 50, "rows_dropped": 0, "rows_cut": 5, "tokens": 900, "tokens_cut": 90, "longest": 70}
    parts: dict[str, Any] = {
        "params": Params(),
        "metrics": metrics(),
        "training": {"steps": 60, "best_step": 50, "metric_for_best_model": "accuracy"},
        "audit": audit(),
        "truncation": {"train": cut, "validation": cut, "test": cut},
        "confusions": [Confusion("bad", "good", 7, 0.14)],
        "mistakes": [Mistake("test.csv:17", ("a fine film",), "bad", "good", 0.987)],
        "views": [],
        "columns": ["text"],
        "drawings": [],
        "digests": {"models/best": "0" * 64},
        "device": "cpu, 1 threads",
    }
    return Findings(**parts | changed)
