"""What a task is: columns -> tokens -> model head -> loss -> predictions -> scores.

A task is one file here. The loop, the stages and the report know this class alone, and no task by its name.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch

from pipeline.data.audit import decontaminate
from pipeline.errors import UserError
from pipeline.params import Data

if TYPE_CHECKING:
    # More than a second of imports, which prepare does not need.
    from transformers import PreTrainedTokenizerBase

_LABELS = "labels.json"

Predictions = dict[str, np.ndarray]
"""One entry a column, one element an example, in the order of the store: at least `target`, `prediction`, `score`
(the probability of the prediction) and `loss`. Never logits: memory stays small whatever the number of labels."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the device.

    Attributes:
        inputs: what the model's forward takes, each (examples, tokens); never `labels`.
        labels: the targets, aligned with the logits; -100 where there is none.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return Batch(moved, self.labels.to(device, non_blocking=True))


@dataclass(frozen=True)
class Task(ABC):
    """A task over a list of labels.

    Attributes:
        score_names: the scores, the first being the one that a headline names.
        labels: the names of the labels; a label's id is its place.
    """

    score_names: ClassVar[tuple[str, ...]]
    labels: tuple[str, ...]

    # Rows (prepare)

    @classmethod
    @abstractmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        """Raise a UserError if a column of a raw table is missing, or holds what is no text or no label."""

    @classmethod
    @abstractmethod
    def fit(cls, splits: Mapping[str, pa.Table], data: Data) -> Self:
        """The task with the labels that the training rows show.

        Args:
            splits: raw tables by split, each with a string column `id` that says where the row stands.

        Raises:
            UserError: a column is missing, a label is null or empty, there are fewer than two labels, or a label of
                validation or test never occurs in training.
        """

    @classmethod
    def prepare(
        cls, splits: Mapping[str, pa.Table], data: Data
    ) -> tuple[Self, dict[str, pa.Table], dict[str, pa.Table]]:
        """The task, its rows by split, and the same without what training shares with the evaluation splits.

        Raises:
            UserError: as in `fit` and `rows`, or a label has no training row left.
        """
        task = cls.fit(splits, data)
        before = {split: task.rows(table, data) for split, table in splits.items()}
        after = decontaminate(before) if data.decontaminate_train else before
        if lost := set(range(len(task.labels))) - set(after["train"]["label"].to_pylist()):
            raise UserError(
                f"data.decontaminate_train: all training rows of the label '{task.labels[min(lost)]}' stand in "
                "validation or test, too, so none is left.\nAdd other rows with it, or set the key to false."
            )
        return task, before, after

    @abstractmethod
    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        """The columns of a raw table that the task needs, under the task's own names.

        Returns:
            A table with `id` (string), `text` (string), `text_pair` (string, for pairs alone) and `label` (int32).

        Raises:
            UserError: a text is no text.
        """

    def save(self, folder: Path) -> None:
        """Keep the labels beside the prepared rows."""
        (folder / _LABELS).write_text(json.dumps(self.labels, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The task that `save` kept."""
        return cls(tuple(json.loads((folder / _LABELS).read_text(encoding="utf-8"))))

    # Tokens (tokenize)

    @abstractmethod
    def texts(self, rows: pa.Table) -> list[str]:
        """All texts of these rows, for training a tokenizer."""

    @abstractmethod
    def encode(self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", max_seq_length: int) -> pa.Table:
        """The examples of these rows, one a row and in their order.

        Returns:
            A table with `input_ids` (list of int32), `token_type_ids` where the tokenizer makes them, `label`
            (int32), `length` (int32, tokens kept) and `full_length` (int32, tokens before truncation).
        """

    @abstractmethod
    def collate(self, examples: Mapping[str, Any], pad_token_id: int) -> Batch:
        """A micro-batch, padded to its longest example.

        Args:
            examples: the store's columns for these examples: a list of arrays for lists, an array for numbers.
        """

    # Model and loss (train)

    @abstractmethod
    def head(self) -> tuple[str, dict[str, Any]]:
        """The name of the model's Auto class, and what its configuration must say (such as `num_labels`)."""

    @abstractmethod
    def count_targets(self, examples: Mapping[str, Any]) -> int:
        """How many targets these examples hold; known before any forward."""

    @abstractmethod
    def loss(self, logits: torch.Tensor, labels: torch.Tensor, label_smoothing_factor: float = 0.0) -> torch.Tensor:
        """The loss summed over the targets, in fp32; the caller divides by the targets of the global batch."""

    # Predictions and scores (evaluate)

    @abstractmethod
    def predict(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The columns of `Predictions` for one micro-batch."""

    def columns(self, predictions: Predictions) -> dict[str, pa.Array]:
        """Predictions as people read them in a table, such as the names of labels for their ids."""
        return {name: pa.array(values) for name, values in predictions.items()}

    def from_columns(self, table: pa.Table) -> Predictions:
        """The predictions that `columns` made a table of."""
        return {name: table[name].to_numpy() for name in table.column_names}

    @abstractmethod
    def scores(self, predictions: Predictions) -> dict[str, float]:
        """The scores of `score_names`, each better when higher, and `loss`, the mean over the targets."""

    @abstractmethod
    def answers(self, logits: torch.Tensor) -> list[dict[str, str | float]]:
        """What somebody who asks the model is told, an entry an example; the first value is the answer."""

    @abstractmethod
    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        """Predictions of simple methods for the evaluation rows, by the method's name, the strongest last."""
