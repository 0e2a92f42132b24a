"""What many tests start from: a project folder with a little prepared and tokenized data, and a tiny model."""

import os
import sqlite3
from pathlib import Path

from pipeline import environment

environment.prepare()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes side by side, each with one thread
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy.engine
import sqlalchemy.event

from pipeline import params_file, project
from pipeline.params import Hardware, Model, Params, Tokenizer, Train
from pipeline.tasks.text_classification import TextClassification

REPOSITORY = Path(__file__).parent.parent
TINY_BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
WORDS = (("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "sad"), ("calm", "plain", "even", "flat"))


@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
def _leave_it_to_the_kernel(connection: object, _: object) -> None:
    """MLflow's databases of this process wait for no disk: no test takes the power away, and most of them write."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which the test runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture(scope="session")
def tiny() -> Params:
    """A model of a few thousand weights, three epochs of 13 steps, dropout on."""
    return Params(
        model=Model(config=TINY_BERT),
        tokenizer=Tokenizer(vocab_size=400, max_seq_length=16),
        train=Train(num_train_epochs=3, global_batch_size=16, logging_steps=4),
        hardware=Hardware(save_steps=5, micro_batch_tokens=64, use_cpu=True, num_threads=1),
    )


@pytest.fixture
def tiny_params(tiny: Params) -> Params:
    """The same, for tests that change it."""
    return tiny


def texts_and_labels(rows: int, seed: int, labels: int = 2) -> tuple[list[str], np.ndarray]:
    """Ragged texts whose words tell their label, nine times out of ten."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, labels, rows)
    texts = []
    for label in ids:
        told = label if draw.random() < 0.9 else draw.integers(0, labels)
        texts.append(" ".join(draw.choice(WORDS[told], draw.integers(1, 20))))
    return texts, ids


@pytest.fixture
def tokenized(folder: Path, tiny_params: Params) -> Path:
    """The folder after the stages prepare and tokenize: 200 training rows, 50 of validation and 50 of test."""
    from stages.tokenize import tokenize

    (folder / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(params_file.render(tiny_params))
    project.PREPARED.mkdir(parents=True)
    TextClassification(("bad", "good")).save(project.PREPARED)
    for seed, (split, rows) in enumerate((("train", 200), ("validation", 50), ("test", 50))):
        texts, labels = texts_and_labels(rows, seed)
        ids = [f"{split}.csv:{row + 2}" for row in range(rows)]
        table = pa.table({"id": ids, "text": texts, "label": pa.array(labels, pa.int32())})
        pq.write_table(table, project.PREPARED / f"{split}.parquet")
        (folder / project.SLICES).mkdir(exist_ok=True)
        pq.write_table(table.select(["id"]), project.SLICES / f"{split}.parquet")
    tokenize(tiny_params)
    return folder
