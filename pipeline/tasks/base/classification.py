"""Texts whose answers are labels: what holds for one label a row, and for any number of them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from pipeline.data import class_weights
from pipeline.data.encoding import encode_labelled
from pipeline.data.targets import label_ids
from pipeline.data.texts import text_columns
from pipeline.errors import UserError
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base.predictions import Predictions
from pipeline.tasks.base.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

# The probabilities of all labels are kept for AUROC. With more labels they take too much memory, and it too much time:
# a bootstrap computes it a thousand times.
_MOST_WITH_AUROC = 20
_OF_LABEL = "probability:"


@dataclass(frozen=True)
class Classification(Task):
    """A text or a pair of texts, and labels that are known by their names.

    Predictions have `target`, `prediction`, `score` (the probability of what was predicted), and the `probabilities`
    of all labels, as far as these are kept.

    Attributes:
        label_rows: how many training rows each label has.
        problem_type: what transformers calls it.
    """

    folds_case: ClassVar[bool] = True
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")
    _told_by_score: ClassVar[int]  # with so many labels or fewer the score of a prediction tells all probabilities
    label_rows: tuple[int, ...] = ()
    problem_type: str = ""

    @staticmethod
    @abstractmethod
    def _named(table: pa.Table, column: str) -> Sequence[Sequence[str]]:
        """The names of the labels of each raw row."""

    @abstractmethod
    def _ids(self, named: Sequence[Sequence[str]]) -> pa.Array:
        """The column `label` of prepared rows."""

    @abstractmethod
    def _names(self, ids: np.ndarray) -> pa.Array:
        """Targets or predictions as people read them."""

    @abstractmethod
    def _ids_of_names(self, named: Sequence[Any]) -> np.ndarray:
        """The targets or predictions that `_names` named."""

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        named = self._named(table, str(layout.target))
        return pa.table({"id": table["id"], **text_columns(table, layout.texts), "label": self._ids(named)})

    def seen(self, train: pa.Table) -> Self:
        counts = np.bincount(label_ids(train["label"]), minlength=len(self.labels))
        return replace(self, label_rows=tuple(counts.tolist()))

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        return encode_labelled(rows, self.inputs, tokenizer, settings, training)

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

    def _kept(self, probabilities: Any) -> dict[str, Any]:
        """Those of all labels, as far as AUROC is computed and the score does not tell them."""
        return {"probabilities": probabilities} if self._told_by_score < len(self.labels) <= _MOST_WITH_AUROC else {}

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
