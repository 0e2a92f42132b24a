import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from pipeline import project
from pipeline.data.batches import micro_batches
from pipeline.data.store import Store
from pipeline.model.config import load_config
from pipeline.model.fit import adapt
from pipeline.params import Data, Evaluate, Model, Params, Tokenizer
from pipeline.tasks.base import Collation, Task
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.text_classification import TextClassification
from stages.prepare import prepare
from stages.tokenize import _tables, tokenize

BUDGET = 256
Said = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("task", "asked", "folded"),
    [
        (CausalLM(), None, False),
        (CausalLM(), True, True),
        (TextClassification(("a", "b")), None, True),
        (TextClassification(("a", "b")), False, False),
    ],
)
def test_case_is_folded_where_the_task_or_the_params_say_so(
    folder: Path, task: Task, asked: bool | None, folded: bool
) -> None:
    project.PREPARED.mkdir(parents=True)
    task.save(project.PREPARED)
    name = "causal-lm" if isinstance(task, CausalLM) else "text-classification"
    for split in project.SPLITS:
        rows = pa.table({"id": ["x.csv:2"], "text": ["Some Words"], "label": pa.array([0], pa.int32())})
        pq.write_table(rows, project.PREPARED / f"{split}.parquet")
    tokenize(Params(task=name, tokenizer=Tokenizer(vocab_size=300, do_lower_case=asked)))
    encoder = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    assert (encoder.tokenize("Some") == encoder.tokenize("some")) == folded


@pytest.mark.parametrize(("kind", "width", "packed"), [("gpt2", "n_embd", True), ("bloom", "hidden_size", False)])
def test_a_micro_batch_of_any_model_keeps_to_its_tokens(folder: Path, kind: str, width: str, packed: bool) -> None:
    model = Model(model_name_or_path=None, config={"model_type": kind, width: 16, "n_layer": 1, "n_head": 2})
    settings = Tokenizer(max_seq_length=64, vocab_size=300)
    params = Params(task="causal-lm", model=model, tokenizer=settings, evaluate=Evaluate(max_new_tokens=8))
    project.PREPARED.mkdir(parents=True)
    CausalLM().save(project.PREPARED)
    texts = ["ab " * (60 if row % 10 == 0 else 2) for row in range(100)]
    for split in project.SPLITS:
        ids = [f"{split}.csv:{row + 2}" for row in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": texts}), project.PREPARED / f"{split}.parquet")
    tokenize(params)

    store = Store(project.TOKENIZED / "train.arrow")
    assert (len(store) < len(texts)) == packed
    encoder = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    config = load_config(model)
    adapt(config, encoder, pretrained=False)
    collation = Collation(config, encoder)
    sizes = [
        CausalLM().collate(store.examples(places), collation).labels.numel()
        for places in micro_batches(store.lengths, np.arange(len(store)), BUDGET)
    ]
    assert max(sizes) <= BUDGET
    assert sum(sizes) < 1.5 * store.lengths.sum()


@pytest.mark.parametrize("over_length", ["truncate", "drop", "window"])
def test_parts_are_counted_as_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, over_length: str) -> None:
    project.PREPARED.mkdir(parents=True)
    TextClassification(("a", "b")).save(project.PREPARED)
    texts = ["word " * length for length in (3, 40, 7, 1, 60, 20, 5)]
    rows = pa.table({"id": list("abcdefg"), "text": texts, "label": pa.array([0, 1, 0, 1, 0, 1, 0], pa.int32())})
    for split in project.SPLITS:
        pq.write_table(rows, project.PREPARED / f"{split}.parquet")
    settings = Tokenizer(vocab_size=300, max_seq_length=16, over_length=over_length, doc_stride=2)
    monkeypatch.setattr("stages.tokenize._ROWS_AT_ONCE", 3)
    tokenize(Params(task="text-classification", tokenizer=settings))
    found = json.loads((project.TOKENIZED / "truncation.json").read_text(encoding="utf-8"))
    for split, counted in found.items():
        assert counted == Store(project.TOKENIZED / f"{split}.arrow").truncation(len(texts))


def test_what_was_read_of_a_file_is_not_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.tokenize._ROWS_AT_ONCE", 1_000)
    project.PREPARED.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 2**62, 40_000).astype(str).tolist()
    path = project.PREPARED / "train.parquet"
    pq.write_table(pa.table({"text": noise}), path, row_group_size=1_000)
    before = pa.total_allocated_bytes()
    held = max(pa.total_allocated_bytes() - before for _ in _tables("train"))
    assert 0 < held < path.stat().st_size / 3


@pytest.fixture
def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """What the stage says of long rows, half of all, by what becomes of them."""
    project.RAW.mkdir(parents=True)
    rows = [f"{'a long text of words ' * (row % 2 * 5)}word{row},{'ab'[row // 2 % 2]}\n" for row in range(80)]
    (project.RAW / "train.csv").write_text(f"text,label\n{''.join(rows)}", encoding="utf-8")

    def run(over_length: str) -> list[str]:
        settings = Tokenizer(vocab_size=300, max_seq_length=16, over_length=over_length)
        params = Params(data=Data(dataset_name=None, train_file="data/raw/train.csv"), tokenizer=settings)
        prepare(params)
        capsys.readouterr()
        tokenize(params)
        return [line for line in capsys.readouterr().out.splitlines() if "train: " in line]

    return run


@pytest.mark.parametrize(
    ("over_length", "told"),
    [("drop", r"note: train: \d+ of 64 rows left out"), ("truncate", r"\d+ of 64 rows cut, with \d\d\.\d% of all tok")],
)
def test_it_says_how_many_rows_were_too_long(said: Said, over_length: str, told: str) -> None:
    (line,) = said(over_length)
    assert pytest.approx(32, abs=8) == int(line.split("train: ")[1].split()[0])
    assert re.search(told, line)


def test_where_nothing_is_lost_nothing_is_said(said: Said) -> None:
    assert said("window") == []
