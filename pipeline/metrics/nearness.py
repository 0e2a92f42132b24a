"""How near a text's vector is to that of the text that belongs to it, among those of all others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.rows import normalised

SCALE = 20.0
"""What cosines are multiplied by before a softmax, as sentence-transformers does: they are in [-1, 1]."""

_AT_ONCE = 256


def ranks(similarities: Callable[[int, int], np.ndarray], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rank of the text that belongs to each row, and the row whose text is nearest, (rows,) int64 each.

    What is as near as the right text ranks before it, so that a model that finds everything alike is never right. The
    same text in another row is no other text.

    Args:
        similarities: of rows [start, stop) to the texts of all rows, (stop - start, rows): a block at a time, since all
            of them may not fit the memory.
        texts: those that belong to the rows.
    """
    same = np.unique([normalised(text) for text in texts], return_inverse=True)[1]
    rank, nearest = np.empty((2, len(texts)), np.int64)
    for start in range(0, len(texts), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(texts)))
        found = similarities(start, start + len(rows))
        own = found[np.arange(len(rows)), rows]
        others = same[rows][:, None] != same
        rank[rows] = 1 + ((found >= own[:, None]) & others).sum(axis=1)
        nearest[rows] = found.argmax(axis=1)
    return rank, nearest


def cosines(anchors: np.ndarray, others: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """The similarities of unit vectors, (rows, numbers) each, block by block."""
    one, other = torch.from_numpy(anchors), torch.from_numpy(others)
    return lambda start, stop: (one[start:stop] @ other.T).numpy()


def ranking_loss(anchors: Tensor, candidates: Tensor, first: int = 0) -> Tensor:
    """The cross-entropy of each anchor's own candidate among all of them, (anchors,).

    Multiple negatives ranking: Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply"
    (2017, https://arxiv.org/abs/1705.00652).

    Args:
        anchors: unit vectors, (anchors, numbers).
        candidates: unit vectors, (candidates, numbers).
        first: the place of the first anchor's candidate; those of the others follow.
    """
    own = torch.arange(first, first + len(anchors), device=anchors.device)
    return functional.cross_entropy(SCALE * anchors @ candidates.T, own, reduction="none")


def ranking_losses(anchors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Likewise of all rows of a split, whose candidates come first, (rows,) float32, in blocks."""
    one, other = torch.from_numpy(anchors), torch.from_numpy(candidates)
    blocks = [
        ranking_loss(one[start : start + _AT_ONCE], other, start).numpy() for start in range(0, len(one), _AT_ONCE)
    ]
    return np.concatenate(blocks)


def tfidf(known: Sequence[str], *asked: Sequence[str]) -> list[Any] | None:
    """Texts as rows of TF-IDF weights, of unit length (sparse matrices); None where the known texts have no words."""
    # Imported here: seconds, which the stages that have no use for it shall not wait for.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    if not any(map(vectorizer.build_analyzer(), known)):
        return None
    vectorizer.fit(known)
    return [vectorizer.transform(texts) for texts in asked]
