import pytest
import torch
from torch import Tensor

from pipeline.metrics.spans import best_spans


def drawn(tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores of four texts, and where their tokens stand: a question before them, gaps in them, padding behind them."""
    draw = torch.Generator().manual_seed(seed)
    first, last = torch.randint(-40, 40, (2, 4, tokens), generator=draw) / 4  # coarse, so that some are alike
    ends = torch.randint(0, 4, (4, tokens), generator=draw).cumsum(1) + 3  # some tokens are parts of one character
    starts = ends - torch.randint(1, 4, (4, tokens), generator=draw)
    starts = starts.cummax(dim=1).values.minimum(ends - 1)
    outside = torch.rand((4, tokens), generator=draw) < 0.1
    outside[:, :2], outside[1, tokens // 2 :], outside[3] = True, True, tokens > 2
    return first, last, starts.masked_fill(outside, -1), ends.masked_fill(outside, -1)


def of_all(texts: tuple[Tensor, Tensor, Tensor, Tensor], row: int, longest: int) -> dict[tuple[int, int], list[float]]:
    """The scores of all spans of a text by their characters: several tokens may stand for the same."""
    found: dict[tuple[int, int], list[float]] = {}
    first, last, starts, ends = (values[row].tolist() for values in texts)
    for i in range(len(starts)):
        for j in range(i, len(starts)):
            if min(starts[i], starts[j]) >= 0 and ends[j] - starts[i] <= longest:
                found.setdefault((starts[i], ends[j]), []).append(first[i] + last[j])
    return found


@pytest.mark.parametrize("longest", [0, 1, 7, 10_000])
@pytest.mark.parametrize("tokens", [1, 2, 3, 17, 64, 130])
def test_the_best_spans_are_those_of_all(tokens: int, longest: int) -> None:
    texts = drawn(tokens, tokens)
    starts, ends, scores = best_spans(*texts, longest, 6)
    assert starts.shape == ends.shape == scores.shape == (4, 6)
    for row in range(4):
        known = of_all(texts, row, longest)
        best = sorted((score for of_span in known.values() for score in of_span), reverse=True)[:6]
        size = len(best)
        assert scores[row].tolist() == [*best, *[float("-inf")] * (6 - size)]
        said = list(zip(starts[row].tolist(), ends[row].tolist(), scores[row].tolist(), strict=True))
        assert all(score in known[start, end] for start, end, score in said[:size])
        assert all((start, end) == (-1, -1) for start, end, _ in said[size:])


def test_a_long_text_needs_no_matrix_of_its_tokens() -> None:
    tokens = 200_000  # of which a matrix would have 160 GB
    places = torch.arange(tokens)[None]
    first, last = torch.zeros(1, tokens), torch.zeros(1, tokens)
    first[0, 150_000], last[0, 150_040], last[0, 150_060] = 1.0, 1.0, 2.0
    starts, ends, scores = best_spans(first, last, places, places + 1, 50, 1)
    assert (starts.item(), ends.item(), scores.item()) == (150_000, 150_041, 2.0)
