"""How the gradients of several processes meet: replicas (DDP), shards (FSDP2), or a tree whose sums never change.

The loop knows `Parallel` alone. Whatever the way, after `backward` every rank holds in `.grad` (its piece of) the
gradient of the mean loss over the whole global batch.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from pipeline.data.batches import level, micro_batches, shares
from pipeline.training.worker import PREEMPTED
from pipeline.world import World


class Preempted(SystemExit):
    """Somebody asked the training to stop; the step that was under way is abandoned on every rank."""

    def __init__(self) -> None:
        super().__init__(PREEMPTED)


@dataclass(frozen=True)
class Part:
    """One micro-batch of a step on this rank.

    Attributes:
        place: its number within the step over all ranks; it seeds the dropout.
        indices: its examples, at least one.
        idle: it only keeps this rank in step with others, which have more examples: its loss counts nothing.
    """

    place: int
    indices: np.ndarray
    idle: bool = False


Loss = Callable[[Part], Tensor]
"""The forward of a micro-batch: its share of the mean loss of the global batch."""


@dataclass(frozen=True)
class Parallel(ABC):
    """What a rank computes of a step.

    Attributes:
        model: the model itself, whose parameters are trained.
        forward: what a forward is called on: the model, or what wraps it.
        world: this process and its place among the others.
        stopping: whether this process was asked to stop.
    """

    model: PreTrainedModel
    forward: nn.Module
    world: World
    stopping: Callable[[], bool]

    @abstractmethod
    def cut(self, lengths: np.ndarray, indices: np.ndarray, budget: int, without_padding: bool = False) -> list[Part]:
        """This rank's micro-batches of a global batch, as many as every other rank gets: see `micro_batches`."""

    @abstractmethod
    def backward(self, parts: Sequence[Part], loss: Loss, scaler: torch.amp.GradScaler) -> Tensor:
        """Leave the scaled gradient of the whole global batch in `.grad`.

        Returns:
            Scalar, the mean loss of the global batch, the same on every rank.

        Raises:
            Preempted: some rank was asked to stop; all ranks raise it at the same micro-batch.
        """

    def norm(self) -> Tensor:
        """Scalar, the norm of the whole gradient, the same on every rank."""
        norm = nn.utils.get_total_norm([p.grad for p in self._trained() if p.grad is not None])
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def clip(self, max_norm: float, norm: Tensor) -> None:
        """Cut the gradient to this norm if it is longer."""
        nn.utils.clip_grads_with_norm_([p for p in self._trained() if p.grad is not None], max_norm, norm)

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def stop_if_asked(self) -> None:
        """Raise Preempted on all ranks if some rank was asked to stop; every rank must ask."""
        if self.world.any(self.stopping()):
            raise Preempted


