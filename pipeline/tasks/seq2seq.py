"""Sequence to sequence: a text written for a text that is read, such as a summary or a translation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pipeline.data import over_length
from pipeline.data.encoding import encode
from pipeline.data.packing import NO_TARGET
from pipeline.data.rows import text_column, where
from pipeline.errors import UserError, did_you_mean
from pipeline.metrics import generated, language, retrieval
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import (
    GENERATED,
    Answer,
    Batch,
    Collation,
    Layout,
    Predictions,
    Task,
    mean_loss,
    padded,
    padded_inputs,
)
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PAIR = "translation"


@final
@dataclass(frozen=True)
class Seq2Seq(Task):
    """A source and a target a row; the target's tokens are the targets, each from those before it.

    Attributes:
        source_prefix: what is put before every source, as T5 wants it.
    """

    also_called: ClassVar[tuple[str, ...]] = ("summarization", "translation", "text2text-generation", "seq2seq-lm")
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout(("text",), "target"),
        Layout(("document",), "summary"),
        Layout((_PAIR,)),
    )
    score_names: ClassVar[tuple[str, ...]] = (*generated.SCORES, "token_accuracy")
    generates: ClassVar[Literal["none", "asked", "few", "all"]] = "all"
    generated_scores: ClassVar[tuple[str, ...]] = generated.SCORES
    predicts_tokens: ClassVar[bool] = True
    source_prefix: str = ""

    @classmethod
    def layout(cls, names: Sequence[str], data: Data) -> Layout:
        named = {*(data.text_column_names or ()), data.label_column_name} - {None}
        if named and _PAIR in names and not named & set(names):
            return Layout((_PAIR,))  # they name languages in it
        return super().layout(names, data)

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        _texts(table, cls.layout_of(table, data), data)

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        for table in tables.values():
            cls.check_columns(table, data)
        return cls(source_prefix=data.source_prefix or "")

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        source, target = _texts(table, self.layout_of(table, data), data)
        return pa.table({"id": table["id"], "text": source, "target": target})

    def vocabulary(self, rows: pa.Table) -> list[str]:
        return [*self._sources(rows), *rows["target"].to_pylist()]

    @classmethod
    def most_tokens(cls, settings: Tokenizer) -> int:
        return settings.max_seq_length + settings.max_target_length

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        ids = rows["id"].to_pylist()
        sources = encode([self._sources(rows)], ids, tokenizer, settings, training)
        places = sources["row"].to_numpy() if "row" in sources.column_names else np.arange(len(rows))
        written = tokenizer(text_target=rows["target"].to_pylist(), verbose=False)["input_ids"]
        whole = np.array([len(tokens) for tokens in written], np.int32)
        over_length.refuse(whole, ids, settings, "the text to write has", "max_target_length")
        too_long = whole > settings.max_target_length
        if too_long.any():
            short = {"truncation": True, "max_length": settings.max_target_length}
            written = tokenizer(text_target=rows["target"].to_pylist(), verbose=False, **short)["input_ids"]
        if settings.over_length == "drop" and training:
            sources, places = sources.filter(pa.array(~too_long[places])), places[~too_long[places]]
        kept = np.array([len(tokens) for tokens in written], np.int32)[places]
        lost = whole[places] - kept
        examples = {
            "input_ids": sources["input_ids"],
            "labels": pa.array([written[place] for place in places], pa.list_(pa.int32())),
            "length": pc.add(sources["length"], pa.array(kept)),
            "full_length": pc.add(sources["full_length"], pa.array(whole[places])),
            "targets": pa.array(kept),
            "lost_targets": pa.array(lost),
        }
        return pa.table(examples | ({"row": sources["row"]} if "row" in sources.column_names else {}))

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        ids, start = examples["input_ids"], collation.config.decoder_start_token_id
        assert start is not None, "check refuses a model that does not say what a text starts with"
        inputs = padded_inputs({"input_ids": ids, "length": np.array([len(tokens) for tokens in ids])}, collation)
        before = [np.concatenate([[start], tokens[:-1]]) for tokens in examples["labels"]]
        inputs["decoder_input_ids"] = padded(before, collation.pad_token_id)
        return Batch(inputs, {"labels": padded(examples["labels"], NO_TARGET)})

    def head(self) -> tuple[str, dict[str, Any]]:
        # Nothing is written while training; a cache would only take memory.
        return "AutoModelForSeq2SeqLM", {"use_cache": False}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return language.summed(outputs.logits, batch.labels, settings.label_smoothing_factor)

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        return dict(language.by_example(outputs.logits, batch.labels))

    def prompts(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
    ) -> Sequence[Sequence[int]]:
        sources = encode([self._sources(rows)], rows["id"].to_pylist(), tokenizer, settings, training=False)
        found: list[list[int]] = sources["input_ids"].to_pylist()
        return found

    def with_texts(self, predictions: Predictions, rows: pa.Table) -> Predictions:
        return predictions | generated.statistics(rows[GENERATED].to_pylist(), rows["target"].to_pylist())

    def scores(self, predictions: Predictions) -> dict[str, float]:
        found = generated.scores(predictions) if generated.SCORES[0] in predictions else {}
        if "targets" not in predictions:  # those of baselines, which give tokens no probability
            return found
        accuracy = float(predictions["right"].sum() / predictions["targets"].sum())
        return found | {"token_accuracy": accuracy, "loss": mean_loss(predictions)}

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        sources, references = evaluation["text"].to_pylist(), evaluation["target"].to_pylist()
        usual = int(np.median([len(text.split()) for text in train["target"].to_pylist()]))
        texts = {
            "the source itself": sources,
            f"first {usual:,} words of the source": [" ".join(text.split()[:usual]) for text in sources],
        }
        nearest = retrieval.nearest(train["text"].to_pylist(), sources)
        if nearest is not None:
            texts["target of the most alike source in training"] = train["target"].take(nearest).to_pylist()
        nothing = np.full(len(sources), np.nan)
        return {name: {"loss": nothing} | generated.statistics(found, references) for name, found in texts.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        return [generated.compared(rows, self._sources(rows), predictions, most)]

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("target", pa.array([""] * len(rows), pa.string()))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"generated_text": text} for text in rows[GENERATED].to_pylist()]

    def _sources(self, rows: pa.Table) -> list[str]:
        return [f"{self.source_prefix}{text}" for text in rows["text"].to_pylist()]


def _texts(table: pa.Table, layout: Layout, data: Data) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The sources and the targets of a raw table.

    Raises:
        UserError: a value is no text, a target is empty, or there is no such language.
    """
    if len(layout.texts) > 1:
        raise UserError(f"data.text_column_names: {len(layout.texts)} columns; this task reads one text.")
    source, target = layout.texts[0], layout.target
    if target is None:
        table, source, target = _languages(table, source, data)
    texts, targets = text_column(table, source), text_column(table, target)
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(targets)), 0).to_pylist()
    if any(blank):
        raise UserError(
            f"{where(table, blank.index(True))}: the text to write, '{target}', is empty. Add it, or remove the row."
        )
    return texts, targets


def _languages(table: pa.Table, name: str, data: Data) -> tuple[pa.Table, str, str]:
    """A table with a column for each language of a column of translations, the source's, and the target's."""
    column = table[name]
    if not pa.types.is_struct(column.type) or column.type.num_fields < 2:
        raise UserError(
            f"{where(table, 0)}: the column '{name}' ({column.type}) is no translation, such as "
            '{"en": "A dog.", "de": "Ein Hund."}.'
        )
    there = [field.name for field in column.type]
    source = there[0] if data.text_column_names is None else data.text_column_names[0]
    target = data.label_column_name or next(name for name in there if name != source)
    for key, spoken in (("text_column_names", source), ("label_column_name", target)):
        if spoken not in there:
            raise UserError(
                f"data.{key}: '{spoken}' is no language of '{name}'; there are {', '.join(there)}."
                f"{did_you_mean(spoken, there)}"
            )
    columns = {"id": table["id"]} | {spoken: pc.struct_field(column, spoken) for spoken in (source, target)}
    return pa.table(columns, metadata=table.schema.metadata), source, target


TASK = Seq2Seq
