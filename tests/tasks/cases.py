"""A tiny project for every task: rows as a source has them, and params. The contract tests know no more of a task."""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from pipeline import params_file, project
from pipeline.params import Data, Evaluate, Hardware, Model, Params, Tokenizer, Train
from pipeline.tasks import names
from pipeline.tasks.base import Batch
from tests.conftest import REPOSITORY, TINY_BERT, WORDS, texts_and_labels

TINY_T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
TINY_BART = {
    "model_type": "bart",
    "d_model": 16,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
    "max_position_embeddings": 64,
}
HARDWARE = Hardware(save_steps=5, micro_batch_tokens=64, use_cpu=True, num_threads=1)
OWN = "own_package"
SPLITS = {"train": 120, "validation": 30, "test": 30}


def loss_with_labels(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss that a Hugging Face model computes by itself, given `labels`."""
    loss: torch.Tensor = model(**batch.inputs, labels=batch.labels).loss
    return loss


def shifted_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Likewise, of a model that shifts the labels by itself."""
    labels = torch.cat([torch.full_like(batch.labels[:, :1], -100), batch.labels[:, :-1]], dim=1)
    loss: torch.Tensor = model(**batch.inputs, labels=labels).loss
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
        stages: those that use a package of the user's own, tests/own_package.
    """

    task: str
    rows: Callable[[int, int], dict[str, list[Any]]]
    params: Mapping[str, Any] = field(default_factory=dict)
    their_loss: Callable[[Any, Batch], torch.Tensor] | None = loss_with_labels
    what: str = ""
    stages: tuple[str, ...] = ()

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
            "train": Train(num_train_epochs=2, global_batch_size=16, logging_steps=4),
            "hardware": HARDWARE,
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


def labelled_with_sets(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with any number of three labels, none among them."""
    texts, labels = texts_and_labels(rows, seed, labels=3)
    sets = [
        [("bad", "calm", "good")[label], *["long"] * (len(text) > 50)]
        for text, label in zip(texts, labels, strict=True)
    ]
    return {"text": texts, "label": [[] if place % 7 == 0 else names for place, names in enumerate(sets)]}


def measured(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with a number that hangs on their words."""
    texts, labels = texts_and_labels(rows, seed)
    return {"text": texts, "label": [float(label) + len(text) / 100 for text, label in zip(texts, labels, strict=True)]}


def similar(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and how alike they are."""
    columns = pairs(rows, seed)
    return columns | {"label": [5.0 if label == "same" else 1.0 for label in columns["label"]]}


def chosen(rows: int, seed: int) -> dict[str, list[Any]]:
    """A context, and three endings, of which one is of its kind."""
    contexts, labels = texts_and_labels(rows, seed)
    places = np.random.default_rng(seed).integers(0, 3, rows)
    columns: dict[str, list[Any]] = {"sent1": contexts, "sent2": ["It is"] * rows, "label": places.tolist()}
    for ending in range(3):
        columns[f"ending{ending}"] = [
            " ".join([("bad", "good")[label if place == ending else 1 - label]] * (1 + ending))
            for label, place in zip(labels, places, strict=True)
        ]
    return columns


def texts(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts alone, the longest of which are longer than an example."""
    return {"text": texts_and_labels(rows, seed)[0]}


def chats(rows: int, seed: int) -> dict[str, list[Any]]:
    """Conversations of two turns or four."""
    said, _ = texts_and_labels(4 * rows, seed)
    turns = [said[4 * row : 4 * row + (2 if row % 3 else 4)] for row in range(rows)]
    return {
        "messages": [
            [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
            for texts in turns
        ]
    }


def reversed_texts(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts, and their words in the other order."""
    texts, _ = texts_and_labels(rows, seed)
    return {"document": texts, "summary": [" ".join(reversed(text.split()[:6])) for text in texts]}


def translations(rows: int, seed: int) -> dict[str, list[Any]]:
    """The same, as a source of translations has it."""
    found = reversed_texts(rows, seed)
    pairs = zip(found["document"], found["summary"], strict=True)
    return {"translation": [{"en": text, "ne": backwards} for text, backwards in pairs]}


def loss_of_sequences(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss of a model that shifts its labels to the right by itself."""
    inputs = {name: values for name, values in batch.inputs.items() if name != "decoder_input_ids"}
    loss: torch.Tensor = model(**inputs, labels=batch.labels).loss
    return loss


def belonging(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts, and their words in the other order, which belong to them."""
    texts, _ = texts_and_labels(rows, seed)
    return {"anchor": texts, "positive": [" ".join(reversed(text.split())) for text in texts]}


def with_negatives(rows: int, seed: int) -> dict[str, list[Any]]:
    """The same, with a text that does not belong to each."""
    return belonging(rows, seed) | {"negative": texts_and_labels(rows, seed + 100)[0]}


def near(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and the share of their words that both have."""
    found = pairs(rows, seed)
    sets = [(set(one.split()), set(other.split())) for one, other in zip(*list(found.values())[:2], strict=True)]
    return found | {"label": [len(one & other) / len(one | other) for one, other in sets]}


def preferred(rows: int, seed: int) -> dict[str, list[Any]]:
    """What is asked, at times after a turn of the assistant, and two replies, of which the longer one is better."""
    said, _ = texts_and_labels(3 * rows, seed)
    roles = ["user", "assistant", "user"]
    asked = [text.split()[:4] for text in said[:rows]]
    return {
        "prompt": [
            [{"role": role, "content": word} for role, word in zip(roles[: 1 if row % 3 else 3], words, strict=False)]
            for row, words in enumerate(asked)
        ],
        "chosen": said[rows : 2 * rows],
        "rejected": [text.split()[0] for text in said[2 * rows :]],
    }


TINY_LLAMA = {**TINY_BERT, "model_type": "llama"}


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


def cased(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts in which the words of one list are capitalized, and those of another in capitals."""
    written = {word: (str.capitalize, str.upper)[place](word) for place in range(2) for word in WORDS[place]}
    texts, _ = texts_and_labels(rows, seed, labels=3)
    return {"text": [" ".join(written.get(word, word) for word in text.split()) for text in texts]}


CASES = [
    Case("text-classification", classified),
    Case("causal-lm", texts, {"model": Model(config=TINY_LLAMA)}, their_loss=shifted_loss),
    Case(
        "causal-lm",
        texts,
        {"model": Model(config={**TINY_BERT, "is_decoder": True})},
        their_loss=shifted_loss,
        what="of a model that cannot tell pieces apart",
    ),
    Case("masked-lm", texts),
    Case(
        "sft",
        chats,
        {
            "model": Model(config=TINY_LLAMA),
            "tokenizer": Tokenizer(vocab_size=400, max_seq_length=48),
            "evaluate": Evaluate(max_new_tokens=8),
        },
        their_loss=shifted_loss,
    ),
    Case("text-classification", pairs, {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=32)}, what="of pairs"),
    Case(
        "text-classification",
        classified,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=8, over_length="window", doc_stride=2)},
        what="in windows",
    ),
    Case(
        "seq2seq",
        reversed_texts,
        {
            "tokenizer": Tokenizer(vocab_size=400, max_seq_length=24, max_target_length=8),
            "model": Model(config=TINY_T5),
            "evaluate": Evaluate(max_new_tokens=8),
        },
        their_loss=loss_of_sequences,
    ),
    Case(
        "seq2seq",
        translations,
        {
            "tokenizer": Tokenizer(vocab_size=400, max_seq_length=24, max_target_length=12, over_length="drop"),
            "model": Model(config=TINY_BART),
            "evaluate": Evaluate(max_new_tokens=8, num_beams=2),
        },
        their_loss=loss_of_sequences,
        what="of translations",
    ),
    Case(
        "dpo",
        preferred,
        {
            "model": Model(config=TINY_LLAMA),
            "tokenizer": Tokenizer(vocab_size=400, max_seq_length=48),
            "evaluate": Evaluate(max_new_tokens=8),
            "hardware": HARDWARE.model_copy(update={"micro_batch_tokens": 256}),
        },
        their_loss=None,
    ),
    Case("sentence-embedding", with_negatives, their_loss=None),
    Case("sentence-embedding", belonging, their_loss=None, what="without negatives"),
    Case("sentence-embedding", near, their_loss=None, what="of pairs with a number"),
    Case("text-classification", labelled_with_sets, what="of sets of labels"),
    Case("text-regression", measured),
    Case(
        "text-regression",
        similar,
        {"tokenizer": Tokenizer(vocab_size=400, max_seq_length=16, over_length="window", doc_stride=2)},
        what="of pairs in windows",
    ),
    Case("multiple-choice", chosen),
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
    Case(
        "own_package.truecasing",
        cased,
        {"evaluate": Evaluate(metrics=["own_package.metrics.row_accuracy"])},
        stages=("check", "prepare", "tokenize", "train", "evaluate"),
    ),
    Case(
        "own_package.focal",
        classified,
        {
            "model": Model(config=TINY_BERT, **{"class": "own_package.models.MeanPooled"}),
            "evaluate": Evaluate(metrics=["own_package.metrics.cost_error"]),
            "train": Train(
                num_train_epochs=2,
                global_batch_size=16,
                logging_steps=4,
                metric_for_best_model="own_package.metrics.cost_error",
            ),
        },
        their_loss=None,
        what="with a metric and a model of the user's own",
        stages=("check", "prepare", "tokenize", "train", "evaluate"),
    ),
]
OF_THE_PROJECT = {case.task for case in CASES if not case.stages}
assert set(names()) == OF_THE_PROJECT, "every task has a case, and every case a task"


def depending_on(package: str, pipeline: str, stages: Collection[str]) -> str:
    """The text of a dvc.yaml in which these stages depend on a package."""
    values = yaml.safe_load(pipeline)
    for stage in stages:
        values["stages"][stage]["deps"].append(package)
    return yaml.safe_dump(values, sort_keys=False)


def make(case: Case, folder: Path) -> None:
    """Make the folder, in which the process is, the project of a case after the stages check, prepare and tokenize."""
    from stages.check import check
    from stages.prepare import prepare
    from stages.tokenize import tokenize

    params = case.whole_params()
    pipeline = (REPOSITORY / "dvc.yaml").read_text()
    if case.stages:
        shutil.copytree(REPOSITORY / "tests" / OWN, folder / OWN)
        pipeline = depending_on(OWN, pipeline, case.stages)
    (folder / "dvc.yaml").write_text(pipeline)
    (folder / "params.yaml").write_text(params_file.render(params))
    project.RAW.mkdir(parents=True)
    for split, table in case.tables().items():
        pq.write_table(table, project.RAW / f"{split}.parquet")
    project.CHECKED.parent.mkdir(parents=True, exist_ok=True)
    check(params)
    prepare(params)
    tokenize(params)
