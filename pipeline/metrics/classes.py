"""Scores of answers that are classes, from counts and from probabilities.

They are what scikit-learn computes, which takes up to 70 times as long: a bootstrap calls them thousands of times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import torch

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Counts:
    """Answers by class.

    Attributes:
        right: (classes,) how many of a class were called so.
        actual: (classes,) how many are of it.
        predicted: (classes,) how many were called so.
    """

    right: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of_ids(cls, target: np.ndarray, prediction: np.ndarray, classes: int = 0) -> Self:
        """Of answers that are one class each.

        Args:
            target: (rows,) the id of the class.
            prediction: likewise.
            classes: how many there are; those behind the last one that occurs may be left out.
        """
        size = max(classes, int(max(target.max(), prediction.max())) + 1)
        parts = (target[target == prediction], target, prediction)
        return cls(*(np.bincount(part, minlength=size).astype(np.float64) for part in parts))

    @classmethod
    def of_sets(cls, target: np.ndarray, prediction: np.ndarray) -> Self:
        """Of answers that are any number of classes each, (rows, classes) bool."""
        parts = (target & prediction, target, prediction)
        return cls(*(part.sum(axis=0).astype(np.float64) for part in parts))

    def decisions(self, rows: int) -> "Counts":
        """Of the two classes "no" and "yes", over all decisions whether a row is of a class."""
        right, actual, predicted = self.right.sum(), self.actual.sum(), self.predicted.sum()
        every = rows * len(self.right)
        rightly_no = every - actual - predicted + right
        return Counts(
            np.array([rightly_no, right]),
            np.array([every - actual, actual]),
            np.array([every - predicted, predicted]),
        )

    @property
    def precision(self) -> np.ndarray:
        """(classes,) the share of those called so that are of the class; NaN where none is."""
        return _shares(self.right, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """(classes,) the share of a class that was called so; NaN where there is none."""
        return _shares(self.right, self.actual)

    @property
    def f1(self) -> np.ndarray:
        """(classes,) the harmonic mean of both; NaN for a class that neither is nor is predicted."""
        return _shares(2 * self.right, self.actual + self.predicted)

    def f1_macro(self) -> float:
        """The mean F1 of the classes that occur; NaN where none does."""
        whole = self.actual + self.predicted
        seen = whole > 0
        return float((2 * self.right[seen] / whole[seen]).mean()) if seen.any() else float("nan")

    def f1_micro(self) -> float:
        """F1 over all classes together; with one class a row it is the accuracy. NaN where none occurs."""
        whole = self.actual.sum() + self.predicted.sum()
        return float(2 * self.right.sum() / whole) if whole > 0 else float("nan")

    def mcc(self) -> float:
        """The correlation of actual and predicted class, one class a row; 0 where all rows are one.

        Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", Computational Biology
        and Chemistry 28 (2004), pages 367-374.
        """
        rows = self.actual.sum()
        spread = (rows**2 - self.actual @ self.actual) * (rows**2 - self.predicted @ self.predicted)
        if spread <= 0:
            return 0.0
        return float((self.right.sum() * rows - self.actual @ self.predicted) / np.sqrt(spread))


def scores_of_ids(predictions: Mapping[str, np.ndarray], classes: int) -> dict[str, float]:
    """All scores of answers that are one class each.

    Args:
        predictions: `target` and `prediction`, (rows,) ids; `score`, (rows,) the probability of the prediction;
            `probabilities`, (rows, classes), if there are any. With two classes the score tells both.

    Returns:
        `auroc` is left out where the probabilities of the classes are not known.
    """
    target, prediction, score = (predictions[name] for name in ("target", "prediction", "score"))
    right = target == prediction
    counts = Counts.of_ids(target, prediction)
    found = _scores(counts, right) | {"mcc": counts.mcc()}
    if "probabilities" in predictions:
        found["auroc"] = auroc_macro(predictions["probabilities"], target[:, None] == np.arange(classes))
    elif classes == 2:
        found["auroc"] = auroc(np.where(prediction == 1, score, 1 - score), target == 1)
    return found | {"calibration_error": calibration_error(score, right)}


def scores_of_sets(predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """All scores of answers that are any number of classes each.

    Args:
        predictions: `target` and `prediction`, (rows, classes) bool; `score`, (rows,) the probability of the whole
            prediction; `probabilities`, (rows, classes), if there are any.

    Returns:
        `accuracy` is the share of rows whose whole set is right; `mcc` is that of all decisions whether a row is of a
        class; `auroc` is left out without probabilities.
    """
    target, prediction = predictions["target"], predictions["prediction"]
    right = (target == prediction).all(axis=1)
    counts = Counts.of_sets(target, prediction)
    found = _scores(counts, right) | {"mcc": counts.decisions(len(target)).mcc()}
    if "probabilities" in predictions:
        found["auroc"] = auroc_macro(predictions["probabilities"], target)
    return found | {"calibration_error": calibration_error(predictions["score"], right)}


def _scores(counts: Counts, right: np.ndarray) -> dict[str, float]:
    return {"accuracy": float(right.mean()), "f1_macro": counts.f1_macro(), "f1_micro": counts.f1_micro()}


def choices_of(log_probabilities: "torch.Tensor", target: "torch.Tensor") -> dict[str, Any]:
    """The predictions of one class a row by a model.

    Args:
        log_probabilities: (rows, classes).
        target: (rows,) the id of the class.
    """
    best = log_probabilities.max(dim=-1)
    return {
        "target": target,
        "prediction": best.indices,
        "score": best.values.exp(),
        "loss": -log_probabilities.gather(-1, target[:, None]).squeeze(-1),
    }


def guess_of_ids(probabilities: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """The predictions of one class a row by a method that gives probabilities, (rows, classes)."""
    of_target = probabilities[np.arange(len(target)), target]
    return {
        "target": target,
        "prediction": probabilities.argmax(axis=1),
        "score": probabilities.max(axis=1),
        "loss": _surprise(of_target),
    }


def guess_of_sets(probabilities: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """The predictions of any number of classes a row, each by a probability of its own, (rows, classes)."""
    of_target = np.where(target, probabilities, 1 - probabilities)
    return {
        "target": target,
        "prediction": probabilities > 0.5,
        "score": np.maximum(probabilities, 1 - probabilities).prod(axis=1),
        "loss": _surprise(of_target).sum(axis=1),
        "targets": np.full(len(target), target.shape[1]),
    }


def _surprise(probabilities: np.ndarray) -> np.ndarray:
    found: np.ndarray = -np.log(np.maximum(probabilities, np.finfo(float).tiny))
    return found


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive row has a higher score than a negative one; ties count half.

    Args:
        scores: (rows,) float.
        positive: (rows,) bool.

    Returns:
        NaN where all rows are of one kind.
    """
    found = np.sort(scores[positive])
    others = len(scores) - len(found)
    if not len(found) or not others:
        return float("nan")
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, found, "left").sum() + np.searchsorted(ordered, found, "right").sum()
    # Of both, the rows up to a positive one, take away the positive ones, as they stand among themselves.
    return float((below / 2 - len(found) ** 2 / 2) / (len(found) * others))


