"""Causal language modelling: each token of a text from those before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
import pyarrow as pa

from pipeline.data import packing
from pipeline.metrics import language
from pipeline.params import Tokenizer
from pipeline.tasks.base import GENERATED, Answer, Layout, Predictions
from pipeline.tasks.base.language_model import LanguageModel
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@final
@dataclass(frozen=True)
class CausalLM(LanguageModel):
    """A row is a document, whose tokens but the first are targets; an example is a block of them, or a window."""

    also_called: ClassVar[tuple[str, ...]] = ("text-generation", "clm", "language-modeling")
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",)),)
    generates: ClassVar[Literal["none", "asked", "few", "all"]] = "asked"
    over_length: ClassVar[tuple[str, ...]] = ("window", "truncate", "drop", "raise")

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        documents = _documents(rows, tokenizer, ended=True)
        everything = [np.ones(len(document), bool) for document in documents]
        return packing.pieces(documents, everything, rows["id"].to_pylist(), settings, training)

    def predicted(self, rows: pa.Table) -> Sequence[str]:
        found: list[str] = rows["text"].to_pylist()
        return found

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        return [language.most_surprising(rows, self.predicted(rows), predictions, most)]

    def prompts(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
    ) -> Sequence[Sequence[int]]:
        return [document.tolist() for document in _documents(rows, tokenizer, ended=False)]

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"generated_text": text} for text in rows[GENERATED].to_pylist()]


def _documents(rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", *, ended: bool) -> list[np.ndarray]:
    """The tokens of each text, behind the one that begins a text and, if it is ended, before the one that ends it."""
    encoded = tokenizer(rows["text"].to_pylist(), add_special_tokens=False, return_attention_mask=False, verbose=False)[
        "input_ids"
    ]
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id if ended else None)
    first, last = ([] if token is None else [token] for token in ends)
    # A text without tokens, of a tokenizer without ends, still needs an example.
    return [np.array([*first, *ids, *last] or [tokenizer.pad_token_id], np.int32) for ids in encoded]


TASK = CausalLM
