"""What a task promises, from its rows to its scores and answers, in the order in which the stages ask for it."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch

from pipeline import own
from pipeline.errors import UserError
from pipeline.params import Tokenizer, Train
from pipeline.tasks.base.batch import Batch, Collation
from pipeline.tasks.base.predictions import Answer, Predictions, as_column, of_column
from pipeline.tasks.base.rows import RowReader
from pipeline.views import View

if TYPE_CHECKING:
    # More than a second of imports, which prepare does not need.
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store


@dataclass(frozen=True)
class Task(RowReader):
    """A task. Each of its fields has a default, so that a head can be built without data.

    Attributes:
        also_called: what others call the task, such as transformers' pipelines: an error leads from there to its name.
        score_names: the scores, the first being the one that a headline names; `loss` comes on top.
        pipeline_tag: what the Hugging Face hub calls the task; None where it has no such task.
        share_of_rows: the score that is the share of the rows that `right` names; None if there is none.
        over_length: what may become of examples longer than `tokenizer.max_seq_length`; the first is the task's own.
        folds_case: whether a tokenizer that is trained here folds case, where the params do not say: not of a task that
            writes, tags or predicts words as they are written.
        generates: to which rows the model writes texts: none; those of whoever asks it; these, and a few of an
            evaluation, for the report; or all, since scores are made from the texts.
        generated_scores: those scores, which nobody knows while training.
        is_packed: whether several examples are trained on as one block: see `pipeline.data.packing`.
        takes_turns: whether its tokenizer needs a chat template.
        smooths_labels: whether `train.label_smoothing_factor` shapes its loss.
        predicts_tokens: whether its loss is the cross-entropy of `labels` by the model's output embeddings, summed; the
            sum may stand in place of the logits.
        needs_reference: whether it compares with what the model said before it was trained: `reference_columns`.
        fine_tuning_rate: the learning rate that a pretrained model is usually trained with on this task; None: that of
            most tasks.
        metrics: dotted names of functions of the user's own, each of which makes one more score of `Predictions`.
        model_class: the dotted name of a transformers class of the user's own; None: that of `head`.
    """

    also_called: ClassVar[tuple[str, ...]] = ()
    score_names: ClassVar[tuple[str, ...]]
    pipeline_tag: ClassVar[str | None] = None
    share_of_rows: ClassVar[str | None] = None
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise")
    folds_case: ClassVar[bool] = False
    generates: ClassVar[Literal["none", "asked", "few", "all"]] = "none"
    generated_scores: ClassVar[tuple[str, ...]] = ()
    is_packed: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False
    smooths_labels: ClassVar[bool] = True
    predicts_tokens: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    fine_tuning_rate: ClassVar[float | None] = None
    metrics: tuple[str, ...] = field(default=(), kw_only=True)
    model_class: str | None = field(default=None, kw_only=True)

    # Tokens (tokenize)

    @classmethod
    def settled(cls, settings: Tokenizer) -> Tokenizer:
        """The settings, with the task's own where they have none; windows share at most their half."""
        found = {
            "do_lower_case": cls.folds_case if settings.do_lower_case is None else settings.do_lower_case,
            "over_length": settings.over_length or cls.over_length[0],
            "doc_stride": min(settings.doc_stride, settings.max_seq_length // 2),
        }
        return settings.model_copy(update=found)

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

    def label_names(self) -> dict[str, Any]:
        """What the configuration of a model with an output for each label says of them."""
        names = dict(enumerate(self.labels))
        return {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: place for place, name in names.items()},
        }

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
        return {name: as_column(values) for name, values in predictions.items()}

    def from_columns(self, table: pa.Table) -> Predictions:
        """The predictions that `columns` made a table of."""
        return {name: of_column(table[name]) for name in table.column_names}

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

    def spelled(self, predictions: Predictions, tokenizer: "PreTrainedTokenizerBase") -> Predictions:
        """Predictions for somebody who asks, with texts for the tokens in them, if there are any."""
        return predictions

    @abstractmethod
    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        """What somebody who asks is told, an entry a row.

        Args:
            predictions: none where the model is asked for texts.
            rows: with these in the column `generated`.
        """


def metric_for_best_model(task: Task | type[Task], settings: Train) -> str:
    """The score that picks the best model: as the params say, else the task's first.

    A first score that needs texts is not known while training: then it is `loss`.
    """
    if settings.metric_for_best_model is not None:
        return settings.metric_for_best_model.rpartition(".")[2]
    first = task.score_names[0]
    return "loss" if first in task.generated_scores else first
