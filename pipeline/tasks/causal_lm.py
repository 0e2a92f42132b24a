"""Causal language modelling: each token of a text from those before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import pyarrow as pa
import torch

from pipeline.data import packing
from pipeline.metrics import language
from pipeline.metrics.neighbours import following
from pipeline.params import Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store


@final
@dataclass(frozen=True)
class CausalLM(Task):
    """A row is a document, whose tokens but the first are targets; an example is a block of them, or a window."""

    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",)),)
    score_names: ClassVar[tuple[str, ...]] = ("perplexity", "bits_per_byte")
    pipeline_tag: ClassVar[str | None] = "text-generation"
    over_length: ClassVar[tuple[str, ...]] = ("window", "truncate", "drop", "raise")
    is_packed: ClassVar[bool] = True

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        encoded = tokenizer(
            rows["text"].to_pylist(), add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        first, last = ([] if token is None else [token] for token in (tokenizer.bos_token_id, tokenizer.eos_token_id))
        # A text without tokens, of a tokenizer without ends, still needs an example.
        documents = [np.array([*first, *ids, *last] or [tokenizer.pad_token_id], np.int32) for ids in encoded]
        everything = [np.ones(len(document), bool) for document in documents]
        return packing.pieces(documents, everything, rows["id"].to_pylist(), settings, training)

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
        return {**by_row, "bytes": language.utf8_bytes(rows["text"].to_pylist())}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return language.scores(predictions)

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        return {}  # what predicts other units than the model's tokens has no perplexity to compare

    def baselines_on_tokens(
        self, train: "Store", evaluation: "Store", rows: pa.Table, collation: Collation
    ) -> dict[str, Predictions]:
        found = following(train, evaluation, len(collation.tokenizer))
        return {name: self.merge(predictions, evaluation, rows) for name, predictions in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        return [language.most_surprising(rows, rows["text"].to_pylist(), predictions, most)]

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        sizes = language.utf8_bytes(rows["text"].to_pylist())
        return [
            {"perplexity": language.perplexity(mean), "bits_per_byte": language.bits_per_byte(nats, size)}
            for mean, nats, size in zip(
                language.surprise(predictions).tolist(), predictions["loss"].tolist(), sizes.tolist(), strict=True
            )
        ]


TASK = CausalLM
