"""The loop: a generator that yields after every optimizer step. What happens between steps is the caller's."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.model.loss_head import gives_loss, summed_loss
from pipeline.model.unpadded import unpads, without_padding
from pipeline.params import Train
from pipeline.tasks.base import Batch, Collation, Task
from pipeline.training import dropout
from pipeline.training.coupled import coupled
from pipeline.training.learner import Learner
from pipeline.training.optimizer import learning_rate
from pipeline.training.parallel import Loss, Parallel, Part


@dataclass(frozen=True)
class Step:
    """What one optimizer step did; tensors stay on the device until somebody reads them.

    Attributes:
        number: optimizer steps done, this one included.
        loss: scalar, mean over the targets of the global batch.
        grad_norm: scalar, before clipping.
        learning_rate: of this step.
        tokens: without padding.
    """

    number: int
    loss: torch.Tensor
    grad_norm: torch.Tensor
    learning_rate: float
    tokens: int


def steps(
    learner: Learner,
    parallel: Parallel,
    task: Task,
    store: Store,
    plan: BatchPlan,
    train: Train,
    collation: Collation,
    micro_batch_tokens: int,
    done: int,
    total: int,
) -> Iterator[Step]:
    """Train from step `done` to step `total`.

    The global batch is cut into micro-batches of like lengths. Each one's loss is a sum, divided by the targets of
    the whole global batch, so the gradient is that of the mean whatever the cut and however many ranks share it. A
    gradient that is not finite leaves weights and optimizer state untouched; the caller sees it in `grad_norm`.

    Raises:
        Preempted: a rank was asked to stop; the last whole step is the one that was yielded last.
        torch.OutOfMemoryError: likewise; start again from that step with smaller micro-batches.
    """
    optimizer, scaler = learner.optimizer, learner.scaler
    optimizer.zero_grad()
    real = counts_real_tokens(task, parallel.model)
    for step in range(done, total):
        indices = plan.indices(step)
        parts = parallel.cut(store.lengths, indices, micro_batch_tokens, real)
        drawn = replace(collation, epoch=plan.epoch(step), train=train, training=True)
        loss = loss_of(parallel, task, store, train, drawn, step, indices, parts)
        mean_loss = parallel.backward(parts, loss, scaler)

        scaler.unscale_(optimizer)
        grad_norm = parallel.norm()
        if train.max_grad_norm is not None:
            parallel.clip(train.max_grad_norm, grad_norm)
        rate = learning_rate(train, step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # Fused AdamW reads this flag on the device: no value has to travel to the host to skip a bad step.
        optimizer.found_inf = (~torch.isfinite(grad_norm + mean_loss)).float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad()
        scaler.update()
        yield Step(step + 1, mean_loss, grad_norm, rate, int(store.lengths[indices].sum()))


def loss_of(
    parallel: Parallel,
    task: Task,
    store: Store,
    train: Train,
    collation: Collation,
    step: int,
    indices: np.ndarray,
    parts: Sequence[Part],
) -> Loss:
    """The forward of a step's micro-batches: each gives its share of the mean loss over all targets of the step.

    Args:
        indices: the examples of the step.
        parts: this rank's micro-batches.
    """
    # Examples without a target, such as texts of one token, add nothing to the sum: any divisor will do.
    targets = task.count_targets(store.examples(indices), train) or 1.0

    model, world = parallel.model, parallel.world
    sums = _sums(task, model)

    def forward(part: Part, module: nn.Module) -> tuple[Any, Batch]:
        batch = task.collate(store.examples(part.indices), collation)
        head = summed_loss(model, batch.labels, train.label_smoothing_factor) if sums else contextlib.nullcontext()
        batch = batch.to(world.device)
        drawn = dropout.seeded(model, world.device, train.seed, step, part.place)
        with world.autocast(), drawn, head, without_padding(model, batch.inputs):
            return module(**batch.inputs), batch

    def loss(part: Part) -> torch.Tensor:
        outputs, batch = forward(part, parallel.forward)
        return task.loss(outputs, batch, train) / targets

    return coupled(parallel, task, train, forward, indices, parts, targets) if task.couples_examples else loss


def _sums(task: Task, model: PreTrainedModel) -> bool:
    """Whether the head gives the loss, and so makes no logits of a whole micro-batch."""
    return task.predicts_tokens and task.model_class is None and gives_loss(model)


def counts_real_tokens(task: Task, model: PreTrainedModel) -> bool:
    """Whether padding is nearly free in a micro-batch: logits of a vocabulary would be made of padding, too."""
    return unpads(model) and (_sums(task, model) or model.get_output_embeddings() is None)
