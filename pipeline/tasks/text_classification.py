"""Text classification: one label for a text or a pair of texts, or any number of labels where rows have lists."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import baselines, class_weights
from pipeline.data.encoding import encode_labelled
from pipeline.data.rows import label_column
from pipeline.data.targets import ids_of, is_list_column, known_labels, label_ids, label_lists
from pipeline.data.texts import NAMES, text_columns
from pipeline.errors import UserError
from pipeline.metrics.class_views import calibration, per_class, wrong_sets
from pipeline.metrics.classes import Counts, choices_of, guess_of_ids, guess_of_sets, scores_of_ids, scores_of_sets
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded_inputs
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

# The probabilities of all labels are kept for AUROC. With more labels they take too much memory, and it too much time:
# a bootstrap computes it a thousand times.
_MOST_WITH_AUROC = 20
_OF_LABEL = "probability:"
_SINGLE, _MULTI = "single_label_classification", "multi_label_classification"


@dataclass(frozen=True)
class TextClassification(Task):
    """One label a row, one target an example.

    Attributes:
        label_rows: how many training rows each label has.
        problem_type: what transformers calls it.
    """

    also_called: ClassVar[tuple[str, ...]] = (
        "sentiment-analysis",
        "sequence-classification",
        "text-pair-classification",
        "nli",
    )
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",), "label"), Layout(("sentence1", "sentence2"), "label"))
    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro", "f1_micro", "mcc", "auroc", "calibration_error")
    pipeline_tag: ClassVar[str | None] = "text-classification"
    folds_case: ClassVar[bool] = True
    share_of_rows: ClassVar[str | None] = "accuracy"
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")
    _fewest_labels: ClassVar[int] = 2
    label_rows: tuple[int, ...] = ()
    problem_type: str = _SINGLE

    @classmethod
    def _kind(cls, table: pa.Table, data: Data) -> type["TextClassification"]:
        """What the column of labels asks for: one label, or any number of them."""
        target = str(cls.layout_of(table, data).target)
        return MultiLabelClassification if is_list_column(table, target) else cls

    @staticmethod
    def _named(table: pa.Table, column: str) -> Sequence[Sequence[str]]:
        """The names of the labels of each row."""
        return [(name,) for name in label_column(table, column)]

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        text_columns(table, layout.texts)
        cls._kind(table, data)._named(table, str(layout.target))

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Task:
        layouts = {split: cls.layout_of(table, data) for split, table in tables.items()}
        kind = cls._kind(tables["train"], data)
        shown = {}
        for split, table in tables.items():
            cls.check_columns(table, data)
            shown[split] = kind._named(table, str(layouts[split].target))
        labels = known_labels(shown, tables, str(layouts["train"].target), kind._fewest_labels)
        return kind(labels, NAMES[: len(layouts["train"].texts)])

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Task:
        kind = MultiLabelClassification if state.get("problem_type") == _MULTI else cls
        return super(TextClassification, kind).of_state(state)

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        named = self._named(table, str(layout.target))
        return pa.table({"id": table["id"], **text_columns(table, layout.texts), "label": self._ids(named)})

    def _ids(self, named: Sequence[Sequence[str]]) -> pa.Array:
        """The column `label` of prepared rows."""
        places = {name: place for place, name in enumerate(self.labels)}
        return pa.array([places[name] for (name,) in named], pa.int32())

    def seen(self, train: pa.Table) -> Task:
        counts = np.bincount(label_ids(train["label"]), minlength=len(self.labels))
        return replace(self, label_rows=tuple(counts.tolist()))

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        return encode_labelled(rows, self.inputs, tokenizer, settings, training)

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        labels = torch.from_numpy(examples["label"].astype(np.int64))
        return Batch(padded_inputs(examples, collation), {"labels": labels})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForSequenceClassification", self.label_names() | {"problem_type": self.problem_type}

    def check_train(self, settings: Train) -> None:
        class_weights.check(settings.class_weights, self.labels)
        if settings.metric_for_best_model == "auroc" and len(self.labels) > _MOST_WITH_AUROC:
            raise UserError(
                f"params.yaml: train.metric_for_best_model: auroc is left out with {len(self.labels):,} labels; it is "
                f"computed for up to {_MOST_WITH_AUROC}. Take f1_macro, accuracy or loss."
            )

    def _weights(self, settings: Train) -> np.ndarray | None:
        """What a target of each label counts in the loss, (labels,) float32; None if all count 1."""
        return class_weights.class_weights(settings.class_weights, self.labels, self.label_rows)

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

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        """Of the windows of a long row, the surest one answers for it."""
        if store.is_row_by_row:
            return found
        order = np.lexsort((-found["score"], store.rows))
        surest = order[np.searchsorted(store.rows[order], np.arange(len(rows)))]
        return {name: values[surest] for name, values in found.items()}

    def columns(self, predictions: Predictions) -> dict[str, pa.Array]:
        found = {name: pa.array(values) for name, values in predictions.items() if values.ndim == 1}
        found |= {name: self._names(predictions[name]) for name in ("target", "prediction")}
        if "probabilities" in predictions:
            of_label = zip(self.labels, predictions["probabilities"].T, strict=True)
            found |= {f"{_OF_LABEL}{name}": pa.array(values) for name, values in of_label}
        return found

    def from_columns(self, table: pa.Table) -> Predictions:
        own = [name for name in table.column_names if name.startswith(_OF_LABEL)]
        found = {
            name: table[name].to_numpy() for name in table.column_names if name not in ("target", "prediction", *own)
        }
        found |= {name: self._ids_of_names(table[name].to_pylist()) for name in ("target", "prediction")}
        if own:
            # A label that another model knows has no column here, and to this model it is impossible.
            columns = {name.removeprefix(_OF_LABEL): table[name].to_numpy() for name in own}
            never = np.zeros(len(table), np.float32)
            found["probabilities"] = np.stack([columns.get(name, never) for name in self.labels], axis=1)
        return found

    def _names(self, ids: np.ndarray) -> pa.Array:
        """Targets or predictions as people read them."""
        return pa.DictionaryArray.from_arrays(pa.array(ids, pa.int32()), pa.array(self.labels, pa.string()))

    def _ids_of_names(self, named: Sequence[Any]) -> np.ndarray:
        """The targets or predictions that `_names` named."""
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

    def _kept(self, probabilities: Any) -> dict[str, Any]:
        """Those of all labels, as far as AUROC is computed; of two labels the score tells both."""
        return {"probabilities": probabilities} if 2 < len(self.labels) <= _MOST_WITH_AUROC else {}

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

    def _kept(self, probabilities: Any) -> dict[str, Any]:
        return {"probabilities": probabilities} if len(self.labels) <= _MOST_WITH_AUROC else {}

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
