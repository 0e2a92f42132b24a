import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from pipeline.data.packing import NO_TARGET
from pipeline.metrics import language

torch.manual_seed(0)
LOGITS = torch.randn(3, 5, 7)
LABELS = torch.randint(0, 7, (3, 5))
LABELS[0, 2:] = NO_TARGET
LABELS[2] = NO_TARGET


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_is_over_the_targets_alone(smoothing: float) -> None:
    wanted = LABELS != NO_TARGET
    mean = functional.cross_entropy(LOGITS[wanted], LABELS[wanted], label_smoothing=smoothing)
    found = language.summed(LOGITS.bfloat16().float(), LABELS, smoothing)
    assert language.summed(LOGITS, LABELS, smoothing).item() == pytest.approx(mean.item() * 7, rel=1e-6)
    assert found.dtype == torch.float32


def test_examples_without_targets_have_no_loss() -> None:
    found = language.by_example(LOGITS, LABELS)
    assert found["targets"].tolist() == [2, 5, 0]
    assert found["loss"][2] == 0
    assert found["right"][2] == 0
    assert found["loss"].sum().item() == pytest.approx(language.summed(LOGITS, LABELS).item(), rel=1e-6)
    assert found["right"][1] == (LOGITS[1].argmax(dim=-1) == LABELS[1]).sum()


def test_a_row_is_the_sum_of_its_examples() -> None:
    found = {"loss": np.array([1.0, 2.5, 4.0], np.float32), "targets": np.array([1, 2, 3])}
    rows = language.by_row(found, np.array([2, 0, 2]), 3)
    assert rows["loss"].tolist() == [2.5, 0, 5]
    assert rows["targets"].tolist() == [2, 0, 4]
    assert rows["targets"].dtype == np.int64


def test_scores_of_a_uniform_model_are_known() -> None:
    texts = ["ab", "äöü", ""]
    sizes = language.utf8_bytes(texts)
    assert sizes.tolist() == [2, 6, 0]
    predictions = {"loss": math.log(16) * np.array([2, 4, 0]), "targets": np.array([2, 4, 0]), "bytes": sizes}
    scores = language.scores(predictions)
    assert scores == pytest.approx({"perplexity": 16, "bits_per_byte": 6 * 4 / 8, "loss": math.log(16)})
    nothing = {name: values[2:] for name, values in predictions.items()}
    assert language.scores(nothing) == pytest.approx(dict.fromkeys(scores, math.nan), nan_ok=True)


def test_a_row_without_targets_has_no_score_and_is_none_of_the_others() -> None:
    some = {"loss": np.array([4.0, 0.0]), "targets": np.array([2, 0]), "bytes": np.array([8, 100])}
    assert language.surprise(some) == pytest.approx([2.0, math.nan], nan_ok=True)
    assert language.scores(some) == language.scores({name: values[:1] for name, values in some.items()})
    rows = pa.table({"id": ["a", "b"]})
    assert [row[0] for row in language.most_surprising(rows, ["one", "two"], some, 5).rows] == ["a"]


def test_perplexity_has_no_end() -> None:
    assert language.perplexity(1e6) == math.inf


def test_the_rows_that_surprise_most_come_first() -> None:
    rows = pa.table({"id": ["x.csv:2", "x.csv:3", "x.csv:4"]})
    predictions = {"loss": np.array([2.0, 9.0, 3.0]), "targets": np.array([2, 3, 1])}
    table = language.most_surprising(rows, ["one", "two " * 200, "three"], predictions, 2)
    assert [row[0] for row in table.rows] == ["x.csv:3", "x.csv:4"]
    assert table.rows[0][1] == pytest.approx(np.exp(3.0))
    assert len(str(table.rows[0][3])) <= 400
    assert [column.is_text for column in table.columns] == [False, False, False, True]
