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
from pipeline.params import Evaluate, Model, Params, Tokenizer
from pipeline.tasks.base import Collation, Task
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.text_classification import TextClassification
from stages.tokenize import tokenize

BUDGET = 256


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
