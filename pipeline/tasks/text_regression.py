"""Text regression: a number for a text, or for a pair of texts, such as how similar they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch

from pipeline.data import baselines
from pipeline.data.encoding import encode_labelled
from pipeline.data.targets import number_column
from pipeline.data.texts import NAMES, text_columns
from pipeline.metrics.quantities import pearson, spearman
from pipeline.metrics.quantity_views import against_actual, largest_errors
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded_inputs
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store


@final
@dataclass(frozen=True)
class TextRegression(Task):
    """One number a row, one target an example; the loss is the squared error, of the numbers as they are."""

    also_called: ClassVar[tuple[str, ...]] = ("regression", "sts", "similarity")
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout(("text",), "label"),
        Layout(("sentence1", "sentence2"), "label"),
        Layout(("sentence1", "sentence2"), "score"),
    )
    score_names: ClassVar[tuple[str, ...]] = ("pearson", "spearman", "mse", "mae")
    folds_case: ClassVar[bool] = True
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")
    smooths_labels: ClassVar[bool] = False

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        text_columns(table, layout.texts)
        number_column(table, str(layout.target))

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        for table in tables.values():
            cls.check_columns(table, data)
        return cls(inputs=NAMES[: len(cls.layout_of(tables["train"], data).texts)])

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        numbers = number_column(table, str(layout.target))
        return pa.table({"id": table["id"], **text_columns(table, layout.texts), "label": numbers})

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        return encode_labelled(rows, self.inputs, tokenizer, settings, training)

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        labels = torch.from_numpy(examples["label"].astype(np.float32))
        return Batch(padded_inputs(examples, collation), {"labels": labels})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        found: torch.Tensor = (outputs.logits.float().squeeze(-1) - batch.labels).square().sum()
        return found

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        prediction = outputs.logits.float().squeeze(-1)
        return {"target": batch.labels, "prediction": prediction, "loss": (prediction - batch.labels).square()}

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        """A long row's number is the mean of its windows'."""
        if store.is_row_by_row:
            return found
        windows = np.bincount(store.rows, minlength=len(rows))
        means = {name: np.bincount(store.rows, values, len(rows)) / windows for name, values in found.items()}
        return _guess(means["prediction"].astype(np.float32), rows)

    def scores(self, predictions: Predictions) -> dict[str, float]:
        target, prediction = predictions["target"], predictions["prediction"]
        error = prediction.astype(np.float64) - target
        return {
            "pearson": pearson(target, prediction),
            "spearman": spearman(target, prediction),
            "mse": float(error @ error / len(error)),
            "mae": float(np.abs(error).mean()),
            "loss": mean_loss(predictions),
        }

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        texts, unseen = (list(map(" ".join, self.texts(rows))) for rows in (train, evaluation))
        found = baselines.quantities(texts, train["label"].to_numpy(), unseen)
        return {name: _guess(numbers, evaluation) for name, numbers in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        target, prediction = predictions["target"], predictions["prediction"]
        worst = np.argsort(-np.abs(prediction - target), kind="stable")[:most]
        chosen = rows.take(worst)
        return [
            against_actual(target, prediction),
            largest_errors(chosen["id"].to_pylist(), self.texts(chosen), target[worst], prediction[worst]),
        ]

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("label", pa.array(np.zeros(len(rows), np.float32)))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"score": number} for number in predictions["prediction"].tolist()]


def _guess(numbers: np.ndarray, rows: pa.Table) -> Predictions:
    """The predictions of these numbers for prepared rows."""
    target = rows["label"].to_numpy()
    return {"target": target, "prediction": numbers, "loss": np.square(numbers - target)}


TASK = TextRegression
