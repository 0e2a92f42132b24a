"""A tiny model as the train stage exports it, with random weights: its answers differ from text to text."""

from pathlib import Path

import pytest
import torch

from pipeline.data.tokenizer import train as train_tokenizer
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Data, Model, Params, Tokenizer
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT, texts_and_labels

LABELS = tuple(f"topic {letter}" for letter in "lkjihgfedcba")


def export_tiny_model(folder: Path, text_columns: int = 1) -> Path:
    """Export a model of twelve labels to the folder, which must not exist."""
    names = ["text", "text_pair"][:text_columns]
    params = Params(
        data=Data(text_column_names=names),
        model=Model(config=TINY_BERT),
        tokenizer=Tokenizer(vocab_size=400, max_seq_length=16),
    )
    tokenizer = train_tokenizer(texts_and_labels(100, 0)[0], params.tokenizer)
    torch.manual_seed(3)
    model = build(params, TextClassification(LABELS), tokenizer)
    # As BERT draws them, weights are so small that every text gets the same answer.
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "LayerNorm" not in name:
            torch.nn.init.normal_(weight, std=0.5)
    folder.parent.mkdir(parents=True, exist_ok=True)
    export(model, tokenizer, params, folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, which no test changes."""
    return export_tiny_model(tmp_path_factory.mktemp("model") / "best")
