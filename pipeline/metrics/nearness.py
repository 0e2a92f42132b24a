"""How near a text's vector is to that of the text that belongs to it, among those of all others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data import baselines
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


def ranking_loss(vectors: Tensor, texts: Tensor, rows: slice = slice(None)) -> Tensor:
    """The cross-entropy of each row's own positive among the positives and negatives of all rows, (rows,).

    Multiple negatives ranking: Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply"
    (2017, https://arxiv.org/abs/1705.00652). Of the others, those are left out that belong to the row as well: the text
    itself, its positive in another row, and the positives of the same text in other rows.

    Args:
        vectors: unit vectors of each row's text, its positive, and its negatives, (all rows, texts of a row, numbers).
        texts: numbers that are the same for the same text, (all rows, texts of a row).
        rows: those whose losses are wanted.
    """
    candidates = vectors[:, 1:].transpose(0, 1).flatten(0, 1)
    own = torch.arange(len(vectors), device=vectors.device)[rows]
    similarities = SCALE * vectors[rows, 0] @ candidates.T
    return functional.cross_entropy(similarities.masked_fill(_belonging(texts, own), -torch.inf), own, reduction="none")


def _belonging(texts: Tensor, own: Tensor) -> Tensor:
    """Which candidates belong to rows beside their own, (rows, candidates) bool."""
    anchor, positive = texts[own, :1], texts[own, 1:2]
    candidates = texts[:, 1:].T.flatten()
    found = (candidates == anchor) | (candidates == positive)
    found[:, : len(texts)] |= texts[:, 0] == anchor
    return found.scatter(1, own[:, None], False)


def ranking_losses(vectors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Likewise of all rows of a split, (rows,) float32, in blocks."""
    whole, same = torch.from_numpy(vectors), torch.from_numpy(texts)
    starts = range(0, len(whole), _AT_ONCE)
    return np.concatenate([ranking_loss(whole, same, slice(start, start + _AT_ONCE)).numpy() for start in starts])


def tfidf(known: Sequence[str], *asked: Sequence[str]) -> list[Any] | None:
    """Texts as rows of TF-IDF weights, of unit length (sparse matrices); None where the known texts have no words."""
    if (vectorizer := baselines.tfidf(known)) is None:
        return None
    vectorizer.fit(known)
    return [vectorizer.transform(texts) for texts in asked]
