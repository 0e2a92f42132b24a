"""Baselines that say which of two texts is preferred."""

import numpy as np

from pipeline.metrics.preferences import linear, longer


def test_the_longer_text_is_preferred_and_a_coin_decides_between_equals() -> None:
    assert longer(["long", "s"], ["one", "longer"]).tolist() == [True, False]
    equal = ["same"] * 400
    coins = longer(equal, equal)
    assert 150 < coins.sum() < 250
    assert np.array_equal(coins, longer(equal, equal))


def test_a_linear_reward_learns_words_and_their_order() -> None:
    known = [f"good answer {row} in order" for row in range(20)], [f"answer good {row} order in" for row in range(20)]
    found = linear(*known, ["a good answer", "answer good"], ["an answer good", "good answer"])
    assert found is not None
    assert found.tolist() == [True, False]


def test_without_words_nothing_is_learned() -> None:
    assert linear(["!"], ["?"], ["a"], ["b"]) is None
