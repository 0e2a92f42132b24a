"""A tiny project for every task: rows as a source has them, and params. The contract tests know no more of a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline import params_file, project
from pipeline.params import Data, Hardware, Model, Params, Tokenizer, Train
from pipeline.tasks import names
from pipeline.tasks.base import Batch
from tests.conftest import REPOSITORY, TINY_BERT, WORDS, texts_and_labels

SPLITS = {"train": 120, "validation": 30, "test": 30}


def loss_with_labels(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss that a Hugging Face model computes by itself, given `labels`."""
    loss: torch.Tensor = model(**batch.inputs, labels=batch.labels).loss
    return loss


@dataclass(frozen=True)
class Case:
    """A tiny project.

    Attributes:
        task: the name of the task.
        rows: makes the raw columns of a split, from the number of its rows and a seed.
        params: sections that differ from a tiny BERT on short texts.
        their_loss: the loss that the Hugging Face model computes on a batch; None if it has none of this kind.
        what: tells cases of one task apart.
    """

    task: str
    rows: Callable[[int, int], dict[str, list[Any]]]
    params: Mapping[str, Any] = field(default_factory=dict)
    their_loss: Callable[[Any, Batch], torch.Tensor] | None = loss_with_labels
    what: str = ""

    def __str__(self) -> str:
        return f"{self.task} {self.what}".strip()

    def tables(self) -> dict[str, pa.Table]:
        """The raw rows of every split."""
        return {split: pa.table(self.rows(size, seed)) for seed, (split, size) in enumerate(SPLITS.items())}

    def whole_params(self) -> Params:
        """All params; the raw rows lie in data/raw."""
        files = {f"{split}_file": f"data/raw/{split}.parquet" for split in SPLITS}
        sections = {
            "task": self.task,
            "data": Data(dataset_name=None, decontaminate_train=False, **files),
            "model": Model(config=TINY_BERT),
            "tokenizer": Tokenizer(vocab_size=400, max_seq_length=16),
            "train": Train(num_train_epochs=2, global_batch_size=16, logging_steps=4, metric_for_best_model="loss"),
            "hardware": Hardware(save_steps=5, micro_batch_tokens=64, use_cpu=True, num_threads=1),
        }
        return Params(**(sections | dict(self.params)))


def classified(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with one of two labels."""
    texts, labels = texts_and_labels(rows, seed)
    return {"text": texts, "label": [("bad", "good")[label] for label in labels]}


def pairs(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and whether both have the same label."""
    first, labels = texts_and_labels(rows, seed)
    second, others = texts_and_labels(rows, seed + 100)
    return {
        "sentence1": first,
        "sentence2": second,
        "label": np.where(labels == others, "same", "other").tolist(),
    }


def tagged(rows: int, seed: int) -> dict[str, list[Any]]:
    """Words with tags in IOB1: those of some lists of words are entities."""
    texts, _ = texts_and_labels(rows, seed)
    kinds = {word: kind for kind, words in zip(("I-GOOD", "I-BAD"), WORDS, strict=False) for word in words}
    tokens = [text.split() for text in texts]
    return {"tokens": tokens, "ner_tags": [[kinds.get(word, "O") for word in words] for words in tokens]}


def asked(rows: int, seed: int) -> dict[str, list[Any]]:
    """A word of a text to find, by its list; every fourth question has no answer."""
    texts, _ = texts_and_labels(rows, seed)
    found: dict[str, list[Any]] = {"question": [], "context": [], "answers": []}
    for row, text in enumerate(texts):
        context = f"{text} some{row}" if row % 4 else text
        found["question"].append("which word is new?")
        found["context"].append(context)
        answer = {"text": [f"some{row}"], "answer_start": [len(text) + 1]}
        found["answers"].append(answer if row % 4 else {"text": [], "answer_start": []})
    return found


def loss_with_positions(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss that a Hugging Face model computes by itself, given the ends of the answers."""
    positions = {name: batch.targets[name] for name in ("start_positions", "end_positions")}
    loss: torch.Tensor = model(**batch.inputs, **positions).loss
    return loss


CASES = [
    Case("text-classification", classified),
    Case("text-classification", pairs, {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=32)}, what="of pairs"),
    Case(
        "text-classification",
        classified,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=8, over_length="window", doc_stride=2)},
        what="in windows",
    ),
    Case("token-classification", tagged, {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=32)}),
    Case(
        "token-classification",
        tagged,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=8, over_length="window", doc_stride=2)},
        what="in windows",
    ),
    Case(
        "question-answering",
        asked,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=48)},
        their_loss=loss_with_positions,
    ),
    Case(
        "question-answering",
        asked,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=16, over_length="window", doc_stride=2)},
        their_loss=loss_with_positions,
        what="in windows",
    ),
]
assert {case.task for case in CASES} == set(names()), "every task has a case, and every case a task"


def make(case: Case, folder: Path) -> None:
    """Make the folder, in which the process is, the project of a case after the stages check, prepare and tokenize."""
    from stages.check import check
    from stages.prepare import prepare
    from stages.tokenize import tokenize

    params = case.whole_params()
    (folder / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(params_file.render(params))
    project.RAW.mkdir(parents=True)
    for split, table in case.tables().items():
        pq.write_table(table, project.RAW / f"{split}.parquet")
    project.CHECKED.parent.mkdir(parents=True, exist_ok=True)
    check(params)
    prepare(params)
    tokenize(params)
