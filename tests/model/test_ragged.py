"""Sequences of a flat row are set apart and put together again, with their gradients."""

import numpy as np
import torch

from pipeline.model.ragged import groups_of

LENGTHS = np.array([40, 40, 31, 30, 29, 9, 1])


def test_a_group_has_sequences_of_like_lengths_and_none_is_left_out() -> None:
    found = groups_of(LENGTHS)
    assert [group.shape for group in found] == [(5, 40), (2, 9)]
    assert [(group.tokens.start, group.tokens.stop) for group in found] == [(0, 170), (170, 180)]
    assert [group.real.sum().item() for group in found] == [170, 10]


def test_what_was_set_apart_is_put_together_again() -> None:
    row = torch.randn(int(LENGTHS.sum()), 3, 4, dtype=torch.float64, requires_grad=True)
    ends = np.cumsum(LENGTHS)

    def again(row: torch.Tensor) -> torch.Tensor:
        return torch.cat([group.together(group.apart(row)) for group in groups_of(LENGTHS)])

    first = groups_of(LENGTHS)[0].apart(row)
    for place, (length, end) in enumerate(zip(LENGTHS[:5], ends, strict=False)):
        assert torch.equal(first[place, :, :length], row[end - length : end].transpose(0, 1))
    assert torch.equal(again(row), row.flatten(1))
    assert torch.autograd.gradcheck(again, (row,))
