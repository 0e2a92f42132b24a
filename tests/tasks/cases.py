"""A tiny project for every task: rows as a source has them, and params. The contract tests know no more of a task."""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from pipeline import params_file, project
from pipeline.params import Data, Evaluate, Hardware, Model, Params, Tokenizer, Train
from pipeline.tasks import names
from pipeline.tasks.base import Batch
from tests.conftest import REPOSITORY, TINY_BERT
from tests.tasks.raw_rows import (
    asked,
    belonging,
    cased,
    chats,
    chosen,
    classified,
    labelled_with_sets,
    measured,
    near,
    pairs,
    preferred,
    reversed_texts,
    similar,
    tagged,
    texts,
    translations,
    with_negatives,
)

TINY_T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
TINY_LLAMA = {**TINY_BERT, "model_type": "llama"}
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


def loss_of_sequences(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss of a model that shifts its labels to the right by itself."""
    inputs = {name: values for name, values in batch.inputs.items() if name != "decoder_input_ids"}
    loss: torch.Tensor = model(**inputs, labels=batch.labels).loss
    return loss


def loss_with_positions(model: Any, batch: Batch) -> torch.Tensor:
    """The mean loss that a Hugging Face model computes by itself, given the ends of the answers."""
    positions = {name: batch.targets[name] for name in ("start_positions", "end_positions")}
    loss: torch.Tensor = model(**batch.inputs, **positions).loss
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


CASES = [
    Case("text-classification", classified),
    Case(
        "causal-lm",
        texts,
        {"model": Model(config=TINY_LLAMA), "evaluate": Evaluate(max_new_tokens=8)},
        their_loss=shifted_loss,
    ),
    Case(
        "causal-lm",
        texts,
        {"model": Model(config={**TINY_BERT, "is_decoder": True}), "evaluate": Evaluate(max_new_tokens=8)},
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
assert set(names()) == OF_THE_PROJECT, f"a task and its case go together: {set(names()) ^ OF_THE_PROJECT}"


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
