"""The likeliest spans of a text, from what a model says of where they begin and where they end."""

import torch
from torch import Tensor
from torch.nn import functional


def best_spans(
    first: Tensor, last: Tensor, starts: Tensor, ends: Tensor, longest: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The spans with the largest sums of scores, among all that are no longer than `longest`.

    There are tokens x tokens spans, but the best `most` of them begin at the `most` tokens whose best spans are best:
    only those are looked at with all their ends. So what is found is exact, in memory that grows with the tokens alone.

    Args:
        first: the score of each token as the first one of a span, (examples, tokens).
        last: likewise, as the last one.
        starts: the character at which each token begins, in rising order; below 0 for a token that is not of the text.
        ends: the character behind each token, likewise.
        longest: characters.

    Returns:
        The characters at which the spans begin and behind which they end, -1 where there are no more, and their scores,
        the best first, (examples, most) each.
    """
    inside = starts >= 0
    first, last = first.masked_fill(~inside, -torch.inf), last.masked_fill(~inside, -torch.inf)
    rising = ends.cummax(dim=1).values
    stops = torch.searchsorted(rising, (starts + longest).contiguous(), right=True)
    chosen = (first + _largest_before(last, stops)).topk(min(most, first.shape[1])).indices
    places = torch.arange(first.shape[1], device=first.device)
    allowed = (places >= chosen[:, :, None]) & (places < stops.gather(1, chosen)[:, :, None])
    sums = first.gather(1, chosen)[:, :, None] + last[:, None, :].expand(allowed.shape)
    best = sums.masked_fill(~allowed, -torch.inf).flatten(1).topk(min(most, allowed[0].numel()))
    none, tokens = torch.isinf(best.values), first.shape[1]
    found = (
        starts.gather(1, chosen.gather(1, best.indices // tokens)).masked_fill(none, -1),
        ends.gather(1, best.indices % tokens).masked_fill(none, -1),
    )
    rest = (0, most - none.shape[1])
    begin, end = (functional.pad(values, rest, value=-1) for values in found)
    return begin, end, functional.pad(best.values, rest, value=-torch.inf)


def _largest_before(values: Tensor, stops: Tensor) -> Tensor:
    """The largest value from each place up to, and without, its stop, (rows, places); -inf where there is none.

    From the largest of 1, 2, 4, ... values on, two of which cover what is asked for.
    """
    size = values.shape[1]
    widths = stops - torch.arange(size, device=values.device)
    found, reach, width = torch.full_like(values, -torch.inf), values, 1
    while width <= size:
        covered = torch.maximum(reach, reach.gather(1, (stops - width).clamp(min=0)))
        found = torch.where((width <= widths) & (widths < 2 * width), covered, found)
        reach = torch.maximum(reach, functional.pad(reach[:, width:], (0, width), value=-torch.inf))
        width *= 2
    return found
