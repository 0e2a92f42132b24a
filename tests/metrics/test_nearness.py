"""Ranks and losses of vectors, against whole matrices and plain formulas."""

import numpy as np
import pytest
import torch

from pipeline.metrics import nearness


def units(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_ranks_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "_AT_ONCE", 7)
    anchors, positives = units(40, 0), units(40, 1)
    ranks, nearest = nearness.ranks(nearness.cosines(anchors, positives), [f"text {row}" for row in range(40)])
    order = np.argsort(-(anchors @ positives.T), axis=1)
    assert ranks.tolist() == [order[row].tolist().index(row) + 1 for row in range(40)]
    assert nearest.tolist() == order[:, 0].tolist()
    assert 1 < ranks.max() <= 40


def test_who_finds_everything_alike_is_never_right() -> None:
    alike = np.ones((5, 3), np.float32)
    ranks, _ = nearness.ranks(nearness.cosines(alike, alike), list("abcde"))
    assert ranks.tolist() == [5] * 5


def test_the_same_text_in_another_row_is_no_other_text() -> None:
    vectors = units(3, 0)[[0, 1, 0, 2]]
    same = nearness.ranks(nearness.cosines(vectors, vectors), ["One  text", "two", "one text", "three"])[0]
    assert same.tolist() == [1, 1, 1, 1]
    other = nearness.ranks(nearness.cosines(vectors, vectors), ["one", "two", "four", "three"])[0]
    assert other.tolist() == [2, 1, 2, 1]


def test_the_loss_is_that_of_a_softmax_over_all_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "_AT_ONCE", 3)
    vectors, texts = units(30, 0).reshape(10, 3, 8), np.arange(30).reshape(10, 3)
    candidates = vectors[:, 1:].astype(np.float64).transpose(1, 0, 2).reshape(20, 8)
    powers = np.exp(20.0 * vectors[:, 0].astype(np.float64) @ candidates.T)
    plain = [-np.log(powers[row, row] / powers[row].sum()) for row in range(10)]
    assert nearness.ranking_losses(vectors, texts) == pytest.approx(plain, rel=1e-5)
    found = nearness.ranking_loss(torch.from_numpy(vectors), torch.from_numpy(texts))
    assert found.numpy() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("texts", "others"),
    [
        ([[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[1, 2], [0, 2], [0, 1]]),
        ([[0, 1, 2], [3, 1, 5], [6, 7, 1]], [[2], [2], [0, 1]]),  # the same positive, once as a negative as well
        ([[0, 1, 2], [0, 4, 5], [6, 7, 8]], [[2], [2], [0, 1]]),  # two positives of the same text
        ([[0, 1, 2], [1, 0, 5], [6, 7, 8]], [[2], [2], [0, 1]]),  # each row the other way round
    ],
)
def test_what_belongs_to_a_text_as_well_is_no_negative(texts: list[list[int]], others: list[list[int]]) -> None:
    vectors = torch.from_numpy(units(9, 0).reshape(3, 3, 8)).double()
    same = {(row, column): texts[row][column] for row in range(3) for column in (1, 2)}
    found = nearness.ranking_loss(vectors, torch.tensor(texts))
    for row in range(3):
        of_negatives = [place for place in same if place[1] == 2 and same[place] not in texts[row][:2]]
        kept = [(other, 1) for other in (row, *others[row])] + of_negatives
        cosines = torch.stack([vectors[row, 0] @ vectors[place] for place in kept])
        assert found[row].item() == pytest.approx(-(20 * cosines).log_softmax(dim=0)[0].item(), rel=1e-9)


def test_texts_without_words_have_no_weights() -> None:
    assert nearness.tfidf(["?!", ""], ["one"]) is None
    weights = nearness.tfidf(["one two", "three"], ["two", "one two"], ["none"])
    assert weights is not None
    asked, none = weights
    assert (asked @ asked.T).diagonal() == pytest.approx([1, 1])
    assert none.sum() == 0
