"""Losses that couple the examples of a step, whatever the micro-batches and the ranks.

Two passes, as in Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021,
https://arxiv.org/abs/2101.06983): the first computes what the loss needs of every example, without what a backward
would need. All ranks get all of it, and with it the same loss, and its gradient by each example. The second pass goes
forward again with the same dropout, one micro-batch at a time, and backward from that gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.params import Train
from pipeline.tasks.base import Batch, Task
from pipeline.training.parallel import Loss, Parallel, Part

_VECTORS = "vectors"
Forward = Callable[[Part, nn.Module], tuple[Any, Batch]]
"""The forward of a micro-batch by a module: its outputs, and the batch. A part always draws the same dropout."""


def coupled(
    parallel: Parallel,
    task: Task,
    train: Train,
    forward: Forward,
    indices: np.ndarray,
    parts: Sequence[Part],
    targets: float,
) -> Loss:
    """The second pass of a step, after the first.

    Args:
        indices: the examples of the step.
        parts: this rank's micro-batches.
        targets: how many the step has.

    Returns:
        For each micro-batch its examples' share of the mean loss, whose gradient is that of the whole loss by what
        the model makes of them.

    Raises:
        Preempted: some rank was asked to stop.
    """
    vectors, known = _first_pass(parallel, task, forward, indices, parts)
    vectors.requires_grad_()
    mean = task.coupled_loss(vectors, known, train) / targets
    (gradient,) = torch.autograd.grad(mean, vectors)
    mean = mean.detach() / len(indices)

    def loss(part: Part) -> Tensor:
        outputs, batch = forward(part, parallel.forward)
        along = (task.vectors(outputs, batch) * gradient[_places(indices, part)]).sum()
        # The gradient is that of the first term, the value that of the last one.
        return along - along.detach() + mean * len(part.indices)

    return loss


@torch.no_grad()
def _first_pass(
    parallel: Parallel, task: Task, forward: Forward, indices: np.ndarray, parts: Sequence[Part]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Vectors and targets of all examples of the step, in its order, on every rank."""
    made: dict[str, list[Tensor]] = {}
    for part in parts:
        parallel.stop_if_asked()
        # The model itself, as nothing is exchanged. An idle part goes along, since shards need every rank.
        outputs, batch = forward(part, parallel.model)
        for name, values in {_VECTORS: task.vectors(outputs, batch), **batch.targets}.items():
            made.setdefault(name, []).append(values[: 0 if part.idle else None])
    places = np.concatenate([_places(indices, part) for part in parts if not part.idle] or [indices[:0]])
    found = {}
    for name, tensors in made.items():
        own = torch.cat(tensors)
        whole = own.new_zeros((len(indices), *own.shape[1:]))
        whole[torch.from_numpy(places).to(own.device)] = own
        # Each example is on one rank alone, and zeros change no number that they are added to.
        found[name] = parallel.world.add(whole)
    return found.pop(_VECTORS), found


def _places(indices: np.ndarray, part: Part) -> np.ndarray:
    """The places of a micro-batch's examples within the step, (examples,) int64."""
    order = np.argsort(indices)
    return order[np.searchsorted(indices, part.indices, sorter=order)]
