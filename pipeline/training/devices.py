"""How many processes train, and on which devices of this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import project
from pipeline.params import Hardware
from pipeline.training.cluster import placed
from pipeline.training.lease import lease, visible_devices


@contextmanager
def taken(hardware: Hardware) -> Iterator[tuple[int, dict[str, str]]]:
    """The devices that `hardware.devices` asks for, leased while the block runs.

    `auto` takes every GPU that this process sees, but one in a queued DVC experiment, beside which others run; on a CPU
    it is one process. A process that torchrun or SLURM started uses what it was given.

    Yields:
        How many processes to start, and what to set in their environment.

    Raises:
        UserError: there are fewer devices.
    """
    if placed(os.environ) is not None:
        yield 1, {}
        return
    gpus = [] if hardware.use_cpu else visible_devices(os.environ, _gpus())
    queued = project.home() != Path.cwd().resolve()
    wanted = hardware.devices if hardware.devices != "auto" else 1 if queued or not gpus else len(gpus)
    if not gpus:
        yield wanted, {}
        return
    with lease(wanted, gpus) as devices:
        yield wanted, {"CUDA_VISIBLE_DEVICES": ",".join(devices)}


def _gpus() -> int:
    # Imported here: torch takes seconds, and a process on a CPU asks for none.
    import torch

    return torch.cuda.device_count()
