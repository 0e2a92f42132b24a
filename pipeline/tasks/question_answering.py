"""Question answering: the part of a context that answers a question, or that there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch

from pipeline.data.encoding import encode
from pipeline.data.questions import (
    ANSWERS,
    NO_ANSWERS,
    NOWHERE,
    Span,
    answers_column,
    check_room,
    sentences,
    spans_of,
    tokens_of,
    trimmed,
)
from pipeline.data.rows import text_column
from pipeline.errors import UserError, counted
from pipeline.metrics.answers import by_length, exact_match, f1, words
from pipeline.metrics.spans import best_spans
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded, padded_inputs
from pipeline.views import Column, Table, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.data.store import Store

# Spans of a window that are ranked, and those of a row that are kept.
_RANKED, _KEPT = 20, 5
_POSITIONS = ("start_positions", "end_positions", "null_positions")


@final
@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Two targets an example, the first and the last token of the answer, of which the loss is the mean.

    A context that is too long is cut into windows, the question before each; in a window without the answer, and where
    there is none, both targets are the classification token (Devlin et al., "BERT", NAACL 2019, sections 4.2 and 4.3).

    Attributes:
        unanswerable: whether a question may have no answer: whether some training row has none.
        longest_answer: characters of the longest answer of the training rows; a longer span is no answer. They are not
            counted in tokens: a limit that the rows show holds for every tokenizer, and leaves no answer of theirs out.
    """

    also_called: ClassVar[tuple[str, ...]] = ("qa", "squad", "extractive-qa")
    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("question", "context"), "answers"),)
    score_names: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    pipeline_tag: ClassVar[str | None] = "question-answering"
    folds_case: ClassVar[bool] = True
    share_of_rows: ClassVar[str | None] = "exact_match"
    over_length: ClassVar[tuple[str, ...]] = ("window", "truncate", "drop", "raise")
    inputs: tuple[str, ...] = ("question", "context")
    unanswerable: bool = False
    longest_answer: int = 0

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        cls._read(table, data)

    @classmethod
    def _read(cls, table: pa.Table, data: Data) -> dict[str, Any]:
        """The columns of a raw table under their names here."""
        layout = cls.layout_of(table, data)
        if len(layout.texts) != 2:
            raise UserError(
                f"data.text_column_names: {counted(len(layout.texts), 'column')}; this task takes "
                "two: a question and its context."
            )
        question, context = (text_column(table, name) for name in layout.texts)
        answers = answers_column(table, str(layout.target), context.to_pylist())
        return {"question": question, "context": context, "answers": pa.array(answers, ANSWERS)}

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        answers = {split: cls._read(table, data)["answers"].to_pylist() for split, table in tables.items()}["train"]
        if not any(found["text"] for found in answers):
            raise UserError(
                f"data.label_column_name: none of the {len(answers):,} training questions has an answer. Add some."
            )
        longest = max(len(text) for found in answers for text in found["text"])
        return cls(unanswerable=not all(found["text"] for found in answers), longest_answer=longest)

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        return pa.table({"id": table["id"], **self._read(table, data)})

    def groups(self, rows: pa.Table) -> Sequence[tuple[str, ...]]:
        # Who has seen a context with other questions knows what is asked of it, and where the answers are.
        return [(context,) for context in rows["context"].to_pylist()]

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        texts, ids = [rows[name].to_pylist() for name in self.inputs], rows["id"].to_pylist()
        if settings.over_length in ("window", "truncate") or not training:
            check_room(texts, ids, tokenizer, settings)
        examples = encode(texts, ids, tokenizer, settings, training, truncation="only_second", with_offsets=True)
        for name, values in _targets(examples, rows, tokenizer.cls_token_id).items():
            examples = examples.append_column(name, pa.array(values, pa.int32()))
        return examples

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        offsets = [flat.reshape(-1, 2) for flat in examples["offsets"]]
        targets = {
            "starts": padded([found[:, 0] for found in offsets], -1),
            "ends": padded([found[:, 1] for found in offsets], -1),
            "lengths": torch.from_numpy(examples["length"].astype(np.int64)),
        }
        positions = {name: torch.from_numpy(examples[name].astype(np.int64)) for name in _POSITIONS}
        return Batch(padded_inputs(examples, collation), {**targets, **positions})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForQuestionAnswering", {"num_labels": 2}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return _losses(outputs, batch, settings.label_smoothing_factor).sum()

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        first, last = outputs.start_logits.float(), outputs.end_logits.float()
        starts, ends, null = (batch.targets[name] for name in ("starts", "ends", "null_positions"))
        spans = best_spans(first, last, starts, ends, self.longest_answer, _RANKED)
        return {
            **dict(zip(("starts", "ends", "scores"), spans, strict=True)),
            "null": (first.gather(1, null[:, None]) + last.gather(1, null[:, None])).squeeze(1),
            "loss": _losses(outputs, batch, 0.0),
        }

    def merge(self, found: Predictions, store: "Store", rows: pa.Table) -> Predictions:
        contexts = rows["context"].to_pylist()
        ranked: list[list[tuple[Span, float]]] = []
        for row, windows in groupby(range(len(store)), key=store.rows.tolist().__getitem__):
            its = list(windows)
            candidates: dict[Span, float] = {}
            columns = (found[name][its].ravel().tolist() for name in ("starts", "ends", "scores"))
            for start, end, score in zip(*columns, strict=True):
                span = trimmed(contexts[row], Span(start, end))
                if start >= 0 and span.start < span.end:
                    candidates[span] = max(score, candidates.get(span, score))
            if self.unanswerable:
                # There is no answer only if no window has one.
                candidates[NOWHERE] = float(found["null"][its].min())
            ranked.append(_as_probabilities(candidates))
        losses = np.bincount(store.rows, found["loss"], len(rows))
        return _judged(rows, ranked) | {"loss": losses, "targets": np.bincount(store.rows, minlength=len(rows))}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        shares = {name: float(predictions[name].mean()) for name in self.score_names}
        # Baselines have no loss: what they say of tokens is nothing.
        return shares | ({"loss": mean_loss(predictions)} if "loss" in predictions else {})

    def right(self, predictions: Predictions) -> np.ndarray | None:
        found: np.ndarray = predictions["exact_match"] == 1
        return found

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        questions, contexts = (evaluation[name].to_pylist() for name in self.inputs)
        cut = [sentences(context) or [NOWHERE] for context in contexts]
        first = [found[0] for found in cut]
        nearest = [
            max(found, key=lambda span: len({*words(question)} & {*words(context[span.start : span.end])}))
            for question, context, found in zip(questions, contexts, cut, strict=True)
        ]
        said = {"no answer": [NOWHERE] * len(evaluation)} if self.unanswerable else {}
        said |= {"first sentence": first, "sentence with most words of the question": nearest}
        return {name: _judged(evaluation, [[(span, 1.0)] for span in spans]) for name, spans in said.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        wrong = np.flatnonzero(predictions["exact_match"] == 0)
        order = wrong[np.argsort(-predictions["probabilities"][wrong, 0], kind="stable")][:most]
        chosen = rows.take(order).to_pylist()
        ranked = [
            _in_words(row["context"], predictions, place) for row, place in zip(chosen, order.tolist(), strict=True)
        ]
        shown = ("exact_match", "f1")
        return [
            Table(
                "answer_lengths",
                "Answers by length",
                "Words of the first right answer. An exact match is all of them, F1 the share of words in common.",
                [Column(title) for title in ("Right answer", "Questions", "Exact match", "F1")],
                by_length([row["text"] for row in rows["answers"].to_pylist()], *map(predictions.__getitem__, shown)),
            ),
            Table(
                "best_answers",
                "Wrong answers that the model is most sure of",
                "The best answers with their probabilities, beside the right ones.",
                [Column("Row"), *(Column(title, is_text=True) for title in ("Question", "Right", "Best answers"))],
                [
                    (row["id"], row["question"], " | ".join(dict.fromkeys(row["answers"]["text"])) or "–", answers)
                    for row, answers in zip(chosen, ranked, strict=True)
                ],
            ),
        ]

    def example(self) -> dict[str, Any]:
        return {"question": "Where was Ada Lovelace born?", "context": "Ada Lovelace was born in London."}

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        return rows.append_column("answers", pa.array([NO_ANSWERS] * len(rows), ANSWERS))

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        columns = (predictions[name][:, 0].tolist() for name in ("starts", "ends", "probabilities"))
        return [
            {"answer": context[max(start, 0) : max(end, 0)], "probability": likely, "start": start, "end": end}
            for context, start, end, likely in zip(rows["context"].to_pylist(), *columns, strict=True)
        ]


def _targets(examples: pa.Table, rows: pa.Table, null_id: int | None) -> dict[str, list[int]]:
    """By example: the first and the last token of the answer, what stands for none, and whether an answer was lost."""
    # Of several right answers the first is learned, as transformers' run_qa does.
    answers = [(spans_of(found) or [NOWHERE])[0] for found in rows["answers"].to_pylist()]
    row_of = examples["row"].to_pylist() if "row" in examples.column_names else list(range(len(examples)))
    tokens, offsets = examples["input_ids"].to_pylist(), examples["offsets"].to_pylist()
    found: dict[str, list[int]] = {name: [] for name in (*_POSITIONS, "lost_answers")}
    for row, windows in groupby(range(len(row_of)), key=row_of.__getitem__):
        first, held = len(found["lost_answers"]), False
        for window in windows:
            null = tokens[window].index(null_id) if null_id in tokens[window] else 0
            place = tokens_of(answers[row], np.array(offsets[window], np.int64).reshape(-1, 2))
            held |= place is not None
            for name, value in zip(found, (*(place or (null, null)), null, 0), strict=True):
                found[name].append(value)
        found["lost_answers"][first] = int(answers[row] != NOWHERE and not held)
    return found


def _losses(outputs: Any, batch: Batch, smoothing: float) -> torch.Tensor:
    """The loss of each example, (examples,): the mean over its two targets; padding has no probability."""
    lengths = batch.targets["lengths"][:, None]
    mask = torch.arange(outputs.start_logits.shape[1], device=lengths.device) < lengths
    logits = torch.stack([outputs.start_logits, outputs.end_logits]).float()
    positions = torch.stack([batch.targets["start_positions"], batch.targets["end_positions"]])
    log_probabilities = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=-1)
    right = log_probabilities.gather(-1, positions[..., None]).squeeze(-1)
    even = log_probabilities.masked_fill(~mask, 0).sum(dim=-1) / batch.targets["lengths"]
    return (-(1 - smoothing) * right - smoothing * even).mean(dim=0)


