"""The loop: a generator that yields after every optimizer step. What happens between steps is the caller's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from pipeline.data.batches import BatchPlan, micro_batches
from pipeline.data.store import Store
from pipeline.params import Params
from pipeline.tasks.base import Task
from pipeline.training.optimizer import learning_rate
from pipeline.world import World


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


@dataclass(frozen=True)
class Learner:
    """What a step changes, and so what a checkpoint holds."""

    model: PreTrainedModel
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler

    def tensors(self) -> dict[str, Any]:
        """The state dictionaries of all three."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, tensors: dict[str, Any]) -> None:
        """Take up the state that `tensors` gave."""
        self.model.load_state_dict(tensors["model"])
        self.optimizer.load_state_dict(tensors["optimizer"])
        self.scaler.load_state_dict(tensors["scaler"])


def steps(
    learner: Learner, task: Task, store: Store, plan: BatchPlan, world: World, params: Params, done: int, total: int
) -> Iterator[Step]:
    """Train from step `done` to step `total`.

    The global batch is cut into micro-batches of like lengths. Each one's loss is a sum, divided by the targets of
    the whole global batch, so the gradient is that of the mean whatever the cut. A gradient that is not finite
    leaves weights and optimizer state untouched; the caller sees it in `grad_norm`.
    """
    model, optimizer, scaler, train = learner.model, learner.optimizer, learner.scaler, params.train
    for step in range(done, total):
        indices = plan.indices(step)
        cuts = micro_batches(store.lengths, indices, params.hardware.micro_batch_tokens)
        parts = [store.examples(cut) for cut in cuts]
        targets = sum(task.count_targets(part) for part in parts)

        loss = torch.zeros((), device=world.device)
        for place, part in enumerate(parts):
            seed_dropout(train.seed, step, place)
            batch = task.collate(part, model.config.pad_token_id).to(world.device)
            with world.autocast():
                logits = model(**batch.inputs).logits
            share = task.loss(logits, batch.labels, train.label_smoothing_factor) / targets
            scaler.scale(share).backward()
            loss += share.detach()

        scaler.unscale_(optimizer)
        grad_norm = clip_gradients(model, train.max_grad_norm)
        rate = learning_rate(train, step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # Fused AdamW reads this flag on the device: no value has to travel to the host to skip a bad step.
        optimizer.found_inf = (~torch.isfinite(grad_norm + loss)).float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad()
        scaler.update()
        yield Step(step + 1, loss, grad_norm, rate, int(store.lengths[indices].sum()))


def seed_dropout(seed: int, step: int, place: int) -> None:
    """Draw a micro-batch's dropout from (seed, step, place): a resume needs no generator state."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, place]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def clip_gradients(model: torch.nn.Module, max_grad_norm: float | None) -> torch.Tensor:
    """The norm of the whole gradient, which is cut to `max_grad_norm` if it is longer."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if max_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, norm)
    return norm
