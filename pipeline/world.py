"""What a process computes on, and what it knows of the others: device, threads, precision, ranks."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist

from pipeline.params import Hardware

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The first rank may write files for a long time while the others wait.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """One process, its device, and its place among the others.

    Attributes:
        device: what it computes on.
        precision: fp32, or the type of autocast: bf16 or fp16.
        rank: which of the processes this is, from 0.
        size: how many there are.
    """

    device: torch.device
    precision: str
    rank: int = 0
    size: int = 1

    @classmethod
    def start(cls, hardware: Hardware, precision: str) -> Self:
        """Set the threads and the algorithms of this process, and choose its device: CUDA, MPS or CPU."""
        torch.set_num_threads(hardware.num_threads)
        torch.use_deterministic_algorithms(hardware.deterministic)
        # Nothing here reads memory that it has not written; filling it first would only cost time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        name = "cpu"
        if not hardware.use_cpu:
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        device = torch.device(name)
        if name == "cuda":
            # Where each process is shown a GPU of its own, that is number 0 in all of them.
            place = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
            device = torch.device("cuda", place)
            torch.cuda.set_device(device)
        return cls(device, precision)

    @classmethod
    @contextlib.contextmanager
    def join(cls, hardware: Hardware, precision: str) -> Iterator[Self]:
        """`start`, and meet the other ranks if the environment names any (RANK, WORLD_SIZE, as torchrun sets them)."""
        alone = cls.start(hardware, precision)
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield alone
            return
        # Flags and results travel by way of the host, gradients by way of the device.
        backend = "cpu:gloo,cuda:nccl" if alone.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
        yield cls(alone.device, precision, dist.get_rank(), dist.get_world_size())
        # Not after an error: NCCL would wait for ranks that hang in an exchange with this one. The process ends anyway.
        dist.destroy_process_group()

    @property
    def dtype(self) -> torch.dtype:
        """What a forward pass computes in, where that is safe."""
        return _DTYPES[self.precision]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision of a forward pass."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any rank; every rank must ask."""
        if self.size == 1:
            return flag
        raised = torch.tensor([int(flag)])
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised.item())

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of the ranks' tensors, in place; every rank must give one."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def tell(self, value: Any) -> Any:
        """The first rank's value, on every rank. It travels as a pickle between our own processes."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank. They travel as pickles between our own processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.any(False)

    def describe(self) -> str:
        """The device in words, the same on every run of one machine."""
        if self.device.type == "cuda":
            name = str(torch.cuda.get_device_name())
        else:
            name = f"{self.device.type}, {torch.get_num_threads()} threads"
        return name if self.size == 1 else f"{self.size} x {name}"
