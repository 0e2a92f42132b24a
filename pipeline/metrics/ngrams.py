"""N-grams of tokens: what can be predicted without any model, to compare a model with."""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class NGrams:
    """Probabilities of a token after others, each order smoothed with the one below it.

    The share of a context's tokens that were new to it goes to the shorter context (Witten and Bell, "The
    Zero-Frequency Problem", IEEE Transactions on Information Theory 37, 1991); below single tokens, all are alike.

    Attributes:
        vocab_size: how many tokens there are; this number as a token of a context stands for a start.
    """

    vocab_size: int
    _orders: tuple["_Order", ...]

    @classmethod
    def fit(cls, contexts: np.ndarray, tokens: np.ndarray, vocab_size: int) -> Self:
        """Count.

        Args:
            contexts: (places, n - 1) int, the tokens before each place, the nearest last.
            tokens: (places,) int, what stands there.
        """
        longest = contexts.shape[1]
        orders = [_Order.count(contexts[:, longest - size :], tokens, vocab_size + 1) for size in range(longest + 1)]
        return cls(vocab_size, tuple(orders))

    def probabilities(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Of these tokens after these contexts, (places,)."""
        found = np.full(len(tokens), 1 / self.vocab_size)
        longest = contexts.shape[1]
        for size, order in enumerate(self._orders):
            found = order.mixed(contexts[:, longest - size :], tokens, found)
        return found

    def best(self, contexts: np.ndarray) -> np.ndarray:
        """The most probable token after each context, (places,)."""
        distinct, of = np.unique(contexts, axis=0, return_inverse=True)
        return np.array([self._best(context) for context in distinct], np.int64)[of.ravel()]

    def _best(self, context: np.ndarray) -> int:
        # A token that never followed is at most as probable as the best one of the shorter context.
        single = self._orders[0]
        followed = [order.followed(context[len(context) - size :]) for size, order in enumerate(self._orders) if size]
        tokens = np.concatenate([single.grams[[single.times.argmax()]], *followed])
        contexts = np.broadcast_to(context, (len(tokens), len(context)))
        return int(tokens[self.probabilities(contexts, tokens).argmax()])


@dataclass(frozen=True)
class _Order:
    """What follows contexts of one length; codes are sorted, a code being the digits of a number.

    Attributes:
        base: of these numbers.
        grams: of contexts with the token behind them; `times`, how often each was seen.
        contexts: `seen`, how often; `kinds`, by how many tokens they were followed.
    """

    base: int
    grams: np.ndarray
    times: np.ndarray
    contexts: np.ndarray
    seen: np.ndarray
    kinds: np.ndarray

    @classmethod
    def count(cls, contexts: np.ndarray, tokens: np.ndarray, base: int) -> Self:
        grams, times = np.unique(_codes(contexts, base) * base + tokens, return_counts=True)
        before, first, kinds = np.unique(grams // base, return_index=True, return_counts=True)
        return cls(base, grams, times, before, np.add.reduceat(times, first), kinds)

    def mixed(self, contexts: np.ndarray, tokens: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """The probabilities of this order, given those of the shorter contexts."""
        codes = _codes(contexts, self.base)
        times = _looked_up(self.grams, self.times, codes * self.base + tokens)
        seen, kinds = (_looked_up(self.contexts, values, codes) for values in (self.seen, self.kinds))
        return np.where(seen > 0, (times + kinds * shorter) / np.maximum(seen + kinds, 1), shorter)

    def followed(self, context: np.ndarray) -> np.ndarray:
        """The tokens that were seen after a context."""
        (code,) = _codes(context[None], self.base)
        first, end = np.searchsorted(self.grams, (code * self.base, (code + 1) * self.base))
        found: np.ndarray = self.grams[first:end] % self.base
        return found


def _codes(contexts: np.ndarray, base: int) -> np.ndarray:
    found = np.zeros(len(contexts), np.int64)
    for column in contexts.T:
        found = found * base + column
    return found


def _looked_up(codes: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of the wanted codes; 0 for those that are not there."""
    places = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    found: np.ndarray = np.where(codes[places] == wanted, values[places], 0)
    return found
