import numpy as np
import pytest

from pipeline.metrics.ngrams import NGrams

START = 4  # the size of the vocabulary
TEXT = np.array([0, 1, 0, 1, 0, 2, 0, 1])


def contexts(order: int) -> np.ndarray:
    padded = np.concatenate([np.full(order - 1, START), TEXT])
    found = np.empty((len(TEXT), order - 1), np.int64)
    for place in range(order - 1):
        found[:, place] = padded[place : place + len(TEXT)]
    return found


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_probabilities_after_any_context_sum_to_one(order: int) -> None:
    grams = NGrams.fit(contexts(order), TEXT, START)
    for context in ([0, 1], [1, 0], [3, 3], [START, START], [2, 0]):
        seen = np.tile(np.array(context[: order - 1], np.int64), (START, 1))
        assert grams.probabilities(seen, np.arange(START)).sum() == pytest.approx(1)


def test_single_tokens_are_smoothed_with_all_alike() -> None:
    found = NGrams.fit(contexts(1), TEXT, START).probabilities(np.empty((4, 0), np.int64), np.arange(4))
    # 8 tokens of 3 kinds; the share 3 / 11 goes to all four.
    assert found == pytest.approx([(4 + 3 / 4) / 11, (3 + 3 / 4) / 11, (1 + 3 / 4) / 11, (3 / 4) / 11])


def test_a_seen_context_is_smoothed_with_the_shorter_one() -> None:
    shorter = NGrams.fit(contexts(1), TEXT, START).probabilities(np.empty((1, 0), np.int64), np.array([1]))[0]
    # After 0 came 1 three times and 2 once: two kinds.
    found = NGrams.fit(contexts(2), TEXT, START).probabilities(np.array([[0]]), np.array([1]))[0]
    assert found == pytest.approx((3 + 2 * shorter) / 6)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_best_token_is_the_most_probable_of_all(order: int) -> None:
    rng = np.random.default_rng(order)
    text = rng.integers(0, 6, 200)
    before = rng.integers(0, 8, (200, order - 1))
    grams = NGrams.fit(before, text, 7)
    asked = rng.integers(0, 8, (40, order - 1))
    best = grams.best(asked)
    for context, token in zip(asked, best, strict=True):
        every = grams.probabilities(np.tile(context, (7, 1)), np.arange(7))
        assert every[token] == pytest.approx(every.max())


def test_what_repeats_is_predicted_better_by_longer_contexts() -> None:
    text = np.tile([0, 1, 2, 1], 50)
    losses = []
    for order in (1, 2, 3):
        before = np.stack([np.roll(text, place) for place in range(2, 0, -1)], axis=1)[:, 3 - order :]
        losses.append(-np.log(NGrams.fit(before, text, 5).probabilities(before, text)).mean())
    assert losses[0] > losses[1] > losses[2]
