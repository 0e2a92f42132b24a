"""Token classification: a tag for every word, such as the entities in a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import tagged
from pipeline.data.encoding import encode
from pipeline.data.rows import where
from pipeline.data.tagged import OUTSIDE, type_of
from pipeline.data.words import NO_WORD, asked, of_examples
from pipeline.errors import UserError, did_you_mean
from pipeline.metrics.entities import counts, entities, precision_recall_f1
from pipeline.metrics.entity_views import per_type, wrong_rows
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded, padded_inputs
from pipeline.tasks.base.predictions import listed
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

_NO_TARGET = -100
_LIST = pa.list_(pa.string())
_COLUMNS = {
    "words": pa.list_(pa.int32()),
    "labels": pa.list_(pa.int32()),
    "targets": pa.int32(),
    "lost_words": pa.int32(),
    "lost_entities": pa.int32(),
}
# Predictions with a list a row: an entry a word.
_OF_WORDS = ["tags", "probabilities"]


class _Said(NamedTuple):
    """What is said to the words of a row, each (words,): ids of tags, their probabilities, losses.

    A word without a token is outside of entities, with the probability 0 and the loss NaN: nobody was asked.
    """

    tags: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray


@final
@dataclass(frozen=True)
class TokenClassification(Task):
    """One target a word: its tag, on its first token, as transformers' run_ner has it.

    Words are tokenized as the text that they make with spaces between them, not as a list: many byte-level tokenizers
    refuse lists, and the same words in a plain text shall have the same tokens.
    """

    also_called: ClassVar[tuple[str, ...]] = ("ner", "named-entity-recognition", "pos", "tagging")
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("tokens",), "ner_tags"),)
    score_names: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy")
    pipeline_tag: ClassVar[str | None] = "token-classification"
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")
    inputs: tuple[str, ...] = ("tokens",)

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        cls._read(table, data)

    @classmethod
    def _read(cls, table: pa.Table, data: Data) -> tuple[list[list[str]], list[list[str]]]:
        """The words and tags of a raw table."""
        layout = cls.layout_of(table, data)
        if len(layout.texts) > 1:
            raise UserError(f"data.text_column_names: {len(layout.texts)} columns; this task takes one, of words.")
        words = tagged.words_column(table, layout.texts[0])
        return words, tagged.tags_column(table, str(layout.target), words)

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        shown = {split: cls._read(table, data)[1] for split, table in tables.items()}
        types = sorted({kind for tags in shown["train"] for kind in map(type_of, tags) if kind is not None})
        if not types:
            rows = f"{len(shown['train']):,} training rows"
            raise UserError(f"data.label_column_name: all tags of the {rows} are {OUTSIDE}: there is nothing to learn.")
        for split, found in shown.items():
            for row, tags in enumerate(found):
                if unknown := set(map(type_of, tags)).difference(types, [None]):
                    name = min(map(str, unknown))
                    raise UserError(
                        f"{where(tables[split], row)}: the type '{name}' in {split} never occurs in training."
                        f"{did_you_mean(name, types)}\nAdd training rows with it, or take the row out."
                    )
        return cls(tagged.labels_of(types))

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        words, tags = self._read(table, data)
        return pa.table({"id": table["id"], "tokens": pa.array(words, _LIST), "tags": pa.array(tags, _LIST)})

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        return [(" ".join(words),) for words in rows["tokens"].to_pylist()]

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        texts = [text for (text,) in self.texts(rows)]
        examples = encode([texts], rows["id"].to_pylist(), tokenizer, settings, training, with_offsets=True)
        ids, tags = {name: place for place, name in enumerate(self.labels)}, rows["tags"].to_pylist()
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for row, windows in of_examples(examples, rows["tokens"].to_pylist()):
            # A type that the model was never told of, in somebody else's rows, is no target.
            targets = np.array([*(ids.get(tag, _NO_TARGET) for tag in tags[row]), _NO_TARGET], np.int32)
            labels = [targets[words] for words in windows]
            lost = np.setdiff1d(np.arange(len(tags[row])), np.concatenate(windows))
            cut = sum(bool(((found.first <= lost) & (lost <= found.last)).any()) for found in entities(tags[row]))
            columns["words"] += windows
            columns["labels"] += labels
            columns["targets"] += [int((found != _NO_TARGET).sum()) for found in labels]
            columns["lost_words"] += [len(lost), *[0] * (len(windows) - 1)]
            columns["lost_entities"] += [cut, *[0] * (len(windows) - 1)]
        for name, kind in _COLUMNS.items():
            examples = examples.append_column(name, pa.array(columns[name], kind))
        return examples.drop_columns(["offsets"])

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        targets = {"labels": padded(examples["labels"], _NO_TARGET), "words": padded(examples["words"], NO_WORD)}
        return Batch(padded_inputs(examples, collation), targets)

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForTokenClassification", self.label_names()

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return functional.cross_entropy(
            outputs.logits.float().flatten(0, 1),
            batch.labels.flatten(),
            reduction="sum",
            ignore_index=_NO_TARGET,
            label_smoothing=settings.label_smoothing_factor,
        )

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        log_probabilities = outputs.logits.float().log_softmax(dim=-1)
        best = log_probabilities.max(dim=-1)
        losses = -log_probabilities.gather(-1, batch.labels.clamp(min=0)[..., None]).squeeze(-1)
        # A type that the model was never told of has the probability 0.
        losses = losses.masked_fill(batch.labels == _NO_TARGET, torch.inf)
        chosen = (batch.targets["words"] != NO_WORD).cpu().numpy()
        found = {"tags": best.indices, "probabilities": best.values.exp(), "loss": losses}
        return {
            name: [of_tokens[words] for of_tokens, words in zip(values.cpu().numpy(), chosen, strict=True)]
            for name, values in found.items()
        }

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        sizes = [len(words) for words in rows["tokens"].to_pylist()]
        said = [_Said(np.zeros(size, np.int64), np.zeros(size), np.full(size, np.nan)) for size in sizes]
        context = [np.full(size, -1) for size in sizes]
        for example, row in enumerate(store.rows.tolist()):
            of_tokens = store.examples([example])["words"][0]
            tokens = np.flatnonzero(of_tokens != NO_WORD)
            words = of_tokens[tokens]
            # A word in two windows is judged where more tokens stand on its shorter side.
            around = np.minimum(tokens, len(of_tokens) - 1 - tokens)
            better = around > context[row][words]
            context[row][words[better]] = around[better]
            for column, name in zip(said[row], ("tags", "probabilities", "loss"), strict=True):
                column[words[better]] = found[name][example][better]
        return self._judged(rows, said)

    def _judged(self, rows: pa.Table, said: Sequence[_Said]) -> Predictions:
        """The columns of predictions, from what was said to the words of each row."""
        actual = rows["tags"].to_pylist()
        named = [self._named(found.tags) for found in said]
        right, predicted, there = counts(actual, named).T
        return {
            "loss": np.array([np.nansum(found.losses) for found in said], np.float64),
            "targets": np.array([np.count_nonzero(~np.isnan(found.losses)) for found in said], np.int64),
            "right": right,
            "predicted": predicted,
            "actual": there,
            "right_words": np.array(
                [sum(map(str.__eq__, *both)) for both in zip(actual, named, strict=True)], np.int64
            ),
            "words": np.array([len(tags) for tags in actual], np.int64),
            "tags": listed([found.tags for found in said]),
            "probabilities": listed([found.probabilities for found in said]),
        }

    def _named(self, tags: Sequence[int] | np.ndarray) -> list[str]:
        return [self.labels[tag] for tag in tags]

    def columns(self, predictions: Predictions) -> dict[str, pa.Array]:
        counted = {name: values for name, values in predictions.items() if name not in _OF_WORDS}
        return {
            **super().columns(counted),
            "tags": pa.array([self._named(tags) for tags in predictions["tags"]], _LIST),
            "probabilities": pa.array(list(predictions["probabilities"]), pa.list_(pa.float64())),
        }

    def from_columns(self, table: pa.Table) -> Predictions:
        ids = {name: place for place, name in enumerate(self.labels)}
        tags = [np.array([ids[tag] for tag in named], np.int64) for named in table["tags"].to_pylist()]
        probabilities = [np.array(found, np.float64) for found in table["probabilities"].to_pylist()]
        counted = super().from_columns(table.drop_columns(_OF_WORDS))
        return {**counted, "tags": listed(tags), "probabilities": listed(probabilities)}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        right, predicted, actual, right_words, words = (
            int(predictions[name].sum()) for name in ("right", "predicted", "actual", "right_words", "words")
        )
        precision, recall, f1 = precision_recall_f1(right, predicted, actual)
        return {
            "f1": f1,
            "precision": precision,
            "recall": recall,
            "accuracy": right_words / max(words, 1),
            "loss": mean_loss(predictions),
        }

    def right(self, predictions: Predictions) -> np.ndarray | None:
        right, predicted, actual = (predictions[name] for name in ("right", "predicted", "actual"))
        found: np.ndarray = (right == predicted) & (right == actual)
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        seen = tagged.Frequencies.of(train["tokens"].to_pylist(), train["tags"].to_pylist(), len(self.labels))
        said = []
        for words, tags in zip(evaluation["tokens"].to_pylist(), evaluation["tags"].to_pylist(), strict=True):
            guesses = list(map(seen.most_frequent, words))
            likely, right = (np.array(list(map(seen.share, words, some)), np.float64) for some in (guesses, tags))
            said.append(_Said(np.array(list(map(self.labels.index, guesses)), np.int64), likely, -np.log(right)))
        return {"most frequent tag of each word": self._judged(evaluation, said)}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        actual, named = rows["tags"].to_pylist(), [self._named(tags) for tags in predictions["tags"]]
        wrong = np.flatnonzero(~np.asarray(self.right(predictions)))
        order = wrong[np.argsort(-predictions["loss"][wrong], kind="stable")][:most]
        chosen = rows.take(order)
        return [
            per_type(actual, named),
            wrong_rows(
                chosen["id"].to_pylist(),
                chosen["tokens"].to_pylist(),
                [actual[row] for row in order],
                [named[row] for row in order],
            ),
        ]

    def example(self) -> dict[str, Any]:
        return {"tokens": ["Ada", "Lovelace", "was", "born", "in", "London", "."]}

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        words = [asked(given)[1] for given in rows["tokens"].to_pylist()]
        tags = [[OUTSIDE] * len(found) for found in words]
        return pa.table({"id": rows["id"], "tokens": pa.array(words, _LIST), "tags": pa.array(tags, _LIST)})

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        answered = []
        for row, given in enumerate(rows["tokens"].to_pylist()):
            text, _, places = asked(given)
            found = []
            for kind, first, last in entities(self._named(predictions["tags"][row])):
                start, end = places[first][0], places[last][1]
                likely = float(np.prod(predictions["probabilities"][row][first : last + 1]))
                found.append({"type": kind, "text": text[start:end], "start": start, "end": end, "probability": likely})
            answered.append({"entities": found})
        return answered


TASK = TokenClassification
