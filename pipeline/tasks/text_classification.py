"""Text classification: one label for a text or a pair of texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data.rows import TEXT_COLUMNS, label_column, label_names, require_columns, text_column, texts_of, where
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Data
from pipeline.tasks.base import Batch, Predictions, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LABEL_IDS = ["target", "prediction"]


@final
@dataclass(frozen=True)
class TextClassification(Task):
    """One label a row, one target an example."""

    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro", "mcc")

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        require_columns(table, data.text_column_names, "data.text_column_names")
        require_columns(table, [data.label_column_name], "data.label_column_name")
        for name in data.text_column_names:
            text_column(table, name)
        label_column(table, data.label_column_name)

    @classmethod
    def fit(cls, splits: Mapping[str, pa.Table], data: Data) -> Self:
        shown = {}
        for split, table in splits.items():
            cls.check_columns(table, data)
            shown[split] = label_column(table, data.label_column_name)
        labels = label_names(shown["train"])
        if len(labels) < 2:
            raise UserError(
                f"data.label_column_name: all {len(shown['train']):,} training rows have the label '{labels[0]}' in "
                f"the column '{data.label_column_name}'.\nA classifier needs at least two labels."
            )
        known = set(labels)
        for split, names in shown.items():
            for row, name in enumerate(names):
                if name not in known:
                    raise UserError(
                        f"{where(splits[split], row)}: the label '{name}' in {split} never occurs in training."
                        f"{did_you_mean(name, labels)}\nAdd training rows with it, or take the row out."
                    )
        return cls(labels)

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        ids = {name: place for place, name in enumerate(self.labels)}
        columns = {"id": table["id"]}
        for name, source in zip(TEXT_COLUMNS, data.text_column_names, strict=False):
            columns[name] = text_column(table, source)
        names = label_column(table, data.label_column_name)
        columns["label"] = pa.array([ids[name] for name in names], pa.int32())
        return pa.table(columns)

    def texts(self, rows: pa.Table) -> list[str]:
        return [text for column in texts_of(rows) for text in column]

    def encode(self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", max_seq_length: int) -> pa.Table:
        texts = texts_of(rows)
        kept = tokenizer(*texts, return_attention_mask=False, verbose=False)
        full_length = np.fromiter((len(ids) for ids in kept["input_ids"]), np.int32, len(rows))
        if too_long := np.flatnonzero(full_length > max_seq_length).tolist():
            shortened = tokenizer(
                *([column[row] for row in too_long] for column in texts),
                truncation=True,
                max_length=max_seq_length,
                return_attention_mask=False,
            )
            for name, values in shortened.items():
                for row, value in zip(too_long, values, strict=True):
                    kept[name][row] = value
        columns = {
            "input_ids": pa.array(kept["input_ids"], pa.list_(pa.int32())),
            "label": rows["label"],
            "length": pa.array([len(ids) for ids in kept["input_ids"]], pa.int32()),
            "full_length": pa.array(full_length, pa.int32()),
        }
        if "token_type_ids" in kept:
            columns["token_type_ids"] = pa.array(kept["token_type_ids"], pa.list_(pa.int8()))
        return pa.table(columns)

    def collate(self, examples: Mapping[str, Any], pad_token_id: int) -> Batch:
        lengths = examples["length"]
        shape = (len(lengths), int(lengths.max()))
        mask = np.arange(shape[1]) < lengths[:, None]
        inputs = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for name, padding in (("input_ids", pad_token_id), ("token_type_ids", 0)):
            if name in examples:
                padded = np.full(shape, padding, np.int64)
                padded[mask] = np.concatenate(examples[name])
                inputs[name] = torch.from_numpy(padded)
        return Batch(inputs, torch.from_numpy(examples["label"].astype(np.int64)))

    def head(self) -> tuple[str, dict[str, Any]]:
        names = dict(enumerate(self.labels))
        return "AutoModelForSequenceClassification", {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: place for place, name in names.items()},
            "problem_type": "single_label_classification",
        }

    def count_targets(self, examples: Mapping[str, Any]) -> int:
        return len(examples["label"])

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, label_smoothing_factor: float = 0.0) -> torch.Tensor:
        return functional.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=label_smoothing_factor)

    def predict(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        log_probabilities = logits.float().log_softmax(dim=-1)
        best = log_probabilities.max(dim=-1)
        return {
            "target": labels,
            "prediction": best.indices,
            "score": best.values.exp(),
            "loss": -log_probabilities.gather(-1, labels[:, None]).squeeze(-1),
        }

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
            "loss": float(predictions["loss"].mean(dtype=np.float64)),
        }

    def answers(self, logits: torch.Tensor) -> list[dict[str, str | float]]:
        best = logits.float().softmax(dim=-1).max(dim=-1)
        return [
            {"label": self.labels[place], "probability": probability}
            for place, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        # Seconds of imports, which the stages that have no use for them shall not wait for.
        from sklearn.dummy import DummyClassifier
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        texts, unseen = _joined(train), _joined(evaluation)
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


def _joined(rows: pa.Table) -> list[str]:
    return [" ".join(texts) for texts in zip(*texts_of(rows), strict=True)]


TASK = TextClassification
