"""Scores of answers that are numbers."""

import numpy as np


def pearson(target: np.ndarray, prediction: np.ndarray) -> float:
    """The linear correlation of two columns, (rows,) each; NaN where one of them is constant."""
    one, other = (values.astype(np.float64) for values in (target, prediction))
    if one.min() == one.max() or other.min() == other.max():
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    return float(np.clip(one @ other / np.sqrt((one @ one) * (other @ other)), -1.0, 1.0))


def spearman(target: np.ndarray, prediction: np.ndarray) -> float:
    """The correlation of the ranks; equal numbers share the mean of their ranks."""
    # Imported here: half a second, which the stages that score nothing shall not wait for.
    from scipy.stats import rankdata

    return pearson(rankdata(target), rankdata(prediction))
