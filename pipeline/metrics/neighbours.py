"""Baselines of language models: each token from those beside it, counted on the training examples."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.data.packing import NO_TARGET
from pipeline.data.store import Store
from pipeline.metrics.ngrams import NGrams

# Of the training examples; more tokens would cost minutes, and hardly change what follows what.
MOST_TOKENS = 4_000_000
_EXAMPLES_AT_ONCE = 1000
_FOLLOWING = {"token unigrams": 1, "token trigrams": 3}
_BETWEEN = {"token unigrams": 1, "token bigrams": 2}


def following(train: Store, evaluation: Store, vocab_size: int) -> dict[str, dict[str, np.ndarray]]:
    """What n-grams say to the targets of a model that reads from left to right.

    Args:
        vocab_size: how many tokens there are.

    Returns:
        By method, the strongest last: `loss` (nats) and `targets`, each by example of `evaluation`.
    """
    seen = list(_targets(train, vocab_size))
    contexts, tokens = (np.concatenate([part[place] for part in seen]) for place in (0, 1))
    found = {}
    for name, order in _FOLLOWING.items():
        grams = NGrams.fit(contexts[:, 3 - order :], tokens, vocab_size)
        losses, targets = [], []
        for before, wanted, examples, count in _targets(evaluation, vocab_size, most=None):
            nats = -np.log(grams.probabilities(before[:, 3 - order :], wanted))
            losses.append(np.bincount(examples, nats, count))
            targets.append(np.bincount(examples, minlength=count))
        found[name] = {"loss": np.concatenate(losses), "targets": np.concatenate(targets)}
    return found


def _targets(
    store: Store, start: int, most: int | None = MOST_TOKENS
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Contexts (targets, 2), targets, their example in this part, and the examples of the part, part by part.

    Args:
        start: what stands before the first token of a piece.
        most: tokens to look at.
    """
    looked_at = 0
    for first in range(0, len(store), _EXAMPLES_AT_ONCE):
        examples = store.examples(np.arange(first, min(first + _EXAMPLES_AT_ONCE, len(store))))
        tokens, labels = (np.concatenate(examples[name]).astype(np.int64) for name in ("input_ids", "labels"))
        lengths = np.concatenate(examples["pieces"]) if "pieces" in examples else examples["length"]
        before = np.roll(tokens, 1)
        before[np.cumsum(lengths) - lengths] = start
        of = np.repeat(np.arange(len(examples["length"])), examples["length"])
        wanted = labels != NO_TARGET
        yield np.stack([before, tokens], axis=1)[wanted], labels[wanted], of[wanted], len(examples["length"])
        looked_at += len(tokens)
        if most is not None and looked_at >= most:
            return


def between(
    train: Store, masked: Iterable[tuple[np.ndarray, np.ndarray]], special: Sequence[int], vocab_size: int
) -> dict[str, dict[str, np.ndarray]]:
    """What n-grams say to tokens that were masked in a text; of the context they read the token on the left alone.

    Args:
        masked: by micro-batch, what the model reads and the labels of the masked places, each (examples, tokens).
        special: ids that are never masked.

    Returns:
        By method, the strongest last: `loss` (nats), `targets` and `right`, each by example.
    """
    contexts, tokens = _pairs(train, special)
    found: dict[str, dict[str, np.ndarray]] = {}
    grams = {name: NGrams.fit(contexts[:, 2 - order :], tokens, vocab_size) for name, order in _BETWEEN.items()}
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in grams}
    for read, labels in masked:
        examples, places = np.nonzero(labels != NO_TARGET)
        wanted = labels[examples, places]
        before = np.where(places > 0, read[examples, places - 1], vocab_size)[:, None]
        for name, order in _BETWEEN.items():
            context = before[:, 2 - order :]
            nats = -np.log(grams[name].probabilities(context, wanted))
            right = grams[name].best(context) == wanted
            parts[name].append(
                {
                    "loss": np.bincount(examples, nats, len(labels)),
                    "targets": np.bincount(examples, minlength=len(labels)),
                    "right": np.bincount(examples[right], minlength=len(labels)),
                }
            )
    for name, some in parts.items():
        found[name] = {key: np.concatenate([part[key] for part in some]) for key in some[0]}
    return found


def _pairs(store: Store, special: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Each token that is not special, (tokens,), and the one before it, (tokens, 1)."""
    before, tokens, looked_at = [], [], 0
    for first in range(0, len(store), _EXAMPLES_AT_ONCE):
        for ids in store.examples(np.arange(first, min(first + _EXAMPLES_AT_ONCE, len(store))))["input_ids"]:
            wanted = ~np.isin(ids[1:], special)
            before.append(ids[:-1][wanted])
            tokens.append(ids[1:][wanted])
            looked_at += len(ids)
        if looked_at >= MOST_TOKENS:
            break
    return np.concatenate(before).astype(np.int64)[:, None], np.concatenate(tokens).astype(np.int64)
