"""Text classification: one label for a text or a pair of texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data.encoding import encode
from pipeline.data.rows import label_column, label_names, text_column, where
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

_INPUTS = ("text", "text_pair")
_LABEL_IDS = ["target", "prediction"]


@final
@dataclass(frozen=True)
class TextClassification(Task):
    """One label a row, one target an example."""

    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",), "label"), Layout(("sentence1", "sentence2"), "label"))
    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro", "mcc")
    share_of_rows: ClassVar[str | None] = "accuracy"
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        assert layout.target is not None, "this task has a target"
        if len(layout.texts) > len(_INPUTS):
            raise UserError(
                f"data.text_column_names: {len(layout.texts)} columns; this task takes a text, or a pair of texts."
            )
        for name in layout.texts:
            text_column(table, name)
        label_column(table, layout.target)

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        shown = {}
        for split, table in tables.items():
            cls.check_columns(table, data)
            layout = cls.layout_of(table, data)
            shown[split] = label_column(table, str(layout.target))
        labels = label_names(shown["train"])
        if len(labels) < 2:
            column = cls.layout_of(tables["train"], data).target
            raise UserError(
                f"data.label_column_name: all {len(shown['train']):,} training rows have the label '{labels[0]}' in "
                f"the column '{column}'.\nA classifier needs at least two labels."
            )
        known = set(labels)
        for split, names in shown.items():
            for row, name in enumerate(names):
                if name not in known:
                    raise UserError(
                        f"{where(tables[split], row)}: the label '{name}' in {split} never occurs in training."
                        f"{did_you_mean(name, labels)}\nAdd training rows with it, or take the row out."
                    )
        return cls(labels, _INPUTS[: len(cls.layout_of(tables["train"], data).texts)])

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        ids = {name: place for place, name in enumerate(self.labels)}
        columns = {"id": table["id"]}
        for name, source in zip(self.inputs, layout.texts, strict=True):
            columns[name] = text_column(table, source)
        names = label_column(table, str(layout.target))
        columns["label"] = pa.array([ids[name] for name in names], pa.int32())
        return pa.table(columns)

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        texts = [rows[name].to_pylist() for name in self.inputs]
        examples = encode(texts, rows["id"].to_pylist(), tokenizer, settings, training)
        labels = rows["label"].combine_chunks()
        return examples.append_column(
            "label", labels.take(examples["row"]) if "row" in examples.column_names else labels
        )

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        labels = torch.from_numpy(examples["label"].astype(np.int64))
        return Batch(padded_inputs(examples, collation), {"labels": labels})

    def head(self) -> tuple[str, dict[str, Any]]:
        names = dict(enumerate(self.labels))
        return "AutoModelForSequenceClassification", {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: place for place, name in names.items()},
            "problem_type": "single_label_classification",
        }

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        smoothing = settings.label_smoothing_factor
        return functional.cross_entropy(
            outputs.logits.float(), batch.labels, reduction="sum", label_smoothing=smoothing
        )

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        log_probabilities = outputs.logits.float().log_softmax(dim=-1)
        best = log_probabilities.max(dim=-1)
        return {
            "target": batch.labels,
            "prediction": best.indices,
            "score": best.values.exp(),
            "loss": -log_probabilities.gather(-1, batch.labels[:, None]).squeeze(-1),
        }

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        """Of the windows of a long row, the surest one answers for it."""
        if store.is_row_by_row:
            return found
        order = np.lexsort((-found["score"], store.rows))
        surest = order[np.searchsorted(store.rows[order], np.arange(len(rows)))]
        return {name: values[surest] for name, values in found.items()}

    def columns(self, predictions: Predictions) -> dict[str, pa.Array]:
        names = pa.array(self.labels, pa.string())
        named = {
            name: pa.DictionaryArray.from_arrays(pa.array(predictions[name], pa.int32()), names) for name in _LABEL_IDS
        }
        return {**super().columns(predictions), **named}

    def from_columns(self, table: pa.Table) -> Predictions:
        places = {name: place for place, name in enumerate(self.labels)}
        ids = {name: np.array([places[label] for label in table[name].to_pylist()], np.int64) for name in _LABEL_IDS}
        return {**super().from_columns(table.drop_columns(_LABEL_IDS)), **ids}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        # Counted, not asked of scikit-learn, whose three functions take 70 times as long: a bootstrap calls this
        # thousands of times.
        target, prediction = predictions["target"], predictions["prediction"]
        size = int(max(target.max(), prediction.max())) + 1
        right = np.bincount(target[target == prediction], minlength=size).astype(np.float64)
        actual = np.bincount(target, minlength=size).astype(np.float64)
        predicted = np.bincount(prediction, minlength=size).astype(np.float64)
        seen = actual + predicted > 0
        rows, correct = len(target), right.sum()
        spread = (rows**2 - actual @ actual) * (rows**2 - predicted @ predicted)
        return {
            "accuracy": float(correct / rows),
            "f1_macro": float((2 * right[seen] / (actual + predicted)[seen]).mean()),
            "mcc": float((correct * rows - actual @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0,
            "loss": mean_loss(predictions),
        }

    def right(self, predictions: Predictions) -> np.ndarray | None:
        found: np.ndarray = predictions["target"] == predictions["prediction"]
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        # Seconds of imports, which the stages that have no use for them shall not wait for.
        from sklearn.dummy import DummyClassifier
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        texts, unseen = (list(map(" ".join, self.texts(rows))) for rows in (train, evaluation))
        labels, target = train["label"].to_numpy(), evaluation["label"].to_numpy()
        methods = {"majority class": DummyClassifier(strategy="prior")}
        vectorizer = TfidfVectorizer(sublinear_tf=True)
        if any(map(vectorizer.build_analyzer(), texts)):  # texts of emoji alone have no words to count
            regression = LogisticRegression(C=10.0, max_iter=1000)
            methods["TF-IDF + logistic regression"] = make_pipeline(vectorizer, regression)
        found = {}
        for name, method in methods.items():
            probabilities = method.fit(texts, labels).predict_proba(unseen)
            place = probabilities.argmax(axis=1)
            column = np.searchsorted(method.classes_, target)
            of_target = probabilities[np.arange(len(target)), column]
            found[name] = {
                "target": target,
                "prediction": method.classes_[place],
                "score": probabilities.max(axis=1),
                "loss": -np.log(np.maximum(of_target, np.finfo(float).tiny)),
            }
        return found

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


TASK = TextClassification
