"""The scores are what scikit-learn says they are."""

import numpy as np
import pytest
from sklearn import metrics

from pipeline.metrics import classes
from pipeline.metrics.classes import Counts

ROWS, CLASSES = 300, 5


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def test_counts_of_one_class_a_row_give_what_scikit_learn_gives(draw: np.random.Generator) -> None:
    target = draw.integers(0, CLASSES, ROWS)
    prediction = np.where(draw.random(ROWS) < 0.6, target, draw.integers(0, CLASSES - 1, ROWS))
    counts = Counts.of_ids(target, prediction)
    assert counts.mcc() == pytest.approx(metrics.matthews_corrcoef(target, prediction))
    assert counts.f1_macro() == pytest.approx(metrics.f1_score(target, prediction, average="macro"))
    assert counts.f1_micro() == pytest.approx(metrics.accuracy_score(target, prediction))
    theirs = metrics.precision_recall_fscore_support(target, prediction)
    for ours, values in zip((counts.precision, counts.recall, counts.f1, counts.actual), theirs, strict=True):
        assert ours == pytest.approx(values)


def test_counts_of_sets_give_what_scikit_learn_gives(draw: np.random.Generator) -> None:
    target = draw.random((ROWS, CLASSES)) < 0.3
    prediction = np.where(draw.random(target.shape) < 0.8, target, ~target)
    counts = Counts.of_sets(target, prediction)
    assert counts.f1_macro() == pytest.approx(metrics.f1_score(target, prediction, average="macro"))
    assert counts.f1_micro() == pytest.approx(metrics.f1_score(target, prediction, average="micro"))
    pooled = metrics.matthews_corrcoef(target.ravel(), prediction.ravel())
    assert counts.decisions(ROWS).mcc() == pytest.approx(pooled)


def test_a_class_that_does_not_occur_is_left_out_of_the_macro_average(draw: np.random.Generator) -> None:
    target = draw.random((ROWS, CLASSES)) < 0.3
    target[:, 2] = False
    counts = Counts.of_sets(target, target)
    assert counts.f1_macro() == 1
    assert np.isnan(counts.f1[2])
    assert np.isnan(Counts.of_sets(target[:, [2]], target[:, [2]]).f1_micro())


@pytest.mark.parametrize("digits", [1, 6])
def test_auroc_is_that_of_scikit_learn_with_ties_and_without(draw: np.random.Generator, digits: int) -> None:
    positive = draw.random(ROWS) < 0.3
    scores = np.round(draw.random(ROWS) * 0.7 + positive * 0.2, digits).astype(np.float32)
    assert classes.auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    assert np.isnan(classes.auroc(scores, np.ones(ROWS, bool)))


def test_the_macro_auroc_is_each_class_against_the_rest(draw: np.random.Generator) -> None:
    probabilities = draw.dirichlet(np.ones(CLASSES), ROWS)
    target = np.where(draw.random(ROWS) < 0.5, probabilities.argmax(axis=1), draw.integers(0, CLASSES, ROWS))
    positive = target[:, None] == np.arange(CLASSES)
    theirs = metrics.roc_auc_score(target, probabilities, multi_class="ovr", average="macro")
    assert classes.auroc_macro(probabilities, positive) == pytest.approx(theirs, abs=1e-12)
    absent = np.concatenate([positive, np.zeros((ROWS, 1), bool)], axis=1)
    wider = np.concatenate([probabilities, probabilities[:, :1]], axis=1)
    assert classes.auroc_macro(wider, absent) == pytest.approx(theirs, abs=1e-12), "a class without rows has none"


def test_the_calibration_error_is_the_mean_distance_of_the_bins(draw: np.random.Generator) -> None:
    score = np.concatenate([draw.random(ROWS), [0.0, 1.0]]).astype(np.float32)
    right = draw.random(len(score)) < score**2
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (score >= low) & ((score < low + 1 / 15) | (low > 0.93))
        expected += abs(right[inside].mean() - score[inside].mean()) * inside.sum() / len(score)
    assert classes.calibration_error(score, right) == pytest.approx(expected, abs=1e-6)
    bins = classes.reliability(score, right)
    assert sum(found.rows for found in bins) == len(score)
    from_bins = sum(found.rows * abs(found.right - found.score) for found in bins) / len(score)
    assert from_bins == pytest.approx(expected, abs=1e-6)
    assert classes.calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == pytest.approx(0)
