"""Masked language modelling: some tokens of a text are hidden or changed, and found again from all the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pipeline.data.encoding import encode
from pipeline.data.packing import NO_TARGET
from pipeline.errors import UserError
from pipeline.metrics import language
from pipeline.metrics.neighbours import between
from pipeline.params import Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, padded, padded_inputs
from pipeline.tasks.base.predictions import listed
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

# Of the chosen tokens these shares are masked, or replaced by a random token; the rest stays as it is (Devlin et al.,
# "BERT", NAACL 2019).
_MASKED, _RANDOM = 0.8, 0.1
_EXAMPLES_AT_ONCE = 500
_MASK = "[MASK]"  # what somebody who asks may write, whatever the tokenizer calls it
_FILLINGS = 5
_ASKED = "asked"


@final
@dataclass(frozen=True)
class MaskedLM(Task):
    """An example is a text, or a window of a long one; how many of its tokens are targets depends on its length."""

    also_called: ClassVar[tuple[str, ...]] = ("fill-mask", "mlm")
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",)),)
    score_names: ClassVar[tuple[str, ...]] = ("perplexity", "token_accuracy")
    pipeline_tag: ClassVar[str | None] = "fill-mask"
    over_length: ClassVar[tuple[str, ...]] = ("window", "truncate", "drop", "raise")
    predicts_tokens: ClassVar[bool] = True

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        if tokenizer.mask_token_id is None:
            raise UserError("The tokenizer has no mask token. Choose one that has (tokenizer.tokenizer_name).")
        ids, texts = rows["id"].to_pylist(), rows["text"].to_pylist()
        if _ASKED in rows.column_names:
            texts = [text.replace(_MASK, tokenizer.mask_token) for text in texts]
            # Neighbouring windows share nothing, so that each mask is filled once.
            examples = encode([texts], ids, tokenizer, settings.model_copy(update={"doc_stride": 0}), False)
            return examples.append_column(_ASKED, pa.array(np.ones(len(examples), np.int32)))
        examples = encode([texts], ids, tokenizer, settings, training)
        special = tokenizer.all_special_ids
        plain = [int((~np.isin(tokens.values.to_numpy(), special)).sum()) for tokens in examples["input_ids"]]
        examples = examples.append_column("plain", pa.array(plain, pa.int32()))
        # A text without any token to find teaches nothing.
        return (
            examples.filter(pc.greater(examples["plain"], 0))
            if training and "row" in examples.column_names
            else examples
        )

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        if _ASKED in examples:
            inputs = padded_inputs(examples, collation)
            return Batch(inputs, {"holes": inputs["input_ids"] == collation.tokenizer.mask_token_id})
        read, labels = [], []
        for ids, place in zip(examples["input_ids"], examples["index"].tolist(), strict=True):
            draw = np.random.Generator(np.random.PCG64([collation.seed, collation.epoch, place]))
            ids, label = _masked(ids, collation, draw)
            read.append(ids)
            labels.append(label)
        inputs = padded_inputs({**examples, "input_ids": read}, collation)
        return Batch(inputs, {"labels": padded(labels, NO_TARGET)})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForMaskedLM", {}

    def count_targets(self, examples: Mapping[str, Any], settings: Train) -> float:
        return float(_chosen(examples["plain"], settings).sum())

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return language.summed(outputs.logits, batch.labels, settings.label_smoothing_factor)

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        if "holes" in batch.targets:
            best = [
                logits[holes].float().softmax(dim=-1).topk(_FILLINGS)
                for logits, holes in zip(outputs.logits, batch.targets["holes"], strict=True)
            ]
            return {
                "tokens": [found.indices.tolist() for found in best],
                "scores": [found.values.tolist() for found in best],
            }
        return language.by_example(outputs.logits, batch.labels)

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        if "tokens" in found:
            of_row: dict[str, list[list[Any]]] = {name: [[] for _ in range(len(rows))] for name in found}
            for name, values in found.items():
                for row, holes in zip(store.rows.tolist(), values, strict=True):
                    of_row[name][row] += holes
            return {name: listed(values) for name, values in of_row.items()}
        return language.by_row(found, store.rows, len(rows))

    def scores(self, predictions: Predictions) -> dict[str, float]:
        loss, right = (language.mean(predictions[name], predictions["targets"]) for name in ("loss", "right"))
        return {"perplexity": language.perplexity(loss), "token_accuracy": right, "loss": loss}

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        return {}  # what predicts other units than the model's tokens has no perplexity to compare

    def baselines_on_tokens(
        self, train: "Store", evaluation: "Store", rows: pa.Table, collation: Collation
    ) -> dict[str, Predictions]:
        def masked() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for first in range(0, len(evaluation), _EXAMPLES_AT_ONCE):
                some = evaluation.examples(np.arange(first, min(first + _EXAMPLES_AT_ONCE, len(evaluation))))
                batch = self.collate(some, collation)
                yield batch.inputs["input_ids"].numpy(), batch.labels.numpy()

        found = between(train, masked(), collation.tokenizer.all_special_ids, len(collation.tokenizer))
        return {name: self.merge(predictions, evaluation, rows) for name, predictions in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        return [language.most_surprising(rows, rows["text"].to_pylist(), predictions, most)]

    def example(self) -> dict[str, Any]:
        return {"text": f"A short {_MASK} that somebody might ask about."}

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column(_ASKED, pa.array(np.ones(len(rows), np.int32)))

    def spelled(self, predictions: Predictions, tokenizer: "PreTrainedTokenizerBase") -> Predictions:
        words = [
            [[str(tokenizer.decode([token])).strip() for token in hole] for hole in row]
            for row in predictions["tokens"]
        ]
        return {**predictions, "words": listed(words)}

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        """The best token for each mask of a text, and with their probabilities the best ones; without a mask, none."""
        return [
            {
                "tokens": [hole[0] for hole in words],
                "fillings": [
                    [{"token": word, "score": score} for word, score in zip(*hole, strict=True)]
                    for hole in zip(words, scores, strict=True)
                ],
            }
            for words, scores in zip(predictions["words"], predictions["scores"], strict=True)
        ]


def _chosen(plain: np.ndarray | int, settings: Train) -> np.ndarray:
    """How many of so many tokens are targets: a share of them, but at least one."""
    found: np.ndarray = np.minimum(np.maximum(1, np.rint(np.multiply(plain, settings.mlm_probability))), plain)
    return found.astype(np.int64)


def _masked(ids: np.ndarray, collation: Collation, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads of an example, and its labels, both (tokens,)."""
    tokenizer = collation.tokenizer
    plain = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
    chosen = draw.choice(plain, int(_chosen(len(plain), collation.train)), replace=False)
    labels = np.full(len(ids), NO_TARGET, np.int64)
    labels[chosen] = ids[chosen]
    read = ids.astype(np.int64)
    way = draw.random(len(chosen))
    read[chosen[way < _MASKED]] = tokenizer.mask_token_id
    other = chosen[(way >= _MASKED) & (way < _MASKED + _RANDOM)]
    read[other] = draw.integers(0, len(tokenizer), len(other))
    return read, labels


TASK = MaskedLM
