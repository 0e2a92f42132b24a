"""A process computes on what the params say: device, threads, precision, and deterministic algorithms."""

from collections.abc import Iterator

import pytest
import torch

from pipeline.params import Hardware
from pipeline.world import World


@pytest.fixture(autouse=True)
def settings_of_before() -> Iterator[None]:
    """Other tests of this process keep their threads and algorithms."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_are_those_of_the_params(threads: int) -> None:
    world = World.start(Hardware(num_threads=threads, use_cpu=True), "fp32")
    assert torch.get_num_threads() == threads
    assert world.device.type == "cpu"
    assert world.describe() == f"cpu, {threads} threads"


def test_algorithms_are_deterministic() -> None:
    torch.use_deterministic_algorithms(False)
    World.start(Hardware(use_cpu=True), "fp32")
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("use_cpu", "device"), [(False, "cuda"), (True, "cpu")])
def test_a_gpu_is_used_unless_the_params_keep_off_it(
    monkeypatch: pytest.MonkeyPatch, use_cpu: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")  # as where each task of SLURM is shown a GPU of its own
    found = World.start(Hardware(use_cpu=use_cpu), "fp32").device
    assert (found.type, found.index or 0) == (device, 0)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_the_precision_is_that_of_autocast(precision: str, dtype: torch.dtype) -> None:
    world = World(torch.device("cpu"), precision)
    layer = torch.nn.Linear(2, 2)
    with world.autocast():
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32
