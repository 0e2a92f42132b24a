"""The learning rate of every step by hand, and AdamW as torch's own, with decay where it belongs."""

import math

import pytest
import torch

from pipeline.params import Train
from pipeline.training.optimizer import adamw, learning_rate, warmup_steps

SIN45 = math.sqrt(0.5)


def rates(steps: int, **settings: object) -> list[float]:
    train = Train.model_validate({"learning_rate": 1.0, **settings})
    return [learning_rate(train, step, steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr_scheduler_type": "constant", "warmup_steps": 0}, [1, 1, 1, 1, 1]),
        ({"lr_scheduler_type": "constant", "warmup_steps": 2}, [0.5, 1, 1, 1, 1]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 0}, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 1}, [1, 1, 0.75, 0.5, 0.25]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 0.2}, [1, 1, 0.75, 0.5, 0.25]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 3}, [1 / 3, 2 / 3, 1, 1, 0.5]),
        ({"lr_scheduler_type": "linear", "warmup_steps": 20}, [0.05, 0.1, 0.15, 0.2, 0.25]),
        ({"lr_scheduler_type": "cosine", "warmup_steps": 1}, [1, 1, (1 + SIN45) / 2, 0.5, (1 - SIN45) / 2]),
    ],
)
def test_the_learning_rate_of_every_step(settings: dict[str, object], expected: list[float]) -> None:
    assert rates(5, **settings) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.1, 0.99, 1, 50, 1000])
def test_every_step_learns_and_none_more_than_the_learning_rate(kind: str, warmup: float) -> None:
    found = rates(100, lr_scheduler_type=kind, warmup_steps=warmup, learning_rate=3e-4)
    assert all(0 < rate <= 3e-4 for rate in found)
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"), [(0, 25, 0), (0.1, 25, 3), (0.1, 20, 2), (0.99, 100, 99), (1, 25, 1), (7, 25, 7)]
)
def test_warmup_is_a_fraction_below_one_and_a_number_from_one_on(warmup: float, steps: int, expected: int) -> None:
    assert warmup_steps(Train(warmup_steps=warmup), steps) == expected


class Network(torch.nn.Module):
    """A matrix, a bias, a norm, an embedding, and a matrix that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.nn.Embedding(7, 4)
        self.linear = torch.nn.Linear(4, 3)
        self.norm = torch.nn.LayerNorm(3)
        self.frozen = torch.nn.Linear(3, 3)
        self.frozen.requires_grad_(False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.norm(self.linear(self.embedding(ids)))).square().sum()


def test_twenty_steps_are_those_of_plain_adamw() -> None:
    train = Train(learning_rate=0.01, weight_decay=0.1, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=0.1)
    ours, plain = Network(), Network()
    first = adamw(ours, train)
    matrices = [plain.embedding.weight, plain.linear.weight]
    vectors = [plain.linear.bias, plain.norm.weight, plain.norm.bias]
    second = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.8, 0.95),
        eps=0.1,
        foreach=False,
        fused=False,
    )
    ids = torch.tensor([0, 1, 2, 3, 3, 6])
    for step in range(20):
        for model, optimizer in ((ours, first), (plain, second)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(train, step, 20)
            optimizer.zero_grad()
            model(ids).backward()
            optimizer.step()
    for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, msg=name)
        assert torch.equal(one, dict(Network().named_parameters())[name]) == name.startswith("frozen")


def test_biases_and_norms_do_not_decay() -> None:
    model = Network()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = adamw(model, Train(learning_rate=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    for name, parameter in model.named_parameters():
        decays = name in ("embedding.weight", "linear.weight")
        torch.testing.assert_close(parameter.data, before[name] * (0.95 if decays else 1.0), msg=name)


def test_a_flagged_step_changes_neither_weights_nor_state() -> None:
    model = Network()
    optimizer = adamw(model, Train())
    ids = torch.tensor([0, 1])
    model(ids).backward()
    optimizer.step()
    weights = [parameter.clone() for parameter in model.parameters()]
    state = [value.clone() for values in optimizer.state.values() for value in values.values()]
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(weights, model.parameters(), strict=True))
    after = [value for values in optimizer.state.values() for value in values.values()]
    assert all(torch.equal(one, other) for one, other in zip(state, after, strict=True))
