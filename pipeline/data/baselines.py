"""What simple methods make of texts, beside which a model is judged: constants, and linear models of counted words.

Everything of scikit-learn is imported inside: seconds, which the stages that have no use for it shall not wait for.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_REGULARISATION = 10.0


def classes(texts: Sequence[str], labels: np.ndarray, unseen: Sequence[str], size: int) -> dict[str, np.ndarray]:
    """Probabilities of the labels of unseen texts, (texts, labels), by the method's name.

    Args:
        labels: (texts,) the id of each text's label.
        size: how many labels there are.
    """
    shares = np.bincount(labels, minlength=size) / len(labels)
    found = {"majority class": np.tile(shares, (len(unseen), 1))}
    if (vectorizer := tfidf(texts)) is not None:
        method = _regression().fit(vectorizer.fit_transform(texts), labels)
        found["TF-IDF + logistic regression"] = probabilities = np.zeros((len(unseen), size))
        probabilities[:, method.classes_] = method.predict_proba(vectorizer.transform(unseen))
    return found


def sets(texts: Sequence[str], has: np.ndarray, unseen: Sequence[str]) -> dict[str, np.ndarray]:
    """The probability of every label of unseen texts, (texts, labels), by the method's name.

    Args:
        has: (texts, labels) bool.
    """
    shares = has.mean(axis=0)
    found = {"label frequencies": np.tile(shares, (len(unseen), 1))}
    if (vectorizer := tfidf(texts)) is not None:
        words, asked = vectorizer.fit_transform(texts), vectorizer.transform(unseen)
        # Of a label that all texts have, or none, there is nothing to learn.
        columns = [
            _regression().fit(words, of_label).predict_proba(asked)[:, 1]
            if 0 < share < 1
            else np.full(len(unseen), share)
            for of_label, share in zip(has.T, shares, strict=True)
        ]
        found["TF-IDF + logistic regression"] = np.stack(columns, axis=1)
    return found


def quantities(texts: Sequence[str], numbers: np.ndarray, unseen: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers for unseen texts, (texts,), by the method's name.

    Args:
        numbers: (texts,) those of the texts.
    """
    from sklearn.linear_model import Ridge

    found = {"mean of the training rows": np.full(len(unseen), numbers.mean(dtype=np.float64))}
    if (vectorizer := tfidf(texts)) is not None:
        method = Ridge().fit(vectorizer.fit_transform(texts), numbers.astype(np.float64))
        found["TF-IDF + ridge regression"] = method.predict(vectorizer.transform(unseen))
    return found


def choices(
    rows: Sequence[Sequence[str]], labels: np.ndarray, unseen: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Probabilities of the endings of unseen rows, (rows, endings), by the method's name.

    Args:
        rows: the context and the endings of each row; every row has as many.
        labels: (rows,) the place of the right ending, from 0.
    """
    endings = len(rows[0]) - 1
    found = {"most frequent place": np.tile(np.bincount(labels, minlength=endings) / len(labels), (len(unseen), 1))}
    texts = [text for row in rows for text in row]
    if (vectorizer := tfidf(texts)) is not None:
        vectorizer.fit(texts)
        ours, theirs = (_likeness(vectorizer, some) for some in (rows, unseen))
        found["TF-IDF likeness to the context"] = np.exp(_log_softmax(_weight(ours, labels) * theirs))
    return found


def _likeness(vectorizer: "TfidfVectorizer", rows: Sequence[Sequence[str]]) -> np.ndarray:
    """The cosine of each ending's words and its context's, (rows, endings)."""
    context, *endings = (vectorizer.transform(texts) for texts in zip(*rows, strict=True))
    return np.stack([np.asarray(context.multiply(ending).sum(axis=1)).ravel() for ending in endings], axis=1)


def _weight(likeness: np.ndarray, labels: np.ndarray) -> float:
    """What likeness counts where the right endings are likeliest: McFadden's conditional logit with one weight."""
    from scipy.optimize import minimize_scalar

    right = np.arange(len(labels)), labels
    found = minimize_scalar(
        lambda weight: -_log_softmax(weight * likeness)[right].sum(), bounds=(-100, 100), method="bounded"
    )
    return float(found.x)


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def tfidf(texts: Iterable[str], words: int = 1) -> "TfidfVectorizer | None":
    """A counter of words, not yet fitted; None if the texts have none, such as those of emoji alone.

    Args:
        words: up to so many in a row are counted as one.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, words))
    return vectorizer if any(map(vectorizer.build_analyzer(), texts)) else None


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_REGULARISATION, max_iter=1000)
