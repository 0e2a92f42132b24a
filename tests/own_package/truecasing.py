"""Truecasing: lower-cased words get their capitals back, as what speech recognition writes needs it.

Lita, Ittycheriah, Roukos and Kambhatla, "tRuEcasIng", ACL 2003.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data.encoding import encode
from pipeline.data.words import NO_WORD, joined, of_examples
from pipeline.params import Tokenizer, Train
from pipeline.tasks.base import Answer, Batch, Collation, Layout, Predictions, Task, mean_loss, padded, padded_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOWER, _CAPITAL, _UPPER = range(3)
_WRITTEN = (str.lower, str.capitalize, str.upper)
_NO_TARGET = -100


@dataclass(frozen=True)
class Truecasing(Task):
    """One target a word: how it is written, told at its first token. Words of mixed case count as capitalized."""

    layouts: ClassVar[tuple[Layout, ...]] = (Layout(("text",)),)
    score_names: ClassVar[tuple[str, ...]] = ("f1", "accuracy")
    labels: tuple[str, ...] = ("lower", "Capital", "UPPER")

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        return [(joined(_lowered(text))[0],) for text in rows["text"].to_pylist()]

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        texts, ids = rows["text"].to_pylist(), rows["id"].to_pylist()
        lowered = [text for (text,) in self.texts(rows)]
        examples = encode([lowered], ids, tokenizer, settings, training, with_offsets=True)
        labels, lost = [], []
        for row, (words,) in of_examples(examples, [_lowered(text) for text in texts]):
            cases = np.array([*_cases(texts[row]), _NO_TARGET], np.int32)
            labels.append(cases[words])  # the place of NO_WORD is the last
            lost.append(len(cases) - 1 - int((words != NO_WORD).sum()))
        targets = [int((found != _NO_TARGET).sum()) for found in labels]
        columns = {"labels": pa.array(labels, pa.list_(pa.int32()))}
        columns |= {"targets": pa.array(targets, pa.int32()), "lost_words": pa.array(lost, pa.int32())}
        for name, values in columns.items():
            examples = examples.append_column(name, values)
        return examples.drop_columns(["offsets"])

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        return Batch(padded_inputs(examples, collation), {"labels": padded(examples["labels"], _NO_TARGET)})

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForTokenClassification", {"num_labels": len(self.labels)}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        logits, smoothing = outputs.logits.float().flatten(0, 1), settings.label_smoothing_factor
        return functional.cross_entropy(logits, batch.labels.flatten(), reduction="sum", label_smoothing=smoothing)

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        log_probabilities = outputs.logits.float().log_softmax(dim=-1).cpu().numpy()
        said, actual = [], []
        for of_tokens, labels in zip(log_probabilities, batch.labels.cpu().numpy(), strict=True):
            words = labels != _NO_TARGET
            said.append(of_tokens[words])
            actual.append(labels[words])
        return _judged(said, actual)

    def scores(self, predictions: Predictions) -> dict[str, float]:
        """F1 is that of the words that are not all lower case: most are, and to find those is the point."""
        right, targets, found, raised, there = (
            float(predictions[name].sum()) for name in ("right", "targets", "found", "raised", "there")
        )
        f1 = 2 * found / (raised + there) if raised + there else 1.0
        return {"f1": f1, "accuracy": right / targets, "loss": mean_loss(predictions)}

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        """Each word as it is written most often in training, and lower case where it does not occur there."""
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        every: Counter[int] = Counter()
        for text in train["text"].to_pylist():
            for word, case in zip(_lowered(text), _cases(text), strict=True):
                counts[word][case] += 1
                every[case] += 1
        prior = np.array([every[case] + 1 for case in range(len(_WRITTEN))], np.float64)
        prior /= prior.sum()

        def said(word: str) -> np.ndarray:
            shown = np.array([counts[word][case] for case in range(len(_WRITTEN))]) if word in counts else 0
            likely: np.ndarray = prior + shown
            return np.log(likely / likely.sum())

        texts = evaluation["text"].to_pylist()
        actual = [np.array(_cases(text)) for text in texts]
        return {"most frequent case": _judged([np.stack(list(map(said, _lowered(text)))) for text in texts], actual)}

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        # What is too long to be read stays as it is asked.
        return [
            {"text": " ".join([_WRITTEN[case](word) for case, word in zip(cases, text.split(), strict=False)])}
            for cases, text in zip(predictions["cases"], rows["text"].to_pylist(), strict=True)
        ]


def _lowered(text: str) -> list[str]:
    return [word.lower() for word in text.split()]


def _cases(text: str) -> list[int]:
    """How each word of a text is written."""
    return [
        _LOWER if word == word.lower() else _UPPER if len(word) > 1 and word == word.upper() else _CAPITAL
        for word in text.split()
    ]


def _judged(said: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> Predictions:
    """Predictions of rows, from the log-probabilities of their words, (words, cases), and how these are written."""
    chosen = [found.argmax(axis=-1) for found in said]
    pairs = list(zip(chosen, actual, strict=True))
    cases = np.empty(len(said), dtype=object)
    cases[:] = [found.tolist() for found in chosen]
    return {
        "loss": np.array([-found[np.arange(len(of)), of].sum() for found, of in zip(said, actual, strict=True)]),
        "targets": np.array([len(of) for of in actual]),
        "right": np.array([int((found == of).sum()) for found, of in pairs]),
        "found": np.array([int(((found == of) & (of != _LOWER)).sum()) for found, of in pairs]),
        "raised": np.array([int((found != _LOWER).sum()) for found in chosen]),
        "there": np.array([int((of != _LOWER).sum()) for of in actual]),
        "cases": cases,
    }


TASK = Truecasing
