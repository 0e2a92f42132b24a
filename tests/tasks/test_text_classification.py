"""Class weights, sets of labels, and what the probabilities of all labels are kept for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from pipeline.data.audit import audit
from pipeline.errors import UserError
from pipeline.evaluation.examples import keys_of
from pipeline.params import Data, Train
from pipeline.tasks.base import Batch
from pipeline.tasks.text_classification import MultiLabelClassification, TextClassification

LABELS = ("bad", "calm", "good")
PLAIN = Train(label_smoothing_factor=0.0)


def raw(labels: Sequence[Any], kind: pa.DataType | None = None, split: str = "train") -> pa.Table:
    rows = len(labels)
    ids = [f"{split}.jsonl:{row + 1}" for row in range(rows)]
    return pa.table({"id": ids, "text": [f"{split} {row}" for row in range(rows)], "label": pa.array(labels, kind)})


def outputs(rows: int, seed: int = 0, labels: int = 3) -> Any:
    return SimpleNamespace(logits=torch.randn(rows, labels, generator=torch.Generator().manual_seed(seed)) * 2)


def batch(labels: torch.Tensor) -> Batch:
    return Batch({}, {"labels": labels})


def as_arrays(found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in found.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [{"bad": 3.0, "good": 0.5}, "balanced"])
def test_the_weighted_loss_is_that_of_torch(weights: Any, smoothing: float) -> None:
    task = TextClassification(LABELS, label_rows=(5, 30, 65))
    settings = Train(class_weights=weights, label_smoothing_factor=smoothing)
    labels = np.random.default_rng(0).choice(3, 100, p=[0.05, 0.3, 0.65])
    expected = torch.tensor([3.0, 1.0, 0.5] if weights != "balanced" else [100 / 15, 100 / 90, 100 / 195])
    theirs = nn.CrossEntropyLoss(weight=expected, label_smoothing=smoothing)(
        outputs(100).logits, torch.from_numpy(labels)
    )
    ours = task.loss(outputs(100), batch(torch.from_numpy(labels)), settings)
    assert (ours / task.count_targets({"label": labels}, settings)).item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("kind", [TextClassification, MultiLabelClassification])
def test_a_weighted_step_is_the_sum_of_its_parts(kind: type[TextClassification]) -> None:
    task, settings = kind(LABELS), Train(class_weights={"bad": 3.0})
    ids: Any = np.arange(12) % 3 if kind is TextClassification else [np.arange(place % 4) for place in range(12)]
    dense = torch.tensor([[float(label in row) for label in range(3)] for row in ids]) if isinstance(ids, list) else ids
    losses, counts = [], []
    for places in (np.arange(12), np.arange(5), np.arange(5, 12)):
        part = SimpleNamespace(logits=outputs(12).logits[places])
        losses.append(task.loss(part, batch(torch.as_tensor(dense)[places]), settings).item())
        chosen = [ids[place] for place in places] if isinstance(ids, list) else ids[places]
        counts.append(task.count_targets({"label": chosen}, settings))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-6)
    assert counts[0] == pytest.approx(counts[1] + counts[2])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    rows = raw([0, 0, 0, 1, 2, 2], pa.int32())
    task = TextClassification(LABELS).seen(rows)
    assert isinstance(task, TextClassification)
    assert task.label_rows == (3, 1, 2)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=rows["label"].to_numpy())
    target = {"label": np.array([1])}
    assert task.count_targets(target, Train(class_weights="balanced")) == pytest.approx(theirs[1])


def test_a_weight_for_a_label_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"class_weights: 'god' is no label of the training rows. Did you mean 'good'"):
        TextClassification(LABELS).check_train(Train(class_weights={"god": 2.0}))
    TextClassification(LABELS).check_train(Train(class_weights={"good": 2.0}))


def test_auroc_is_that_of_scikit_learn_and_left_out_of_many_labels() -> None:
    labels = torch.arange(60) % 3
    task = TextClassification(LABELS)
    scores = task.scores(as_arrays(task.predict(outputs(60), batch(labels))))
    probabilities = outputs(60).logits.softmax(-1).numpy()
    assert scores["auroc"] == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-6)
    two = task = TextClassification(("bad", "good"))
    found = as_arrays(two.predict(outputs(60, labels=2), batch(labels % 2)))
    assert "probabilities" not in found
    theirs = metrics.roc_auc_score(labels % 2, outputs(60, labels=2).logits.softmax(-1)[:, 1])
    assert two.scores(found)["auroc"] == pytest.approx(theirs, abs=1e-6)
    many = TextClassification(tuple(f"label {place}" for place in range(21)))
    assert "auroc" not in many.scores(as_arrays(many.predict(outputs(60, labels=21), batch(labels))))
    with pytest.raises(UserError, match="auroc is left out with 21 labels; it is computed for up to 20"):
        many.check_train(Train(metric_for_best_model="auroc"))


def test_predictions_move_to_a_task_with_more_labels() -> None:
    task = TextClassification(LABELS)
    found = as_arrays(task.predict(outputs(9), batch(torch.arange(9) % 3)))
    wider = replace(task, labels=("new", *LABELS))
    moved = wider.from_columns(pa.table(task.columns(found)))
    assert np.array_equal(moved["target"], found["target"] + 1)
    assert np.array_equal(moved["probabilities"][:, 1:], found["probabilities"])
    assert not moved["probabilities"][:, 0].any()
    assert wider.scores(moved)["auroc"] == pytest.approx(task.scores(found)["auroc"])


SETS = [["good", "calm"], ["bad"], [], ["calm", "calm"], ["good"]]


def fitted(labels: Sequence[Any] = SETS) -> MultiLabelClassification:
    task = TextClassification.fit({"train": raw(labels)}, Data())
    assert isinstance(task, MultiLabelClassification)
    return task


def test_lists_of_labels_make_rows_with_their_ids() -> None:
    task = fitted()
    assert task.labels == LABELS
    assert task.rows(raw(SETS), Data())["label"].to_pylist() == [[1, 2], [0], [], [1], [2]]
    assert TextClassification.of_state(task.state()) == task
    assert task.head()[1]["problem_type"] == "multi_label_classification"
    assert fitted([[10], [9, 10], []]).labels == ("9", "10")
    empty = raw([[], []], pa.list_(pa.null()), "validation")
    assert task.rows(empty, Data())["label"].to_pylist() == [[], []]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"train": raw([["a"], None])}, "train.jsonl, line 2: the column 'label' is null. A row needs a list"),
        ({"train": raw([["a"], ["b", None]])}, "train.jsonl, line 2: the column 'label' is null"),
        ({"train": raw([[], []], pa.list_(pa.string()))}, "all of 2 training rows have no label in the column 'label'"),
        (
            {"train": raw(SETS), "test": raw([["good"], ["god"]], split="test")},
            "test.jsonl, line 2: the label 'god' in test never occurs in training. Did you mean 'good'",
        ),
        ({"train": raw(SETS), "test": raw(["good"], split="test")}, "'label' is 'good' .string., no list of labels"),
        ({"train": raw(["a", "b"]), "test": raw([["a"]], split="test")}, "a label is a word or a whole number"),
    ],
)
def test_wrong_lists_of_labels_name_the_row(tables: dict[str, pa.Table], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TextClassification.fit(tables, Data())


@pytest.mark.parametrize("weights", [None, {"bad": 3.0, "good": 0.5}])
def test_the_loss_of_sets_is_the_mean_over_all_decisions(weights: dict[str, float] | None) -> None:
    task, settings = MultiLabelClassification(LABELS), PLAIN.model_copy(update={"class_weights": weights})
    target = (torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    each = nn.BCEWithLogitsLoss(reduction="none")(outputs(20).logits, target)
    of_label = torch.tensor([3.0, 1.0, 0.5] if weights else [1.0, 1.0, 1.0])
    ids = [np.flatnonzero(row) for row in target.numpy()]
    count = task.count_targets({"label": ids}, settings)
    ours = task.loss(outputs(20), batch(target), settings).item() / count
    assert ours == pytest.approx(((each * of_label).sum() / (20 * of_label.sum())).item(), rel=1e-5)


def test_smoothing_of_sets_is_that_of_the_two_classes_no_and_yes() -> None:
    task, logits = MultiLabelClassification(("a",)), outputs(30, labels=1).logits
    target = (torch.arange(30) % 2).float()[:, None]
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    theirs = nn.CrossEntropyLoss(reduction="sum", label_smoothing=0.2)(both, target[:, 0].long())
    ours = task.loss(SimpleNamespace(logits=logits), batch(target), Train(label_smoothing_factor=0.2))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_scores_of_sets_are_those_of_scikit_learn() -> None:
    task = MultiLabelClassification(LABELS)
    target = (torch.rand(80, 3, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    found = as_arrays(task.predict(outputs(80), batch(target)))
    scores, predicted = task.scores(found), (outputs(80).logits > 0).numpy()
    truth = target.numpy() > 0
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert scores["f1_macro"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert scores["f1_micro"] == pytest.approx(metrics.f1_score(truth, predicted, average="micro"))
    probabilities = outputs(80).logits.sigmoid().numpy()
    assert scores["auroc"] == pytest.approx(metrics.roc_auc_score(truth, probabilities, average="macro"), abs=1e-6)
    assert scores["loss"] == pytest.approx(nn.BCEWithLogitsLoss()(outputs(80).logits, target).item(), rel=1e-5)
    sure = np.where(predicted, probabilities, 1 - probabilities).prod(axis=1)
    np.testing.assert_allclose(found["score"], sure, rtol=1e-5)


def test_the_rarest_label_of_a_row_is_its_stratum() -> None:
    task = MultiLabelClassification(LABELS)
    rows = pa.table({"label": [[0], [0, 1], [0, 1, 2], [], [0]]})
    assert task.strata(rows) == [0, 1, 2, None, 0]


def test_rows_with_sets_of_labels_are_audited_and_known_by_them() -> None:
    task = fitted()
    table = raw([*SETS, ["bad", "good"]])
    rows = task.rows(table.set_column(1, "text", [["one", "two", "three", "four", "five", "ONE"]]), Data())
    found = audit({"train": rows}, {"train": rows}, task.texts, task.labels)
    assert {name: label["rows"] for name, label in found["splits"]["train"]["labels"].items()} == {
        "bad": 2,
        "calm": 2,
        "good": 3,
    }
    assert found["conflicting"] == {"texts": 1, "rows": 2}
    other = replace(task, labels=("good", "calm", "bad"))
    again = other.rows(table.set_column(1, "text", [["one", "two", "three", "four", "five", "ONE"]]), Data())
    assert np.array_equal(keys_of(rows, task.labels), keys_of(again, other.labels)), "whatever the ids are"


def test_the_report_lists_the_surest_wrong_sets_first() -> None:
    task = MultiLabelClassification(LABELS)
    found = as_arrays(task.predict(outputs(6), batch(torch.zeros(6, 3))))
    rows = pa.table({"id": list("abcdef"), "text": [f"text {row}" for row in range(6)]})
    per_class, reliability, mistakes = task.views(rows, found, 2)
    assert [view.name for view in (per_class, reliability, mistakes)] == ["per_class", "reliability", "mistakes"]
    wrong = ~task.right(found)
    surest = int(np.argmax(np.where(wrong, found["score"], -1)))
    first = mistakes.rows[0]  # type: ignore[union-attr]
    assert first[0] == "abcdef"[surest]
    assert first[2] == "(none)"
    assert len(mistakes.rows) == 2  # type: ignore[union-attr]
    assert task.answers(found, rows)[surest]["labels"] == first[3].split(", ")