class _Dealt(Parallel):
    """Examples are dealt to the ranks by tokens, and each rank cuts its own."""

    def cut(self, lengths: np.ndarray, indices: np.ndarray, budget: int, without_padding: bool = False) -> list[Part]:
        size, rank = self.world.size, self.world.rank
        dealt = shares(lengths, indices, size)
        cuts = level([micro_batches(lengths, share, budget, without_padding) for share in dealt])
        return [
            Part(number * size + rank, part if len(part) else indices[:1], idle=not len(part))
            for number, part in enumerate(cuts[rank])
        ]

    def backward(self, parts: Sequence[Part], loss: Loss, scaler: torch.amp.GradScaler) -> Tensor:
        whole = torch.zeros((), device=self.world.device)
        for part in parts:
            self.stop_if_asked()
            with self._exchanging(part is parts[-1]):
                # An idle part runs, too: every rank must take part in every exchange.
                share = loss(part) * (0.0 if part.idle else 1.0)
                # DDP and FSDP2 average over the ranks what is to be summed.
                scaler.scale(share * self.world.size).backward()
            whole += share.detach()
        return self.world.add(whole)

    @abstractmethod
    def _exchanging(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Exchange gradients with the other ranks in the last micro-batch of a step only."""


@final
class Replicas(_Dealt):
    """Every rank holds the whole model, wrapped by DistributedDataParallel unless there is one rank alone."""

    def _exchanging(self, last: bool) -> contextlib.AbstractContextManager[None]:
        if last or not isinstance(self.forward, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.forward.no_sync()


@final
class Shards(_Dealt):
    """Every rank holds a piece of every parameter (FSDP2); a layer is whole only while it is computed."""

    @contextlib.contextmanager
    def _exchanging(self, last: bool) -> Iterator[None]:
        assert isinstance(self.model, FSDPModule)
        self.model.set_requires_gradient_sync(last)
        yield


@final
class Tree(Parallel):
    """Gradients are summed in one binary tree, the same whatever the number of ranks, which is a power of two.

    The leaves are the micro-batches of the whole step, cut without regard to the ranks. A node halves its leaves, the
    larger half to the left, until one is left. A rank computes the subtree of its own; the levels above are summed
    pair by pair (recursive doubling). So every sum is made of the same two numbers on any number of ranks.
    """

    def cut(self, lengths: np.ndarray, indices: np.ndarray, budget: int, without_padding: bool = False) -> list[Part]:
        cuts = micro_batches(lengths, indices, budget, without_padding)
        leaves = [Part(place, part) for place, part in enumerate(cuts)]
        own = self._below(leaves, self.world.rank)
        most = len(self._below(leaves, 0))
        return own + [Part(0, indices[:1], idle=True)] * (most - len(own))

    def backward(self, parts: Sequence[Part], loss: Loss, scaler: torch.amp.GradScaler) -> Tensor:
        own = [part for part in parts if not part.idle]
        # Zeros change no bit of what they are added to.
        sums = self._sum(own, loss, scaler) if own else self._take(torch.zeros((), device=self.world.device))
        for _ in parts[len(own) :]:
            self.stop_if_asked()
        width = 1
        while width < self.world.size:
            sums = self._exchange(sums, self.world.rank ^ width)
            width *= 2
        whole, used, *gradients = sums
        for parameter, gradient, count in zip(self._trained(), gradients, used.tolist(), strict=True):
            # What nobody used has no gradient, and no decay.
            parameter.grad = gradient if count else None
        return whole

    def _below(self, leaves: list[Part], rank: int) -> list[Part]:
        """The leaves below a rank's node."""
        width = self.world.size
        while width > 1:
            width //= 2
            half = (len(leaves) + 1) // 2
            leaves = leaves[half:] if rank & width else leaves[:half]
        return leaves

    def _sum(self, parts: Sequence[Part], loss: Loss, scaler: torch.amp.GradScaler) -> list[Tensor]:
        """Loss and gradients, summed over the leaves of a node."""
        if len(parts) == 1:
            self.stop_if_asked()
            share = loss(parts[0])
            scaler.scale(share).backward()
            return self._take(share.detach())
        half = (len(parts) + 1) // 2
        left = self._sum(parts[:half], loss, scaler)
        torch._foreach_add_(left, self._sum(parts[half:], loss, scaler))
        return left

    def _take(self, loss: Tensor) -> list[Tensor]:
        """Of a leaf: its loss, whether it used each parameter (0 or 1), and the gradients, which leave those."""
        used = [float(parameter.grad is not None) for parameter in self._trained()]
        taken = [loss, torch.tensor(used, device=self.world.device)]
        for parameter in self._trained():
            taken.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
            parameter.grad = None
        return taken

    def _exchange(self, sums: list[Tensor], partner: int) -> list[Tensor]:
        """The sum of both ranks' tensors. It is the same on both, as a + b and b + a have the same bits."""
        ours = torch.cat([tensor.reshape(-1) for tensor in sums])
        theirs = torch.empty_like(ours)
        works = dist.batch_isend_irecv([dist.P2POp(dist.isend, ours, partner), dist.P2POp(dist.irecv, theirs, partner)])
        for work in works:
            work.wait()
        ours += theirs
        split = ours.split([tensor.numel() for tensor in sums])
        return [flat.view_as(tensor) for flat, tensor in zip(split, sums, strict=True)]
