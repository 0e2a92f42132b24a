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
from pipeline.tasks.base import Collation
from pipeline.tasks.causal_lm import CausalLM
from stages.tokenize import tokenize

BUDGET = 256


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
