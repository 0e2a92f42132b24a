"""A tiny model as the train stage exports it, with random weights: its answers differ from text to text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pipeline.data.tokenizer import train as train_tokenizer
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Model, Params, Tokenizer
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT, texts_and_labels

INPUTS = ("text", "text_pair")
LABELS = tuple(f"topic {letter}" for letter in "lkjihgfedcba")


def export_tiny_model(folder: Path, text_columns: int = 1, kind: type[TextClassification] = TextClassification) -> Path:
    """Export a model of twelve labels to the folder, which must not exist."""
    task = kind(LABELS, INPUTS[:text_columns])
    params = Params(
        model=Model(config=TINY_BERT),
        tokenizer=Tokenizer(vocab_size=400, max_seq_length=16),
    )
    tokenizer = train_tokenizer(texts_and_labels(100, 0)[0], params.tokenizer)
    torch.manual_seed(3)
    model = build(params, task, tokenizer)
    # As BERT draws them, weights are so small that every text gets the same answer.
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "LayerNorm" not in name:
            torch.nn.init.normal_(weight, std=0.5)
    folder.parent.mkdir(parents=True, exist_ok=True)
    export(model, tokenizer, task, params, folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, which no test changes."""
    return export_tiny_model(tmp_path_factory.mktemp("model") / "best")


def asked(*columns: Sequence[str]) -> pa.Table:
    """Texts, or texts and their pairs, as somebody asks them."""
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(INPUTS, columns, strict=False)})
