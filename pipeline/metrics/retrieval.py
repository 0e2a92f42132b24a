"""What was said to the most alike text: a baseline of tasks that answer with texts."""

from collections.abc import Sequence

import numpy as np

from pipeline.data.baselines import tfidf

_AT_ONCE = 256


def nearest(known: Sequence[str], asked: Sequence[str]) -> np.ndarray | None:
    """The place of the known text that is most alike to each asked one, by the cosine of their TF-IDF weights.

    Returns:
        (asked,) int64; of equals the first. None where the known texts have no words.
    """
    if (vectorizer := tfidf(known)) is None:
        return None
    weights = vectorizer.fit_transform(known).T.tocsr()
    wanted = vectorizer.transform(asked)
    parts = (
        np.asarray((wanted[start : start + _AT_ONCE] @ weights).argmax(axis=1)).ravel()
        for start in range(0, len(asked), _AT_ONCE)
    )
    return np.concatenate(list(parts)).astype(np.int64)
