"""Text classification: one label for a text or a pair of texts, or any number of labels where rows have lists."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import baselines
from pipeline.data.rows import label_column
from pipeline.data.targets import ids_of, is_list_column, known_labels, label_ids, label_lists
from pipeline.data.texts import NAMES, text_columns
from pipeline.metrics.class_views import calibration, per_class, wrong_sets
from pipeline.metrics.classes import Counts, choices_of, guess_of_ids, guess_of_sets, scores_of_ids, scores_of_sets
from pipeline.params import Data, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, mean_loss, padded_inputs
from pipeline.tasks.base.classification import Classification
from pipeline.views import View

_SINGLE, _MULTI = "single_label_classification", "multi_label_classification"


@dataclass(frozen=True)
class TextClassification(Classification):
    """One label a row, one target an example."""

    also_called: ClassVar[tuple[str, ...]] = (
        "sentiment-analysis",
        "sequence-classification",
        "text-pair-classification",
        "nli",
    )
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",), "label"), Layout(("sentence1", "sentence2"), "label"))
    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro", "f1_micro", "mcc", "auroc", "calibration_error")
    pipeline_tag: ClassVar[str | None] = "text-classification"
    share_of_rows: ClassVar[str | None] = "accuracy"
    _fewest_labels: ClassVar[int] = 2
    _told_by_score: ClassVar[int] = 2
    problem_type: str = _SINGLE

    @classmethod
    def _kind(cls, has_sets: bool) -> type[Self]:
        """The class for rows with one label, or with any number of them."""
        return cast("type[Self]", MultiLabelClassification) if has_sets else cls

    @staticmethod
    def _named(table: pa.Table, column: str) -> Sequence[Sequence[str]]:
        return [(name,) for name in label_column(table, column)]

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        text_columns(table, layout.texts)
        cls._kind(is_list_column(table, str(layout.target)))._named(table, str(layout.target))

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        layouts = {split: cls.layout_of(table, data) for split, table in tables.items()}
        kind = cls._kind(is_list_column(tables["train"], str(layouts["train"].target)))
        shown = {}
        for split, table in tables.items():
            cls.check_columns(table, data)
            shown[split] = kind._named(table, str(layouts[split].target))
        labels = known_labels(shown, tables, str(layouts["train"].target), kind._fewest_labels)
        return kind(labels, NAMES[: len(layouts["train"].texts)])

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Self:
        return super(TextClassification, cls._kind(state.get("problem_type") == _MULTI)).of_state(state)

    def _ids(self, named: Sequence[Sequence[str]]) -> pa.Array:
        places = {name: place for place, name in enumerate(self.labels)}
        return pa.array([places[name] for (name,) in named], pa.int32())

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        labels = torch.from_numpy(examples["label"].astype(np.int64))
        return Batch(padded_inputs(examples, collation), {"labels": labels})

    def count_targets(self, examples: Mapping[str, Any], settings: Train) -> float:
        weights = self._weights(settings)
        return float(len(examples["label"]) if weights is None else weights[examples["label"]].sum())

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        logits = outputs.logits.float()
        return functional.cross_entropy(
            logits,
            batch.labels,
            weight=_on_device_of(logits, self._weights(settings)),
            reduction="sum",
            label_smoothing=settings.label_smoothing_factor,
        )

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        log_probabilities = outputs.logits.float().log_softmax(dim=-1)
        return choices_of(log_probabilities, batch.labels) | self._kept(log_probabilities.exp())

    def _names(self, ids: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(ids, pa.int32()), pa.array(self.labels, pa.string()))

    def _ids_of_names(self, named: Sequence[Any]) -> np.ndarray:
        places = {name: place for place, name in enumerate(self.labels)}
        return np.array([places[name] for name in named], np.int64)

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return {**scores_of_ids(predictions, len(self.labels)), "loss": mean_loss(predictions)}

    def right(self, predictions: Predictions) -> np.ndarray:
        found: np.ndarray = predictions["target"] == predictions["prediction"]
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        texts, unseen = (list(map(" ".join, self.texts(rows))) for rows in (train, evaluation))
        found = baselines.classes(texts, train["label"].to_numpy(), unseen, len(self.labels))
        target = evaluation["label"].to_numpy()
        return {name: guess_of_ids(guess, target) | self._kept(guess) for name, guess in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        counts = Counts.of_ids(predictions["target"], predictions["prediction"], len(self.labels))
        return [per_class(self.labels, counts), calibration(predictions["score"], self.right(predictions))]

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("label", pa.array(np.zeros(len(rows), np.int32)))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [
            {"label": self.labels[place], "probability": probability}
            for place, probability in zip(
                predictions["prediction"].tolist(), predictions["score"].tolist(), strict=True
            )
        ]


@final
@dataclass(frozen=True)
class MultiLabelClassification(TextClassification):
    """Any number of labels a row, each a target of its own: whether the row has it.

    Its probability is that of the sigmoid, and an answer is all labels above one half. The score of an answer is the
    probability of the whole set, as if the labels were independent, and it is right if all of it is.
    """

    _fewest_labels: ClassVar[int] = 1
    _told_by_score: ClassVar[int] = 0
    problem_type: str = _MULTI

    @staticmethod
    def _named(table: pa.Table, column: str) -> Sequence[Sequence[str]]:
        return label_lists(table, column)

    def _ids(self, named: Sequence[Sequence[str]]) -> pa.Array:
        return ids_of(named, self.labels)

    def strata(self, rows: pa.Table) -> Sequence[Hashable]:
        """The rarest label of each row, so that each split has its share of the rare ones."""
        counts = np.bincount(label_ids(rows["label"]), minlength=len(self.labels))
        return [min(ids, key=counts.__getitem__, default=None) for ids in rows["label"].to_pylist()]

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        labels = torch.from_numpy(self._sets(examples["label"])).float()
        return Batch(padded_inputs(examples, collation), {"labels": labels})

    def count_targets(self, examples: Mapping[str, Any], settings: Train) -> float:
        weights = self._weights(settings)
        return len(examples["label"]) * float(len(self.labels) if weights is None else weights.sum())

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        logits, smoothing = outputs.logits.float(), settings.label_smoothing_factor
        # Smoothed like the cross-entropy over the two classes "no" and "yes".
        smoothed = batch.labels * (1 - smoothing) + smoothing / 2
        weights = _on_device_of(logits, self._weights(settings))
        return functional.binary_cross_entropy_with_logits(logits, smoothed, weight=weights, reduction="sum")

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        logits = outputs.logits.float()
        probabilities = logits.sigmoid()
        losses = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
        found = {
            "target": batch.labels > 0.5,
            "prediction": logits > 0,
            "score": torch.maximum(probabilities, 1 - probabilities).prod(dim=-1),
            "loss": losses.sum(dim=-1),
            "targets": torch.full(logits.shape[:1], logits.shape[1]),
        }
        return found | self._kept(probabilities)

    def _names(self, ids: np.ndarray) -> pa.Array:
        named = [[self.labels[place] for place in np.flatnonzero(row)] for row in ids]
        return pa.array(named, pa.list_(pa.string()))

    def _ids_of_names(self, named: Sequence[Any]) -> np.ndarray:
        return np.array([np.isin(self.labels, names) for names in named])

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return {**scores_of_sets(predictions), "loss": mean_loss(predictions)}

    def right(self, predictions: Predictions) -> np.ndarray:
        found: np.ndarray = (predictions["target"] == predictions["prediction"]).all(axis=1)
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        texts, unseen = (list(map(" ".join, self.texts(rows))) for rows in (train, evaluation))
        has, target = (self._sets(rows["label"].to_pylist()) for rows in (train, evaluation))
        found = baselines.sets(texts, has, unseen)
        return {name: guess_of_sets(guess, target) | self._kept(guess) for name, guess in found.items()}

    def _sets(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Which labels each row has, (rows, labels) bool."""
        has = np.zeros((len(ids), len(self.labels)), bool)
        for row, of_row in enumerate(ids):
            has[row, of_row] = True
        return has

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        counts = Counts.of_sets(predictions["target"], predictions["prediction"])
        wrong = np.flatnonzero(~self.right(predictions))
        surest = wrong[np.argsort(-predictions["score"][wrong], kind="stable")][:most]
        actual, predicted = (self._names(predictions[name][surest]).to_pylist() for name in ("target", "prediction"))
        chosen = rows.take(surest)
        return [
            per_class(self.labels, counts),
            calibration(predictions["score"], self.right(predictions)),
            wrong_sets(
                chosen["id"].to_pylist(),
                self.texts(chosen),
                actual,
                predicted,
                predictions["score"][surest].tolist(),
            ),
        ]

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("label", pa.array([[]] * len(rows), pa.list_(pa.int32())))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        named = self._names(predictions["prediction"]).to_pylist()
        return [
            {"labels": names, "probability": score}
            for names, score in zip(named, predictions["score"].tolist(), strict=True)
        ]


def _on_device_of(logits: torch.Tensor, weights: np.ndarray | None) -> torch.Tensor | None:
    return None if weights is None else torch.from_numpy(weights).to(logits.device)


TASK = TextClassification
