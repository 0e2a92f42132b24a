"""The batch plan is a pure function of (seed, step); micro-batches are a cut of a step, and nothing else."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipeline.data.batches import BatchPlan, level, micro_batches, shares
from tests.conftest import REPOSITORY


def epoch(plan: BatchPlan, number: int) -> list[int]:
    first = number * plan.steps_per_epoch
    return np.concatenate([plan.indices(first + step) for step in range(plan.steps_per_epoch)]).tolist()


# Which examples a step sees


@pytest.mark.parametrize(("examples", "size"), [(10, 4), (12, 4), (1, 4), (5, 1), (3, 100)])
def test_every_epoch_sees_every_example_once(examples: int, size: int) -> None:
    plan = BatchPlan(examples, size, seed=1)
    for number in range(3):
        assert sorted(epoch(plan, number)) == list(range(examples))


def test_only_the_last_batch_of_an_epoch_may_be_smaller() -> None:
    plan = BatchPlan(10, 4, seed=1)
    assert [len(plan.indices(step)) for step in range(6)] == [4, 4, 2, 4, 4, 2]


def test_the_order_differs_by_epoch_and_by_seed() -> None:
    orders = [epoch(BatchPlan(50, 8, seed), number) for seed in (0, 1, 2**32 - 1) for number in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 9


def test_the_order_of_an_epoch_does_not_depend_on_the_size_of_a_batch() -> None:
    assert epoch(BatchPlan(50, 8, 3), 2) == epoch(BatchPlan(50, 50, 3), 2)


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    plan = BatchPlan(30, 4, seed=5)
    forwards = [plan.indices(step).tolist() for step in range(40)]
    backwards = [BatchPlan(30, 4, seed=5).indices(step).tolist() for step in reversed(range(40))]
    assert forwards == backwards[::-1]


def test_the_plan_is_written_in_stone() -> None:
    # A change here changes every experiment: no resume and no comparison with an earlier run would hold.
    plan = BatchPlan(10, 4, seed=42)
    assert [plan.indices(step).tolist() for step in range(4)] == [[5, 6, 0, 7], [3, 2, 4, 9], [1, 8], [0, 8, 7, 4]]


def test_a_fresh_process_has_the_same_plan() -> None:
    code = (
        "import json; from pipeline.data.batches import BatchPlan; plan = BatchPlan(1000, 64, 7);"
        "print(json.dumps([plan.indices(step).tolist() for step in (0, 15, 16, 100)]))"
    )
    fresh = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    plan = BatchPlan(1000, 64, 7)
    assert json.loads(fresh.stdout) == [plan.indices(step).tolist() for step in (0, 15, 16, 100)]


def test_nobody_can_change_the_plan_for_others() -> None:
    indices = BatchPlan(10, 4, seed=1).indices(0)
    with pytest.raises(ValueError, match="read-only"):
        indices[0] = 3


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"),
    [(1, None, 3), (2, None, 6), (0.5, None, 2), (0.01, None, 1), (1.5, None, 5), (7, 4, 4), (1, 100, 100)],
)
def test_the_steps_of_a_training(epochs: float, max_steps: int | None, steps: int) -> None:
    assert BatchPlan(10, 4, seed=1).steps(epochs, max_steps) == steps


# How a step is cut


def drawn_step(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Lengths of all examples, the examples of a step, and a budget."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 60, 200).astype(np.int32)
    return lengths, draw.permutation(200)[: draw.integers(1, 100)], int(draw.integers(1, 300))


@pytest.mark.parametrize("seed", range(20))
def test_micro_batches_are_a_cut_of_the_step(seed: int) -> None:
    lengths, indices, budget = drawn_step(seed)
    cuts = micro_batches(lengths, indices, budget)
    assert sorted(np.concatenate(cuts)) == sorted(indices)
    assert all(len(cut) for cut in cuts)
    for cut in cuts:
        assert len(cut) == 1 or lengths[cut].max() * len(cut) <= budget
    in_order = lengths[np.concatenate(cuts)]
    assert all(in_order[:-1] >= in_order[1:])
    for cut in cuts[:-1]:
        assert (len(cut) + 1) * lengths[cut].max() > budget, "one more would have fitted"


@pytest.mark.parametrize("seed", range(20))
def test_without_padding_the_real_tokens_count_unless_there_would_be_much_padding(seed: int) -> None:
    lengths, indices, budget = drawn_step(seed)
    cuts = micro_batches(lengths, indices, budget, without_padding=True)
    assert sorted(np.concatenate(cuts)) == sorted(indices)

    def fits(count: int, longest: int, real: int) -> bool:
        return real <= budget and count * longest <= 4 * budget

    sizes = [lengths[cut] for cut in cuts]
    for size, following in zip(sizes, [*sizes[1:], None], strict=True):
        assert len(size) == 1 or fits(len(size), size.max(), size.sum())
        if following is not None:
            assert not fits(len(size) + 1, size.max(), size.sum() + following[0]), "one more would have fitted"


def test_one_example_may_be_longer_than_the_budget() -> None:
    lengths = np.array([5, 500, 5], np.int32)
    assert [cut.tolist() for cut in micro_batches(lengths, np.arange(3), 10)] == [[1], [0, 2]]


def test_the_cut_does_not_depend_on_the_order_of_the_examples() -> None:
    lengths = np.array([3, 3, 3, 8, 8, 1], np.int32)
    cuts = [
        [cut.tolist() for cut in micro_batches(lengths, indices, 9)] for indices in (np.arange(6), np.arange(6)[::-1])
    ]
    assert cuts[0] == cuts[1] == [[3], [4], [0, 1, 2], [5]]


def test_a_budget_beyond_32_bits_is_no_surprise() -> None:
    lengths = np.full(5000, 1_000_000, np.int32)
    assert len(micro_batches(lengths, np.arange(5000), 10**12)) == 1


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_get_about_the_same_tokens_and_every_example_once(ranks: int) -> None:
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(3.4, 0.7, 6400).astype(np.int64), 3, 512)  # as ragged as texts are
    plan = BatchPlan(len(lengths), 64, seed=1)
    off = []
    for step in range(plan.steps_per_epoch):
        dealt = shares(lengths, plan.indices(step), ranks)
        assert sorted(np.concatenate(dealt)) == sorted(plan.indices(step))
        tokens = [int(lengths[share].sum()) for share in dealt]
        off.append(max(tokens) / (sum(tokens) / ranks) - 1)
    assert np.mean(off) <= 0.01


def test_fewer_examples_than_ranks_leave_some_without() -> None:
    assert sorted(map(len, shares(np.array([5, 9]), np.array([0, 1]), 4))) == [0, 0, 1, 1]


def test_every_rank_gets_as_many_micro_batches() -> None:
    cuts = [[np.arange(4), np.arange(4, 5), np.arange(5, 6)], [np.arange(6, 9)], []]
    examples = [sorted(np.concatenate(cut).tolist()) if cut else [] for cut in cuts]
    leveled = level(cuts)
    assert [len(cut) for cut in leveled] == [3, 3, 3]
    assert [sorted(np.concatenate(cut).tolist()) for cut in leveled] == examples
    assert [len(part) for part in leveled[1]] == [1, 1, 1]