def auroc_macro(probabilities: np.ndarray, positive: np.ndarray) -> float:
    """The mean AUROC of the classes, each against the rest; NaN where it is defined for none.

    Args:
        probabilities: (rows, classes) float32.
        positive: (rows, classes) bool.
    """
    rows, classes = probabilities.shape
    # Floats that are not negative have the order of their bits: with the class before them, one search does for all.
    first = np.arange(classes)[:, None]
    bits = np.ascontiguousarray(probabilities.T, np.float32).view(np.int32)
    ordered = (np.sort(bits, axis=1) + (first << 32)).ravel()
    found = np.sort((bits + (first << 32))[positive.T])
    below = np.searchsorted(ordered, found, "left") + np.searchsorted(ordered, found, "right")
    actual = positive.sum(axis=0)
    sums = np.bincount(found >> 32, below / 2 - (found >> 32) * rows, classes)
    defined = (actual > 0) & (actual < rows)
    values = (sums - actual**2 / 2)[defined] / (actual * (rows - actual))[defined]
    return float(values.mean()) if len(values) else float("nan")


def calibration_error(score: np.ndarray, right: np.ndarray) -> float:
    """How far the probability of an answer is from the share of right ones: the expected calibration error.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015), with
    the 15 bins of equal width of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML
    2017).

    Args:
        score: (rows,) the probability that the model gave its answer.
        right: (rows,) bool.
    """
    return float(np.abs(np.bincount(_bins(score), right - score)).sum() / len(score))


@dataclass(frozen=True)
class Bin:
    """Rows of like probability.

    Attributes:
        score: their mean probability.
        right: the share that is right.
    """

    low: float
    high: float
    rows: int
    score: float
    right: float


def reliability(score: np.ndarray, right: np.ndarray) -> list[Bin]:
    """The bins of `calibration_error` that hold rows, the lowest probability first."""
    bins = _bins(score)
    return [
        Bin(
            place / CALIBRATION_BINS,
            (place + 1) / CALIBRATION_BINS,
            int((bins == place).sum()),
            float(score[bins == place].mean()),
            float(right[bins == place].mean()),
        )
        for place in np.unique(bins).tolist()
    ]


def _bins(score: np.ndarray) -> np.ndarray:
    return np.minimum((score * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
