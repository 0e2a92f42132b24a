"""Simple methods that say which of two texts is preferred."""

from collections.abc import Sequence

import numpy as np

from pipeline.data.baselines import tfidf

_SEED = 0


def longer(chosen: Sequence[str], rejected: Sequence[str]) -> np.ndarray:
    """Whether the better text has more characters, (rows,) bool; of equal ones a coin decides, the same every time."""
    difference = np.array([len(one) - len(other) for one, other in zip(chosen, rejected, strict=True)])
    coins: np.ndarray = np.random.default_rng(_SEED).integers(0, 2, len(difference)) == 1
    return np.where(difference == 0, coins, difference > 0)


def linear(
    known_chosen: Sequence[str], known_rejected: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
) -> np.ndarray | None:
    """Whether a linear reward of words and pairs of words is higher for the better text, (rows,) bool.

    Learned from the known pairs as Bradley and Terry, "Rank Analysis of Incomplete Block Designs: I. The Method of
    Paired Comparisons", Biometrika 39 (1952), pages 324-345.

    Returns:
        None where the known texts have no words.
    """
    # Imported here: seconds, which the stages that have no use for it shall not wait for.
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression

    texts = [*known_chosen, *known_rejected]
    if (vectorizer := tfidf(texts, words=2)) is None:
        return None
    vectorizer.fit(texts)
    better = vectorizer.transform(known_chosen) - vectorizer.transform(known_rejected)
    preferred = np.repeat([1, 0], better.shape[0])
    regression = LogisticRegression(C=10.0, max_iter=1000, fit_intercept=False)
    regression.fit(vstack([better, -better]), preferred)
    rewards = (vectorizer.transform(chosen) - vectorizer.transform(rejected)) @ regression.coef_[0]
    found: np.ndarray = rewards > 0
    return found
