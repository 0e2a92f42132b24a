"""Multiple choice: which of some endings goes on from a start, as in SWAG; the model reads each of them on its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import baselines, groups
from pipeline.data.encoding import encode
from pipeline.data.rows import label_column, shown, text_column, where
from pipeline.errors import UserError, counted
from pipeline.metrics.class_views import calibration
from pipeline.metrics.classes import choices_of, guess_of_ids
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, grouped_inputs, mean_loss
from pipeline.views import Column, Table, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT, _START = "sent1", "sent2"
_ENDING = re.compile(r"ending(\d+)")


@final
@dataclass(frozen=True)
class MultipleChoice(Task):
    """One choice a row, one target an example, which is as many sequences as there are endings.

    A sequence is the context (`sent1`), and behind it the start of the next sentence (`sent2`) with an ending.
    """

    also_called: ClassVar[tuple[str, ...]] = ("swag", "mc")
    layouts: ClassVar[tuple[Layout, ...]] = (Layout((_CONTEXT, _START, "ending0", "ending1"), "label"),)
    score_names: ClassVar[tuple[str, ...]] = ("accuracy",)
    pipeline_tag: ClassVar[str | None] = "multiple-choice"
    folds_case: ClassVar[bool] = True
    share_of_rows: ClassVar[str | None] = "accuracy"
    inputs: tuple[str, ...] = (_CONTEXT, _START, "ending0", "ending1")

    @property
    def choices(self) -> int:
        """How many endings a row has."""
        return len(self.inputs) - 2

    @classmethod
    def layout(cls, names: Sequence[str], data: Data) -> Layout:
        """As many endings as the source has: ending0, ending1, ...; or all but the first two of the named columns."""
        found = super().layout(names, data)
        endings = sorted(filter(_ENDING.fullmatch, names), key=lambda name: int(name.removeprefix("ending")))
        if data.text_column_names is not None or len(endings) < 2:
            return found
        return replace(found, texts=(_CONTEXT, _START, *endings))

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        if len(layout.texts) < 4:
            raise UserError(
                f"data.text_column_names: {counted(len(layout.texts), 'column')}; this task takes a context, "
                "the start of the next sentence, and at least two endings."
            )
        for name in layout.texts:
            text_column(table, name)
        _places(table, layout)

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        layouts = {}
        for split, table in tables.items():
            cls.check_columns(table, data)
            layouts[split] = cls.layout_of(table, data).texts
            if len(layouts[split]) != len(layouts["train"]):
                raise UserError(
                    f"{where(table, 0)}: {split} has {len(layouts[split]) - 2} endings a row, and train "
                    f"{len(layouts['train']) - 2}. Every row needs as many."
                )
        return cls(inputs=(_CONTEXT, _START, *(f"ending{place}" for place in range(len(layouts["train"]) - 2))))

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        texts = {ours: text_column(table, name) for ours, name in zip(self.inputs, layout.texts, strict=True)}
        return pa.table({"id": table["id"], **texts, "label": _places(table, layout)})

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        """The sequences of a row stand one behind the other: see `groups.grouped`."""
        contexts, ids = (rows[name].to_pylist() for name in (_CONTEXT, "id"))
        pairs = [
            [context for context in contexts for _ in range(self.choices)],
            [text for _, *endings in self.sequences(rows) for text in endings],
        ]
        every = encode(pairs, np.repeat(np.array(ids, object), self.choices).tolist(), tokenizer, settings, False)
        examples = groups.grouped(every, self.choices).append_column("label", rows["label"].combine_chunks())
        if not (training and settings.over_length == "drop"):
            return examples
        return groups.only(examples, examples["full_length"].to_numpy() <= settings.max_seq_length * self.choices)

    def sequences(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """The context of each row, and behind it the start with each ending."""
        contexts, starts, *endings = (rows[name].to_pylist() for name in self.inputs)
        return [
            (context, *(f"{start} {ending}".strip() for ending in of_row))
            for context, start, of_row in zip(contexts, starts, zip(*endings, strict=True), strict=True)
        ]

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        inputs = {
            name: values.view(self.choices, len(examples["sizes"]), -1).transpose(0, 1).contiguous()
            for name, values in grouped_inputs(examples, collation).items()
        }
        return Batch(inputs, {"labels": torch.from_numpy(examples["label"].astype(np.int64))})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForMultipleChoice", {}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        smoothing = settings.label_smoothing_factor
        return functional.cross_entropy(
            outputs.logits.float(), batch.labels, reduction="sum", label_smoothing=smoothing
        )

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        return choices_of(outputs.logits.float().log_softmax(dim=-1), batch.labels)

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return {"accuracy": float(self.right(predictions).mean()), "loss": mean_loss(predictions)}

    def right(self, predictions: Predictions) -> np.ndarray:
        found: np.ndarray = predictions["target"] == predictions["prediction"]
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        target = evaluation["label"].to_numpy()
        labels = train["label"].to_numpy()
        found = baselines.choices(self.sequences(train), labels, self.sequences(evaluation))
        return {name: guess_of_ids(guess, target) for name, guess in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        wrong = np.flatnonzero(~self.right(predictions))
        surest = wrong[np.argsort(-predictions["score"][wrong], kind="stable")][:most]
        chosen = rows.take(surest)
        target, prediction, score = (predictions[name][surest].tolist() for name in ("target", "prediction", "score"))
        cells = zip(chosen["id"].to_pylist(), self.texts(chosen), target, prediction, score, strict=True)
        return [
            calibration(predictions["score"], self.right(predictions)),
            Table(
                "mistakes",
                "Most confident mistakes",
                "Wrong choices of which the model was most sure. Look here for wrong labels, and for endings that fit "
                "as well.",
                (
                    Column("Row"),
                    *(Column(title, is_text=True) for title in ("Context", "Actual", "Predicted")),
                    Column("Probability"),
                ),
                [
                    (row, f"{context} | {start}" if start else context, endings[actual], endings[predicted], sure)
                    for row, (context, start, *endings), actual, predicted, sure in cells
                ],
            ),
        ]

    def example(self) -> dict[str, Any]:
        endings = {name: f"They end it in way {place}." for place, name in enumerate(self.inputs[2:], 1)}
        return {_CONTEXT: "Two people begin something.", _START: "", **endings}

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("label", pa.array(np.zeros(len(rows), np.int32)))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        places, scores = (predictions[name].tolist() for name in ("prediction", "score"))
        endings = [rows[name].to_pylist() for name in self.inputs[2:]]
        return [
            {"ending": endings[place][row], "label": place, "probability": score}
            for row, (place, score) in enumerate(zip(places, scores, strict=True))
        ]


def _places(table: pa.Table, layout: Layout) -> pa.Array:
    """The place of the right ending of each row, counted from 0 (int32)."""
    endings, target = len(layout.texts) - 2, str(layout.target)
    labels = label_column(table, target)
    known = {str(place): place for place in range(endings)}
    for row, label in enumerate(labels):
        if label not in known:
            raise UserError(
                f"{where(table, row)}: the column '{target}' is {shown(label)}; it must be the place of the right "
                f"ending, from 0 to {endings - 1}."
            )
    return pa.array([known[label] for label in labels], pa.int32())


TASK = MultipleChoice
