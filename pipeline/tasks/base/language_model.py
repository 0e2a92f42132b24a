"""What tasks share that predict the next token of packed texts."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import torch

from pipeline.data import packing
from pipeline.metrics import language
from pipeline.metrics.neighbours import following
from pipeline.params import Train
from pipeline.tasks.base.batch import Batch, Collation
from pipeline.tasks.base.predictions import Predictions
from pipeline.tasks.base.task import Task

if TYPE_CHECKING:
    from pipeline.data.store import Store


class LanguageModel(Task):
    """A task whose examples are those of `packing.pieces`: its targets are next tokens, each from those before it."""

    score_names: ClassVar[tuple[str, ...]] = ("perplexity", "bits_per_byte")
    pipeline_tag: ClassVar[str | None] = "text-generation"
    is_packed: ClassVar[bool] = True
    predicts_tokens: ClassVar[bool] = True

    @abstractmethod
    def predicted(self, rows: pa.Table) -> Sequence[str]:
        """The text of each row that is predicted, whose bytes are those of `bits_per_byte`."""

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        inputs = packing.inputs(examples, collation.config.model_type, collation.pad_token_id)
        tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
        labels = tensors.pop("labels")
        return Batch(tensors, {"labels": labels})

    def head(self) -> tuple[str, dict[str, Any]]:
        # With a cache transformers does not look for pieces that start again.
        return "AutoModelForCausalLM", {"use_cache": False}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return language.summed(outputs.logits, batch.labels, settings.label_smoothing_factor)

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        found = language.by_example(outputs.logits, batch.labels)
        return {"loss": found["loss"], "targets": found["targets"]}

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        by_row = language.by_row(found, store.rows, len(rows))
        return {**by_row, "bytes": language.utf8_bytes(self.predicted(rows))}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return language.scores(predictions)

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        return {}  # what predicts other units than the model's tokens has no perplexity to compare

    def baselines_on_tokens(
        self, train: "Store", evaluation: "Store", rows: pa.Table, collation: Collation
    ) -> dict[str, Predictions]:
        found = following(train, evaluation, len(collation.tokenizer))
        return {name: self.merge(predictions, evaluation, rows) for name, predictions in found.items()}
