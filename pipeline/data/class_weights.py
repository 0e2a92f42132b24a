"""How much a row of each class counts in the loss: `train.class_weights`."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import UserError, did_you_mean

Asked = Mapping[str, float] | str | None


def check(asked: Asked, labels: Sequence[str]) -> None:
    """Raise a UserError if a weight is given to a label that there is not."""
    for name in asked if isinstance(asked, Mapping) else ():
        if name not in labels:
            raise UserError(
                f"params.yaml: train.class_weights: '{name}' is no label of the training rows."
                f"{did_you_mean(name, labels) or _some(labels)}"
            )


def class_weights(asked: Asked, labels: Sequence[str], rows: Sequence[int]) -> np.ndarray | None:
    """The weight of each label, (labels,) float32; None if all count alike.

    `balanced` gives all labels the same sum of weights, rows / (labels * rows of the label), as scikit-learn does
    (King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9 (2001), pages 137-163). Labels that
    a mapping does not name weigh 1.

    Args:
        rows: training rows of each label.
    """
    if asked is None:
        return None
    if isinstance(asked, Mapping):
        return np.array([asked.get(name, 1.0) for name in labels], np.float32)
    assert len(rows) == len(labels), "balanced weights need the rows of every label"
    counts = np.array(rows, np.float64)
    weights: np.ndarray = (counts.sum() / (len(counts) * counts)).astype(np.float32)
    return weights


def _some(labels: Sequence[str]) -> str:
    return f"\nThere are {', '.join(labels[:5])}{', ...' if len(labels) > 5 else ''}."
