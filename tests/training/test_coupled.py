"""Two passes over micro-batches give the gradient of one graph over all of them, dropout included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from pipeline.data.store import Store
from pipeline.params import Hardware, Train
from pipeline.tasks.base import Batch, Collation
from pipeline.training import dropout
from pipeline.training.loop import loss_of
from pipeline.training.parallel import Parallel, Part, Preempted, Replicas, Tree
from pipeline.world import World

STEP, SEED, WIDTH = 3, 42, 6
INDICES = np.array([9, 2, 7, 4, 0, 5])
PARTS = [Part(0, np.array([7, 0])), Part(1, np.array([5, 9, 2])), Part(2, np.array([4]))]


class Network(nn.Module):
    is_activation_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3), nn.Linear(WIDTH, WIDTH))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(numbers)
        return found


@dataclass(frozen=True)
class Contrast:
    """As much of a task as the loop asks for: the loss hangs on all pairs of examples, and on their order."""

    couples_examples: bool = True
    predicts_tokens: bool = False

    def count_targets(self, examples: Mapping[str, Any], settings: Train) -> float:
        return float(len(examples["index"]))

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        targets = {"weight": torch.from_numpy(examples["weight"])}
        return Batch({"numbers": torch.tensor(np.stack(examples["numbers"]))}, targets)

    def vectors(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return outputs

    def coupled_loss(self, vectors: torch.Tensor, targets: Mapping[str, torch.Tensor], _: Train) -> torch.Tensor:
        own = torch.arange(len(vectors)).flip(0)
        losses = nn.functional.cross_entropy(vectors @ vectors.T, own, reduction="none")
        return (losses * targets["weight"]).sum()


@pytest.fixture
def store() -> Store:
    draw = np.random.default_rng(0)
    numbers = pa.array(draw.normal(size=(10, WIDTH)).astype(np.float32).tolist(), pa.list_(pa.float32()))
    lengths = pa.array([WIDTH] * 10, pa.int32())
    weight = pa.array(draw.random(10), pa.float32())
    return Store(pa.table({"numbers": numbers, "length": lengths, "full_length": lengths, "weight": weight}))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def in_one_graph(network: Network, store: Store) -> tuple[float, torch.Tensor]:
    """Mean loss and gradient of the step by plain autograd."""
    vectors = torch.zeros(len(INDICES), WIDTH)
    places = {index: place for place, index in enumerate(INDICES.tolist())}
    for part in PARTS:
        batch = Contrast().collate(store.examples(part.indices), collation())
        with dropout.seeded(network, torch.device("cpu"), SEED, STEP, part.place):  # type: ignore[arg-type]
            vectors[[places[index] for index in part.indices.tolist()]] = network(**batch.inputs)
    targets = Contrast().collate(store.examples(INDICES), collation()).targets
    loss = Contrast().coupled_loss(vectors, targets, Train()) / len(INDICES)
    loss.backward()
    gradient = gradient_of(network)
    network.zero_grad()
    return loss.item(), gradient


def collation() -> Collation:
    return Collation(None, None)  # type: ignore[arg-type]


def gradient_of(network: Network) -> torch.Tensor:
    return parameters_to_vector([parameter.grad for parameter in network.parameters()])


def run(kind: type[Parallel], network: Network, store: Store, parts: list[Part], stops: Iterator[bool]) -> float:
    world = World.start(Hardware(use_cpu=True), "fp32")
    parallel = kind(network, network, world, lambda: next(stops))  # type: ignore[arg-type]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loss = loss_of(parallel, Contrast(), store, Train(seed=SEED), collation(), STEP, INDICES, parts)  # type: ignore[arg-type]
    return parallel.backward(parts, loss, scaler).item()


def never() -> Iterator[bool]:
    while True:
        yield False


@pytest.mark.parametrize("kind", [Replicas, Tree])
@pytest.mark.parametrize("idle", [[], [Part(0, INDICES[:1], idle=True)]])
def test_two_passes_are_as_one_graph(
    kind: type[Parallel], idle: list[Part], network: Network, store: Store, in_one_graph: tuple[float, torch.Tensor]
) -> None:
    loss, gradient = in_one_graph
    found = run(kind, network, store, PARTS + idle, never())
    assert found == pytest.approx(loss, rel=1e-5)
    assert (gradient_of(network) / 1024 - gradient).norm() <= 1e-5 * gradient.norm()


def test_another_dropout_is_another_gradient(
    network: Network, store: Store, in_one_graph: tuple[float, torch.Tensor]
) -> None:
    places = [Part(part.place + 1, part.indices) for part in PARTS]
    run(Replicas, network, store, places, never())
    gradient = in_one_graph[1]
    assert (gradient_of(network) / 1024 - gradient).norm() > 0.01 * gradient.norm()


@pytest.mark.parametrize("asked", [0, 2, 4])
def test_a_step_stops_in_either_pass(asked: int, network: Network, store: Store) -> None:
    stops = iter([False] * asked + [True])
    with pytest.raises(Preempted):
        run(Replicas, network, store, PARTS, stops)
    assert next(stops, None) is None
