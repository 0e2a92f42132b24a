from itertools import chain

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score

from pipeline.metrics.entities import Entity, by_type, counts, entities, precision_recall_f1

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def drawn(rows: int, seed: int) -> list[list[str]]:
    """Tags in any order: also such that begin an entity with I-."""
    draw = np.random.default_rng(seed)
    return [draw.choice(TAGS, draw.integers(0, 12), p=[0.4, 0.15, 0.15, 0.15, 0.15]).tolist() for _ in range(rows)]


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_rows_are_what_seqeval_says_of_all_of_them(seed: int) -> None:
    actual = drawn(200, seed)
    draw = np.random.default_rng(seed + 100)
    predicted = [[tag if draw.random() < 0.8 else str(draw.choice(TAGS)) for tag in tags] for tags in actual]
    right, said, there = counts(actual, predicted).sum(axis=0).tolist()
    theirs = [score(actual, predicted) for score in (precision_score, recall_score, f1_score)]
    assert 0 < right < min(said, there)
    assert precision_recall_f1(right, said, there) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("found", [(0, 0, 5), (0, 5, 0), (0, 0, 0)])
def test_what_is_not_defined_is_0_as_in_seqeval(found: tuple[int, int, int]) -> None:
    _, said, there = found
    actual, predicted = ([[*(["B-PER"] * size), *(["O"] * (5 - size))]] for size in (there, said))
    theirs = [score(actual, predicted, zero_division=0) for score in (precision_score, recall_score, f1_score)]
    assert precision_recall_f1(*found) == tuple(theirs) == (0, 0, 0)


def test_an_entity_is_right_if_its_type_and_both_ends_are() -> None:
    actual = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]
    assert entities(actual) == [Entity("PER", 0, 1), Entity("LOC", 3, 3), Entity("LOC", 4, 4)]
    too_short = ["B-PER", "O", "O", "B-LOC", "B-LOC"]
    joined = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]
    other_type = ["B-LOC", "I-LOC", "O", "B-LOC", "B-LOC"]
    assert counts([actual] * 3, [too_short, joined, other_type]).tolist() == [[2, 3, 3], [1, 2, 3], [2, 3, 3]]


def test_the_scores_of_a_type_are_those_of_its_entities_alone() -> None:
    actual, predicted = drawn(100, 1), drawn(100, 2)
    predicted = [list(chain(tags, ["O"] * 12))[: len(those)] for tags, those in zip(predicted, actual, strict=True)]
    found = by_type(actual, predicted)
    assert [of.support for of in found] == sorted((of.support for of in found), reverse=True)
    for of in found:
        own, theirs = (
            [[tag if tag.endswith(of.type) else "O" for tag in tags] for tags in some] for some in (actual, predicted)
        )
        right, said, there = counts(own, theirs).sum(axis=0).tolist()
        assert (of.precision, of.recall, of.f1) == pytest.approx(precision_recall_f1(right, said, there))
        assert of.support == there
