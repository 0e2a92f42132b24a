"""What a task is: columns -> tokens -> model head -> loss -> predictions -> scores.

A task is one file here. The loop, the stages and the report know this class alone, and no task by its name.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch

from pipeline import own
from pipeline.data import splits
from pipeline.data.audit import decontaminate
from pipeline.data.rows import Wanted, require_columns, source_of, text_column, with_source
from pipeline.data.targets import label_ids
from pipeline.errors import UserError
from pipeline.params import Data, Tokenizer, Train
from pipeline.views import View

if TYPE_CHECKING:
    # More than a second of imports, which prepare does not need.
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from pipeline.data.store import Store

_STATE = "task.json"
_ASKED = ("A short text that somebody might ask about.", "And the text that belongs to it.")

GENERATED = "generated"
"""The column of rows that holds what the model wrote to each; null where it was not asked to."""

Predictions = dict[str, np.ndarray]
"""What the model says to the rows of a split, in their order: by column, an array whose first axis is the rows.

Every task has `loss` (summed over the row's targets), and `targets` (how many those are) unless each row has one.
The rest is what its scores are computed from, such as `target` and `prediction`: a few numbers a row, or an object
array of lists of numbers; never logits and never texts, so that memory stays small, and nothing private is kept.
"""

Answer = dict[str, Any]
"""What somebody who asks the model is told: JSON values by name; the first one is the answer."""


@dataclass(frozen=True)
class Layout:
    """Columns of a source that make rows of a task.

    Attributes:
        texts: what the model reads, in the task's order.
        target: what it is to say; None where the texts hold that, too.
    """

    texts: tuple[str, ...]
    target: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """All columns, each with the key of params.yaml that names it."""
        named = dict.fromkeys(self.texts, "data.text_column_names")
        return named if self.target is None else named | {self.target: "data.label_column_name"}


@dataclass(frozen=True)
class Collation:
    """What examples need to become a batch.

    Attributes:
        config: the model's; its padding id is the one that the model knows.
        seed: together with `epoch` and an example's index, what random choices hang on.
        train: how it is trained; the defaults where examples are not trained on, so that scores stay comparable.
        training: whether they are trained on.
    """

    config: "PreTrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    seed: int = 0
    epoch: int = 0
    train: Train = field(default_factory=Train)
    training: bool = False

    @property
    def pad_token_id(self) -> int:
        """The id of padding."""
        return int(self.config.pad_token_id)


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the device.

    Attributes:
        inputs: what the model's forward takes, each (examples, tokens); never `labels`.
        targets: what the loss compares with; `labels` are aligned with the logits, -100 where there is none.
    """

    inputs: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]

    @property
    def labels(self) -> torch.Tensor:
        """The targets of a task that has one kind of them."""
        return self.targets["labels"]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        inputs, targets = (
            {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
            for tensors in (self.inputs, self.targets)
        )
        return Batch(inputs, targets)


@dataclass(frozen=True)
class Task(ABC):
    """A task. Its fields are all that it knows of the data; each has a default, so that a head can be built without.

    Attributes:
        layouts: the columns where the params name none, the first that a source has.
        score_names: the scores, the first being the one that a headline names; `loss` comes on top.
        pipeline_tag: what the Hugging Face hub calls the task; None where it has no such task.
        share_of_rows: the score that is the share of the rows that `right` names; None if there is none.
        over_length: what may become of examples longer than `tokenizer.max_seq_length`; the first is the task's own.
        generates: the rows of an evaluation to which the model writes texts: none, a few for the report, or all, since
            scores are made from the texts. Whoever asks a model that writes gets its text.
        generated_scores: those scores, which nobody knows while training.
        is_packed: whether several examples are trained on as one block: see `pipeline.data.packing`.
        takes_turns: whether its tokenizer needs a chat template.
        smooths_labels: whether `train.label_smoothing_factor` shapes its loss.
        needs_reference: whether it compares with what the model said before it was trained: `reference_columns`.
        labels: the names of the labels; a label's id is its place. Empty where a task has none.
        inputs: the columns of prepared rows that the model reads, and whoever asks it must give.
        metrics: dotted names of functions of the user's own, each of which makes one more score of `Predictions`.
        model_class: the dotted name of a transformers class of the user's own; None: that of `head`.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    score_names: ClassVar[tuple[str, ...]]
    pipeline_tag: ClassVar[str | None] = None
    share_of_rows: ClassVar[str | None] = None
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise")
    generates: ClassVar[Literal["none", "few", "all"]] = "none"
    generated_scores: ClassVar[tuple[str, ...]] = ()
    is_packed: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False
    smooths_labels: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    labels: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("text",)
    metrics: tuple[str, ...] = field(default=(), kw_only=True)
    model_class: str | None = field(default=None, kw_only=True)

    # Rows (prepare)

    @classmethod
    def layout(cls, names: Sequence[str], data: Data) -> Layout:
        """The columns of a source to read: those that the params name, and the task's own for the rest.

        Args:
            names: the columns that the source has.
        """
        whole = [layout for layout in cls.layouts if set(layout.columns) <= set(names)]
        own = (whole or cls.layouts)[0]
        texts = own.texts if data.text_column_names is None else tuple(data.text_column_names)
        target = own.target if data.label_column_name is None else data.label_column_name
        if target in texts:
            raise UserError(
                f"params.yaml: data.label_column_name: '{target}' is one of data.text_column_names, too: the model "
                "would read what it is to say."
            )
        return Layout(texts, target if any(layout.target for layout in cls.layouts) else None)

    @classmethod
    def wanted(cls, data: Data) -> Wanted:
        """Which columns of a source are read."""
        return lambda names: cls.layout([name for name in names if name != "id"], data).columns

    @classmethod
    def layout_of(cls, table: pa.Table, data: Data) -> Layout:
        """The columns of a raw table that are read.

        Raises:
            UserError: one is missing.
        """
        found = cls.layout([name for name in table.column_names if name != "id"], data)
        for name, key in found.columns.items():
            require_columns(table, [name], key)
        return found

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        """Raise a UserError if a column of a raw table is missing, or holds what the task cannot take.

        By default a task takes one column, of texts.
        """
        texts = cls.layout_of(table, data).texts
        if len(texts) > 1:
            raise UserError(f"data.text_column_names: {len(texts)} columns; this task takes one, of texts.")
        text_column(table, texts[0])

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> "Task":
        """The task with what the rows show, such as the labels of the training rows; by default nothing.

        It may be a subclass, where the kind of a column decides.

        Args:
            tables: raw tables of the splits that the source has, each with a string column `id` that says where the
                row stands.

        Raises:
            UserError: as in `check_columns`, or the rows do not make this task.
        """
        for table in tables.values():
            cls.check_columns(table, data)
        return cls()

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        """A raw table under the task's own names, in its order: `id` (string), the columns of `inputs`, the target.

        A target that is one of `labels` stands in the column `label` (int32).

        Raises:
            UserError: a value is not what the task can take.
        """
        (name,) = self.layout_of(table, data).texts
        return pa.table({"id": table["id"], "text": text_column(table, name)})

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """What the model reads of each row: rows with the same texts are the same question."""
        return list(zip(*(rows[name].to_pylist() for name in self.inputs), strict=True))

    def groups(self, rows: pa.Table) -> Sequence[tuple[str, ...]]:
        """What keeps rows together where splits are cut: those with the same texts fall into the same split."""
        return self.texts(rows)

    def strata(self, rows: pa.Table) -> Sequence[Hashable]:
        """The group of each row; a split that is cut off has its share of every group."""
        return rows["label"].to_pylist() if self.labels and "label" in rows.column_names else [None] * len(rows)

    @classmethod
    def prepare(
        cls, tables: Mapping[str, pa.Table], data: Data
    ) -> tuple["Task", dict[str, pa.Table], dict[str, pa.Table]]:
        """The task, its rows in three splits, and the same without what training shares with the evaluation splits.

        Raises:
            UserError: as in `fit`, `rows` and `splits.cut`, or a label has no training row left.
        """
        task = cls.fit(tables, data)
        rows = {split: with_source(task.rows(table, data), source_of(table)) for split, table in tables.items()}
        cut = splits.cut(rows, task.groups, task.strata, data)
        before = {split: table.replace_schema_metadata(None) for split, table in cut.items()}
        after = decontaminate(before, task.texts) if data.decontaminate_train else before
        if task.labels and "label" in after["train"].column_names:
            _check_labels(task.labels, after["train"])
        return task.seen(after["train"]), before, after

    def seen(self, train: pa.Table) -> "Task":
        """The task with what the prepared rows that it is trained on show, such as how many of them each label has."""
        return self

    def state(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Task":
        """The task with these fields, as `state` gives them."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in state.items()
        }
        return cls(**values)

    def save(self, folder: Path) -> None:
        """Keep the fields beside the prepared rows."""
        text = json.dumps(self.state(), indent=0, ensure_ascii=False)
        (folder / _STATE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Task":
        """The task that `save` kept."""
        return cls.of_state(json.loads((folder / _STATE).read_text(encoding="utf-8")))

    # Tokens (tokenize)

    @classmethod
    def settled(cls, settings: Tokenizer) -> Tokenizer:
        """The settings, with the task's own `over_length` where they have none; windows share at most their half."""
        own = settings.over_length or cls.over_length[0]
        shared = min(settings.doc_stride, settings.max_seq_length // 2)
        return settings.model_copy(update={"over_length": own, "doc_stride": shared})

    @classmethod
    def most_tokens(cls, settings: Tokenizer) -> int:
        """The most tokens of an example."""
        return settings.max_seq_length

    def vocabulary(self, rows: pa.Table) -> Iterable[str]:
        """All texts of these rows, for training a tokenizer."""
        return (text for texts in self.texts(rows) for text in texts)

    @abstractmethod
    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        """The examples of these rows, in their order.

        Args:
            training: whether they are trained on; those of other splits are never dropped.

        Returns:
            A table with `length` (int32, tokens kept), `full_length` (int32, tokens before any was cut off) and what
            `collate` needs, such as `input_ids` (list of int32); `row` (int32, the place among these rows) unless
            there is one example a row; `lost_*` (int32), what else was cut off, by kind.
        """

    @abstractmethod
    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        """A micro-batch, padded to its longest example.

        Args:
            examples: the store's columns for these examples: a list of arrays for lists, an array for numbers; and
                `index`, the place of each in the store.
        """

    # Model and loss (train)

    def check_train(self, settings: Train) -> None:
        """Raise a UserError if the task, with what its rows show, cannot be trained so."""
        if settings.class_weights is not None:
            raise UserError("params.yaml: train.class_weights: this task has no classes to weigh. Set it to null.")

    @abstractmethod
    def head(self) -> tuple[str, dict[str, Any]]:
        """The name of the model's Auto class, and what its configuration must say (such as `num_labels`)."""

    def count_targets(self, examples: Mapping[str, Any], settings: Train) -> float:
        """How many targets these examples hold, by their weight; known before any forward."""
        return float(examples["targets"].sum()) if "targets" in examples else float(len(examples["length"]))

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        """The loss summed over the targets, in fp32; the caller divides by the targets of the global batch.

        Args:
            outputs: what the model's forward returned.
        """

    @property
    def couples_examples(self) -> bool:
        """Whether the loss of an example hangs on the others of its step: then it is a `coupled_loss` of `vectors`."""
        return False

    def vectors(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """All that a coupled loss needs of the model's outputs, (examples, ...), in fp32."""
        raise NotImplementedError("a task that couples examples says what the model makes of each")

    def coupled_loss(self, vectors: torch.Tensor, targets: Mapping[str, torch.Tensor], settings: Train) -> torch.Tensor:
        """The loss of a whole step, summed over its targets, in fp32.

        Args:
            vectors: (examples, ...), of all examples of the step.
            targets: those of a `Batch`, likewise.
        """
        raise NotImplementedError("a task that couples examples says how")

    def reference_columns(self, outputs: Any, batch: Batch, settings: Train) -> dict[str, torch.Tensor]:
        """What to keep of the model's outputs before it is trained, (examples,) each: `collate` finds it as columns."""
        raise NotImplementedError("a task that needs a reference says what of it")

    # Predictions and scores (evaluate)

    @abstractmethod
    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        """The columns of `Predictions` for one micro-batch, an entry an example: tensors, arrays, or lists of lists."""

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        """Predictions of rows, from those of their examples.

        Args:
            found: by example, in the order of the store.
            rows: the prepared rows, in their order.
        """
        assert store.is_row_by_row, "a task whose rows have several examples says how to merge them"
        return found

    def columns(self, predictions: Predictions) -> dict[str, pa.Array]:
        """Predictions as people read them in a table, such as the names of labels for their ids."""
        return {name: pa.array(values.tolist() if values.ndim > 1 else values) for name, values in predictions.items()}

    def from_columns(self, table: pa.Table) -> Predictions:
        """The predictions that `columns` made a table of."""
        return {name: _array(table[name]) for name in table.column_names}

    @abstractmethod
    def scores(self, predictions: Predictions) -> dict[str, float]:
        """The scores of `score_names`, and `loss`, the mean over the targets; see `pipeline.scores` for their signs.

        Of predictions without texts, those of `generated_scores` are left out.
        """

    def all_scores(self, predictions: Predictions) -> dict[str, float]:
        """The scores, and those of `metrics`.

        Raises:
            UserError: a metric of the user's own fails.
        """
        return self.scores(predictions) | own.scores(self.metrics, predictions)

    @property
    def all_score_names(self) -> tuple[str, ...]:
        """The names of `all_scores`, but for `loss`."""
        return (*self.score_names, *own.score_names(self.metrics))

    def right(self, predictions: Predictions) -> np.ndarray | None:
        """Which rows are right, (rows,) bool; None where a row is not just right or wrong."""
        return None

    @abstractmethod
    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        """Predictions of simple methods for the evaluation rows, by the method's name, the strongest last."""

    def baselines_on_tokens(
        self, train: "Store", evaluation: "Store", rows: pa.Table, collation: Collation
    ) -> dict[str, Predictions]:
        """Likewise, of methods that predict the model's own tokens.

        Args:
            rows: the evaluation rows.
        """
        return {}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        """What the report shows of the test rows beside their scores.

        Args:
            rows: the prepared rows; of a task that generates, with the column `generated`.
            most: how many single rows to list.
        """
        return []

    # Texts that the model writes (evaluate, predict, serve)

    def prompts(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
    ) -> Sequence[Sequence[int]]:
        """Token ids behind which the model writes, at least one a row; of a model with an encoder, what that reads."""
        raise NotImplementedError("a task whose model writes texts says what they are written to")

    def with_texts(self, predictions: Predictions, rows: pa.Table) -> Predictions:
        """The predictions, with what `generated_scores` are computed from.

        Args:
            rows: the prepared rows, all of which have a text in the column `generated`.
        """
        return predictions

    # Answers (predict, serve)

    def example(self) -> dict[str, Any]:
        """A row that somebody might ask, written here and not taken from the data: it shows what each column takes.

        That is a text; a list of words, or a text that has them; or messages, or a text that a user says. A text that
        is empty here may be so elsewhere.
        """
        return dict(zip(self.inputs, chain(_ASKED, repeat(_ASKED[0])), strict=False))

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        """Rows of somebody who asks, with something in place of the target, which nobody knows."""
        return rows

    @abstractmethod
    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        """What somebody who asks is told, an entry a row.

        Args:
            predictions: none where the model is asked for texts.
            rows: with these in the column `generated`.
        """


def padded(arrays: Sequence[np.ndarray], value: int, dtype: type = np.int64) -> torch.Tensor:
    """Arrays of several lengths as one tensor, (arrays, longest)."""
    lengths = np.array([len(array) for array in arrays])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    whole: np.ndarray = np.full(mask.shape, value, dtype)
    whole[mask] = np.concatenate(arrays)
    return torch.from_numpy(whole)


def padded_inputs(examples: Mapping[str, Any], collation: Collation) -> dict[str, torch.Tensor]:
    """The inputs of a model that reads one sequence an example: ids, mask and, if there are some, token types."""
    lengths = examples["length"]
    inputs = {"attention_mask": torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))}
    for name, value in (("input_ids", collation.pad_token_id), ("token_type_ids", 0)):
        if name in examples:
            inputs[name] = padded(examples[name], value)
    return inputs


def metric_for_best_model(task: Task | type[Task], settings: Train) -> str:
    """The score that picks the best model: as the params say, else the task's first.

    A first score that needs texts is not known while training: then it is `loss`.
    """
    if settings.metric_for_best_model is not None:
        return settings.metric_for_best_model.rpartition(".")[2]
    first = task.score_names[0]
    return "loss" if first in task.generated_scores else first


def rows_of(predictions: Predictions) -> int:
    """How many rows were predicted."""
    return len(next(iter(predictions.values())))


def mean_loss(predictions: Predictions) -> float:
    """The mean loss over the targets of all rows."""
    targets = float(predictions["targets"].sum()) if "targets" in predictions else rows_of(predictions)
    return float(predictions["loss"].sum(dtype=np.float64) / targets)


def _check_labels(labels: Sequence[str], train: pa.Table) -> None:
    if lost := set(range(len(labels))) - set(label_ids(train["label"])):
        raise UserError(
            f"data.decontaminate_train: all training rows of the label '{labels[min(lost)]}' stand in "
            "validation or test, too, so none is left.\nAdd other rows with it, or set the key to false."
        )


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_list(column.type):
        return np.asarray(column.to_numpy())
    values = column.to_pylist()
    if len({np.shape(value) for value in values}) == 1:
        return np.array(values)
    listed = np.empty(len(values), dtype=object)
    listed[:] = values
    return listed
