"""The batch plan: which examples a step sees, and how they are cut into micro-batches.

The first is part of the experiment, a pure function of (seed, step); the second a matter of hardware. So the only
state that the data needs for an exact resume is the number of the step.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class BatchPlan:
    """Global batches over epochs, each a fresh random order of all examples; the last batch of one may be smaller.

    Attributes:
        examples: how many there are.
        global_batch_size: examples a step.
        seed: draws the order of every epoch.
    """

    examples: int
    global_batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every example once."""
        return math.ceil(self.examples / self.global_batch_size)

    def steps(self, num_train_epochs: float, max_steps: int | None) -> int:
        """Optimizer steps of a whole training."""
        return max_steps or math.ceil(num_train_epochs * self.steps_per_epoch)

    def epoch(self, step: int) -> int:
        """The epoch of a step, both counted from 0."""
        return step // self.steps_per_epoch

    def indices(self, step: int) -> np.ndarray:
        """The examples of a step (counted from 0): at most (global_batch_size,) int64."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.global_batch_size
        return _order(self.examples, self.seed, epoch)[start : start + self.global_batch_size]


@lru_cache(maxsize=2)
def _order(examples: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)
    order.flags.writeable = False  # every caller of this epoch shares it
    return order


# Padded tokens to one real token, at most, where a model computes without padding: its embeddings are still padded.
_PADDED = 4


def micro_batches(
    lengths: np.ndarray, indices: np.ndarray, budget: int, without_padding: bool = False
) -> list[np.ndarray]:
    """Cut examples into micro-batches of like lengths, so that there is little padding.

    Args:
        lengths: (examples,) tokens of every example in the store.
        indices: the examples to cut.
        budget: tokens of a micro-batch, which are padded ones (examples x longest) unless the model computes without
            padding; one example alone may be longer.

    Returns:
        The micro-batches, longest examples first, so that the one that needs most memory runs first.
    """
    ordered = indices[np.lexsort((indices, -lengths[indices]))]
    sizes = lengths[ordered].tolist()
    cuts, start, real = [], 0, 0
    for place, size in enumerate(sizes):
        padded = (place - start + 1) * sizes[start]
        full = max(real + size, padded / _PADDED) > budget if without_padding else padded > budget
        if place > start and full:
            cuts.append(place)
            start, real = place, 0
        real += size
    return np.split(ordered, cuts)


def shares(lengths: np.ndarray, indices: np.ndarray, ranks: int) -> list[np.ndarray]:
    """Deal examples to ranks, so that each gets about as many tokens.

    The longest example goes first, always to the rank with the fewest tokens so far (Graham, "Bounds on Multiprocessing
    Timing Anomalies", SIAM Journal on Applied Mathematics 17, 1969); then the fullest and the emptiest rank swap the
    pair that brings them nearest, as long as that helps.

    Returns:
        The examples of each rank; none for some if there are fewer examples than ranks.
    """
    loads = np.zeros(ranks, dtype=np.int64)
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    for index in indices[np.lexsort((indices, -lengths[indices]))].tolist():
        rank = int(loads.argmin())
        dealt[rank].append(index)
        loads[rank] += lengths[index]
    for _ in range(len(indices)):
        full, empty = int(loads.argmax()), int(loads.argmin())
        gap = int(loads[full] - loads[empty])
        if gap <= 1:
            break
        moved = lengths[dealt[full]][:, None].astype(np.int64) - lengths[dealt[empty]][None, :]
        left = np.abs(gap - 2 * moved)
        if left.size == 0 or left.min() >= gap:
            break
        one, other = np.unravel_index(left.argmin(), left.shape)
        dealt[full][one], dealt[empty][other] = dealt[empty][other], dealt[full][one]
        loads[full] -= moved[one, other]
        loads[empty] += moved[one, other]
    return [np.array(share, dtype=np.int64) for share in dealt]


def level(cuts: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Give every rank as many micro-batches: halve those with most examples, then add empty ones."""
    most = max(map(len, cuts))
    for cut in cuts:
        while len(cut) < most:
            place = max(range(len(cut)), key=lambda at: len(cut[at]), default=None)
            if place is None or len(cut[place]) < 2:
                cut.append(np.empty(0, dtype=np.int64))
                continue
            half = (len(cut[place]) + 1) // 2
            cut[place : place + 1] = [cut[place][:half], cut[place][half:]]
    return cuts