def _as_probabilities(candidates: Mapping[Span, float]) -> list[tuple[Span, float]]:
    """The best spans with their probabilities among the best, the likeliest first."""
    best = sorted(candidates, key=lambda span: (-candidates[span], span))[:_RANKED]
    if not best:
        return []
    weights = np.exp(np.array([candidates[span] - candidates[best[0]] for span in best], np.float64))
    return list(zip(best, (weights / weights.sum()).tolist(), strict=True))


def _judged(rows: pa.Table, ranked: Sequence[Sequence[tuple[Span, float]]]) -> Predictions:
    """The columns of predictions but for the loss, from the best spans of each row; the first one is its answer."""
    kept = [[*found[:_KEPT], *[(NOWHERE, 0.0)] * (_KEPT - len(found))] for found in ranked]
    spans = np.array([[span for span, _ in found] for found in kept], np.int64)
    said = [
        context[max(start, 0) : max(end, 0)]
        for context, (start, end) in zip(rows["context"].to_pylist(), spans[:, 0].tolist(), strict=True)
    ]
    right = [answers["text"] for answers in rows["answers"].to_pylist()]
    return {
        "f1": np.array(list(map(f1, said, right)), np.float64),
        "exact_match": np.array(list(map(exact_match, said, right)), np.float64),
        "starts": spans[:, :, 0],
        "ends": spans[:, :, 1],
        "probabilities": np.array([[likely for _, likely in found] for found in kept], np.float64),
    }


def _in_words(context: str, predictions: Predictions, row: int) -> str:
    """The best answers to a row with their probabilities."""
    columns = (predictions[name][row].tolist() for name in ("starts", "ends", "probabilities"))
    return " | ".join(
        f"{context[start:end] if start >= 0 else '–'} ({likely:.1%})"
        for start, end, likely in zip(*columns, strict=True)
        if likely > 0
    )


TASK = QuestionAnswering
