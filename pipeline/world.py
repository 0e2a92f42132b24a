"""What a process computes on: its device, its threads, its precision."""

import contextlib
from dataclasses import dataclass
from typing import Self

import torch

from pipeline.params import Hardware

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class World:
    """One process and its device.

    Attributes:
        device: what it computes on.
        precision: fp32, or the type of autocast: bf16 or fp16.
    """

    device: torch.device
    precision: str

    @classmethod
    def start(cls, hardware: Hardware, precision: str) -> Self:
        """Set the threads and the algorithms of this process, and choose its device: CUDA, MPS or CPU."""
        torch.set_num_threads(hardware.num_threads)
        torch.use_deterministic_algorithms(True)
        # Nothing here reads memory that it has not written; filling it first would only cost time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        name = "cpu"
        if not hardware.use_cpu:
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return cls(torch.device(name), precision)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision of a forward pass."""
        dtype = _DTYPES[self.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def describe(self) -> str:
        """The device in words, the same on every run of one machine."""
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name())
        return f"{self.device.type}, {torch.get_num_threads()} threads"
