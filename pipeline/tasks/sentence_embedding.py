"""Sentence embedding: a vector for a text, near those of the texts that belong to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import groups
from pipeline.data.encoding import encode
from pipeline.data.rows import text_column, where
from pipeline.data.targets import number_column
from pipeline.errors import UserError, counted
from pipeline.metrics import nearness
from pipeline.metrics.quantities import pearson, spearman
from pipeline.metrics.quantity_views import against_actual
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, grouped_inputs, mean_loss
from pipeline.views import Column, Table, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

_POSITIVE, _NEGATIVE, _PAIR = "positive", "negative", "text_pair"
_OF_RANKS, _OF_NUMBERS = ("recall_at_1", "recall_at_10"), ("spearman", "pearson")
_MOST_CHARACTERS = 300


@final
@dataclass(frozen=True)
class SentenceEmbedding(Task):
    """The mean of a text's last hidden states, of length 1.

    Texts that belong together (`anchor`, `positive`) are drawn together and away from all other positives and negatives
    of the step, unless these are the same texts. Of pairs with a number, the cosine is drawn to the number.

    Attributes:
        others: what a row has beside its text.
    """

    also_called: ClassVar[tuple[str, ...]] = ("sentence-similarity", "similarity", "feature-extraction", "embedding")
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout(("anchor", "positive", "negative")),
        Layout(("anchor", "positive")),
        Layout(("sentence1", "sentence2"), "label"),
        Layout(("sentence1", "sentence2"), "score"),
    )
    smooths_labels: ClassVar[bool] = False
    # What can be scored hangs on the columns, so these are fields here. By default, all that there is.
    pipeline_tag: ClassVar[str | None] = "sentence-similarity"
    folds_case: ClassVar[bool] = True
    score_names: tuple[str, ...] = (*_OF_RANKS, *_OF_NUMBERS)  # type: ignore[misc]
    share_of_rows: str | None = _OF_RANKS[0]  # type: ignore[misc]
    others: tuple[str, ...] = (_POSITIVE,)

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        layout = cls.layout_of(table, data)
        if layout.target is not None and len(layout.texts) != 2:
            raise UserError(
                f"data.text_column_names: {counted(len(layout.texts), 'column')}; a number says how near two are."
            )
        if not 2 <= len(layout.texts) <= 3:
            raise UserError(
                f"data.text_column_names: {counted(len(layout.texts), 'column')}; this task takes a text, "
                "one that belongs to it, and perhaps one that does not."
            )
        for name in layout.texts:
            text_column(table, name)
        if layout.target is not None:
            _check_cosines(table, layout.target)

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        for table in tables.values():
            cls.check_columns(table, data)
        layout = cls.layout_of(tables["train"], data)
        if layout.target is not None:
            return cls(score_names=_OF_NUMBERS, share_of_rows=None, others=(_PAIR,))
        return cls(score_names=_OF_RANKS, others=(_POSITIVE, _NEGATIVE)[: len(layout.texts) - 1])

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        layout = self.layout_of(table, data)
        columns = {"id": table["id"]}
        for name, source in zip((*self.inputs, *self.others), layout.texts, strict=True):
            columns[name] = text_column(table, source)
        if layout.target is not None:
            columns["label"] = number_column(table, layout.target)
        return pa.table(columns)

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        # The anchor is the question; of a pair with a number, both are.
        names = [*self.inputs, *(name for name in (_PAIR,) if name in rows.column_names)]
        return list(zip(*(rows[name].to_pylist() for name in names), strict=True))

    def vocabulary(self, rows: pa.Table) -> Iterable[str]:
        return (text for texts in self._sequences(rows) for text in texts)

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        sequences = self._sequences(rows)
        size = len(sequences[0])
        texts = [text for of_row in sequences for text in of_row]
        ids = [row_id for row_id in rows["id"].to_pylist() for _ in range(size)]
        examples = groups.grouped(encode([texts], ids, tokenizer, settings, False), size)
        if "label" in rows.column_names:
            examples = examples.append_column("label", rows["label"].combine_chunks())
        if training and settings.over_length == "drop":
            return groups.only(examples, examples["full_length"].to_numpy() <= size * settings.max_seq_length)
        return examples

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        """The sequences are a text of each example, then what belongs to each, and so on."""
        tokens = groups.sequences(examples, "input_ids")
        size = len(examples["sizes"][0])
        targets = {"texts": torch.tensor([_number(values) for values in tokens]).view(size, -1).T}
        if "label" in examples:
            targets["labels"] = torch.from_numpy(examples["label"].astype(np.float32))
        return Batch(grouped_inputs(examples, collation), targets)

    def check_train(self, settings: Train) -> None:
        super().check_train(settings)
        metric = settings.metric_for_best_model
        if settings.own_metric is None and metric not in (None, "loss", *self.score_names):
            raise UserError(
                f"params.yaml: train.metric_for_best_model: these columns give no {metric}; there are "
                f"{', '.join(self.score_names)} and loss."
            )

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModel", {}

    @property
    def couples_examples(self) -> bool:
        return self.others != (_PAIR,)

    def vectors(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """Unit vectors, (examples, texts of an example, numbers)."""
        mask = batch.inputs["attention_mask"].unsqueeze(-1)
        # Lengths do not matter to what has length 1 in the end, so that a sum is as good as a mean.
        sums = (outputs.last_hidden_state.float() * mask).sum(dim=1)
        examples, size = batch.targets["texts"].shape
        return functional.normalize(sums, dim=-1).view(size, examples, -1).transpose(0, 1)

    def coupled_loss(self, vectors: torch.Tensor, targets: Mapping[str, torch.Tensor], settings: Train) -> torch.Tensor:
        return nearness.ranking_loss(vectors, targets["texts"]).sum()

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        vectors = self.vectors(outputs, batch)
        if self.couples_examples:
            return self.coupled_loss(vectors, batch.targets, settings)
        return (_cosines(vectors) - batch.labels).square().sum()

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        vectors = self.vectors(outputs, batch)
        if "labels" not in batch.targets:
            return {"vectors": vectors, "texts": batch.targets["texts"]}
        cosines = _cosines(vectors)
        return {"target": batch.labels, "prediction": cosines, "loss": (cosines - batch.labels).square()}

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        """Where each row's own text ranks among those of all rows; of a text alone, its vector."""
        if "vectors" not in found:
            return found
        anchors, *others = np.moveaxis(found["vectors"], 1, 0)
        if not others:
            return {"embedding": anchors}
        similarities = nearness.cosines(np.ascontiguousarray(anchors), np.ascontiguousarray(others[0]))
        ranks, nearest = nearness.ranks(similarities, rows[_POSITIVE].to_pylist())
        losses = nearness.ranking_losses(found["vectors"], found["texts"])
        return {"rank": ranks, "nearest": nearest, "loss": losses}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        if "rank" in predictions:
            ranks = predictions["rank"]
            found = {"recall_at_1": float((ranks == 1).mean()), "recall_at_10": float((ranks <= 10).mean())}
        else:
            target, prediction = predictions["target"], predictions["prediction"]
            found = {"spearman": spearman(target, prediction), "pearson": pearson(target, prediction)}
        return found | ({"loss": mean_loss(predictions)} if "loss" in predictions else {})

    def right(self, predictions: Predictions) -> np.ndarray | None:
        return predictions["rank"] == 1 if "rank" in predictions else None

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        first, second = (evaluation[name].to_pylist() for name in (*self.inputs, self.others[0]))
        weights = nearness.tfidf(list(self.vocabulary(train)), first, second)
        if weights is None:
            return {}
        one, other = weights
        if self.couples_examples:
            transposed = other.T.tocsr()
            ranks, nearest = nearness.ranks(lambda start, stop: (one[start:stop] @ transposed).toarray(), second)
            return {"TF-IDF cosine": {"rank": ranks, "nearest": nearest}}
        cosines = np.asarray(one.multiply(other).sum(axis=1)).ravel()
        target = evaluation["label"].to_numpy()
        guess = {"target": target, "prediction": cosines, "loss": np.square(cosines - target)}
        return {"TF-IDF cosine": guess}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        if "rank" in predictions:
            return [_hardest(rows, predictions, most)]
        return [against_actual(predictions["target"], predictions["prediction"])]

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"embedding": vector} for vector in predictions["embedding"].tolist()]

    def _sequences(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """The texts of each row; of somebody who asks, one alone."""
        names = [name for name in (*self.inputs, *self.others) if name in rows.column_names]
        return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def _check_cosines(table: pa.Table, name: str) -> None:
    """Raise a UserError if a number is none that a cosine can be: what is drawn to it would only be drawn to 1."""
    numbers = number_column(table, name)
    if len(wrong := np.flatnonzero(np.abs(numbers) > 1)):
        raise UserError(
            f"{where(table, int(wrong[0]))}: the column '{name}' is {numbers[wrong[0]]:g}; how near two texts are is a "
            "cosine, from -1 to 1.\nDivide all numbers by the highest that there can be, such as 5 in STS-B."
        )


def _number(tokens: np.ndarray) -> int:
    """A number of 64 bits for what the model reads of a text."""
    return int.from_bytes(blake2b(tokens.tobytes(), digest_size=8).digest(), "little", signed=True)


def _cosines(vectors: torch.Tensor) -> torch.Tensor:
    """Of pairs of unit vectors, (pairs, 2, numbers)."""
    return (vectors[:, 0] * vectors[:, 1]).sum(dim=-1)


def _hardest(rows: pa.Table, predictions: Predictions, most: int) -> Table:
    ranks, nearest = predictions["rank"], predictions["nearest"]
    worst = np.argsort(-ranks, kind="stable")[:most]
    worst = worst[ranks[worst] > 1].tolist()
    ids, anchors, positives = (rows[name].to_pylist() for name in ("id", "text", _POSITIVE))
    return Table(
        name="hardest",
        title="Texts that were found last",
        lead="The test rows whose own text ranks lowest among the texts of all test rows. Texts that say nothing, and "
        "others that fit as well, often stand here.",
        columns=(
            Column("Row"),
            Column("Rank"),
            *(Column(title, is_text=True) for title in ("Text", "Belongs to it", "Found instead")),
        ),
        rows=[
            (
                str(ids[row]),
                int(ranks[row]),
                *(shorten(text, _MOST_CHARACTERS) for text in (anchors[row], positives[row], positives[nearest[row]])),
            )
            for row in worst
        ],
    )


TASK = SentenceEmbedding
