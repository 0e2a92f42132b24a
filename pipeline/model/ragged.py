"""Sequences of different lengths, which stand one after the other in one flat row, as attention needs them: apart.

Those of like lengths are taken at once, with little padding, which attention alone ever sees.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A group takes sequences that are shorter than its longest by so many tokens, or by this share of it.
_SHORTER, _SHARE = 16, 4


@dataclass(frozen=True)
class Group:
    """Sequences of like lengths, which follow each other in the flat row.

    Attributes:
        tokens: where they stand in that row.
        shape: (sequences, longest).
        padded: (sequences * longest,) int64, the token of the group at each place; its first one for padding.
        places: (tokens,) int64, the opposite.
        real: (sequences, 1, 1, longest) bool: no padding.
    """

    tokens: slice
    shape: tuple[int, int]
    padded: Tensor
    places: Tensor
    real: Tensor

    @staticmethod
    def of(start: int, lengths: np.ndarray) -> "Group":
        """Sequences of these lengths, of which the first stands at this token of the row."""
        shape = (len(lengths), int(lengths[0]))
        real = np.arange(shape[1]) < lengths[:, None]
        places = np.flatnonzero(real)
        padded = np.zeros(real.size, np.int64)
        padded[places] = np.arange(len(places))
        mask = torch.from_numpy(real)[:, None, None]
        tokens = slice(start, start + len(places))
        return Group(tokens, shape, torch.from_numpy(padded), torch.from_numpy(places), mask)

    @property
    def even(self) -> bool:
        """All sequences have one length."""
        return len(self.places) == len(self.padded)

    def apart(self, row: Tensor) -> Tensor:
        """(sequences, heads, longest, size) of the flat row (tokens, heads, size)."""
        states = row[self.tokens].flatten(1)
        if not self.even:
            states = _Spread.apply(states, self.padded, self.places)  # type: ignore[no-untyped-call]
        return states.view(*self.shape, *row.shape[1:]).transpose(1, 2)

    def together(self, states: Tensor) -> Tensor:
        """The opposite of `apart`: (tokens of the group, heads * size)."""
        rows = states.transpose(1, 2).flatten(2).flatten(0, 1)
        if self.even:
            return rows
        picked: Tensor = _Pick.apply(rows, self.places)  # type: ignore[no-untyped-call]
        return picked


def groups_of(lengths: np.ndarray) -> list[Group]:
    """The groups of sequences of these lengths, the longest first, in the order in which they stand in the row."""
    found: list[Group] = []
    start = first = 0
    for place in range(1, len(lengths) + 1):
        longest = lengths[first]
        if place == len(lengths) or longest - lengths[place] > max(_SHORTER, longest // _SHARE):
            group = Group.of(start, lengths[first:place])
            found.append(group)
            start, first = group.tokens.stop, place
    return found


class _Spread(torch.autograd.Function):
    """Rows to padded places. What stands in the padding is of no matter, and no gradient comes from there."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, padded: Tensor, places: Tensor) -> Tensor:
        ctx.places = places
        return rows.index_select(0, padded)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0].index_select(0, ctx.places), None, None


class _Pick(torch.autograd.Function):
    """Rows from padded places: index_select, whose backward knows that no row is picked twice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.places, ctx.rows = places, len(rows)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        return gradient.new_zeros(ctx.rows, *gradient.shape[1:]).index_copy_(0, ctx.places, gradient), None
