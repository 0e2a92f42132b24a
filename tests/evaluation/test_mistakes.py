"""What is confused with what, and the mistakes to look at first."""

import numpy as np
import pyarrow as pa

from pipeline.evaluation.mistakes import Confusion, Mistake, confident_mistakes, confused_pairs, confusion_matrix
from pipeline.tasks.text_classification import TextClassification

LABELS = ("a", "b", "c")
PREDICTIONS = {
    "target": np.array([0, 0, 0, 1, 1, 2, 2, 2], np.int64),
    "prediction": np.array([0, 1, 1, 0, 1, 0, 2, 2], np.int32),
    "score": np.array([0.9, 0.6, 0.8, 0.8, 0.5, 0.95, 0.4, 0.3], np.float32),
}


def test_the_matrix_counts_actual_labels_down_and_predicted_ones_across() -> None:
    assert confusion_matrix(PREDICTIONS, LABELS).tolist() == [[1, 2, 0], [1, 1, 0], [1, 0, 2]]


def test_the_most_frequent_pairs_come_first_and_of_equals_the_larger_share() -> None:
    assert confused_pairs(PREDICTIONS, LABELS, 9) == [
        Confusion("a", "b", 2, 2 / 3),
        Confusion("b", "a", 1, 1 / 2),
        Confusion("c", "a", 1, 1 / 3),
    ]
    assert len(confused_pairs(PREDICTIONS, LABELS, 1)) == 1


def test_very_many_labels_cost_no_matrix() -> None:
    labels = [str(label) for label in range(2_000_000)]
    far = {"target": np.array([1_999_999], np.int32), "prediction": np.array([1_999_998], np.int32)}
    assert confused_pairs(far, labels, 5) == [Confusion("1999999", "1999998", 1, 1.0)]


def test_the_surest_mistakes_come_first_and_equally_sure_ones_in_their_order() -> None:
    rows = pa.table({"id": [f"t:{row}" for row in range(8)], "text": list("stuvwxyz"), "text_pair": list("STUVWXYZ")})
    assert confident_mistakes(TextClassification(LABELS, ("text", "text_pair")), rows, PREDICTIONS, 3) == [
        Mistake("t:5", ("x", "X"), "c", "a", float(np.float32(0.95))),
        Mistake("t:2", ("u", "U"), "a", "b", float(np.float32(0.8))),
        Mistake("t:3", ("v", "V"), "b", "a", float(np.float32(0.8))),
    ]
    single = confident_mistakes(TextClassification(LABELS), rows, PREDICTIONS, 1)
    assert single[0].texts == ("x",)


def test_a_perfect_model_has_none() -> None:
    perfect = {**PREDICTIONS, "prediction": PREDICTIONS["target"]}
    rows = pa.table({"id": ["x"] * 8, "text": ["y"] * 8})
    assert confused_pairs(perfect, LABELS, 9) == []
    assert confident_mistakes(TextClassification(LABELS), rows, perfect, 9) == []
    assert confident_mistakes(TextClassification(LABELS), rows, PREDICTIONS, 0) == []
