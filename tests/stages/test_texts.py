"""What MLflow is told of a whole run holds no text of a row and no secret, unless evaluate.publish_texts says so."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest

from pipeline.params import Data, Evaluate, Hardware, Params, Tracking, Train
from tests import warm
from tests.stages.test_pipeline import clone, edit, repro, run

# Every row holds it, so every text that is shown holds it.
PLANTED = "quokkapelican"
TOKEN, PASSWORD = "planted-token-93841", "planted-password-5512"


def folder_of(tmp_path: Path, tiny: Params, publish_texts: str) -> Path:
    """A clone that has run from check to evaluate, with texts, secrets and a password in an address planted."""
    params = tiny.model_copy(
        update={
            "data": Data(dataset_name=None, train_file="data/raw/planted.csv"),
            "train": Train(max_steps=4, global_batch_size=16),
            "hardware": Hardware(use_cpu=True, num_threads=1),
            "evaluate": Evaluate(n_resamples=100, publish_texts=publish_texts, slices=["length"]),
            "tracking": Tracking(
                tags={"note": f"see https://me:{PASSWORD}@example.org/?token={TOKEN}", "env": TOKEN},
            ),
        }
    )
    folder = clone(tmp_path / "project", params)
    texts = [f"w{row:03}x {PLANTED}{row:03} says w{row % 7}" for row in range(120)]
    rows = "".join(f"{text},{'ab'[row * 7 % 5 % 2]}\n" for row, text in enumerate(texts))
    planted = folder / "data/raw/planted.csv"
    # As git has it, one label is another: the change of a tracked file is a part of the lineage that MLflow gets.
    planted.write_text(f"text,label\n{rows.replace(',a', ',b', 1)}")
    for command in (
        ["add", "-f", str(planted)],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "rows"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    planted.write_text(f"text,label\n{rows}")
    subprocess.run(
        ["git", "remote", "add", "origin", f"https://me:{PASSWORD}@example.org/x.git"], cwd=folder, check=True
    )
    repro(folder, MY_API_TOKEN=TOKEN)
    return folder


def evaluate(folder: Path) -> None:
    """Judge the model of a clone once more, with a secret among the variables."""
    run(folder, str(warm.python(*warm.STAGES)), "-m", "stages.evaluate", MY_API_TOKEN=TOKEN)


def said_to_mlflow(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that MLflow keeps of the runs: params, tags, inputs and artifacts, each by its name."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [found.experiment_id for found in client.search_experiments()]
    for found in client.search_runs(experiments):
        yield "run", json.dumps(found.to_dictionary()).encode()
    # The tokenizer is a part of the model, and its vocabulary is made of words of the rows.
    for path in (folder / "mlartifacts").rglob("*"):
        if path.is_file() and "tokenizer" not in path.name:
            content = repr(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()
            yield path.relative_to(folder / "mlartifacts").as_posix(), content
    yield "mlflow.db", (folder / "mlflow.db").read_bytes()


def holding(folder: Path, planted: str) -> set[str]:
    """The last part of the name of everything that holds a planted text."""
    return {name.rpartition("/")[2] for name, content in said_to_mlflow(folder) if planted.encode() in content}


def in_report(folder: Path) -> bool:
    return PLANTED in (folder / "reports/index.html").read_text()


def test_texts_are_where_they_may_be_and_secrets_nowhere(tmp_path: Path, tiny: Params) -> None:
    """The model is judged three times; MLflow keeps what every time told it."""
    folder = folder_of(tmp_path, tiny, "local")
    names = {name.rpartition("/")[2] for name, _ in said_to_mlflow(folder)}
    assert {"index.html", "evaluation.json", "test.parquet", "params.yaml", "model.safetensors"} <= names
    assert in_report(folder)
    edit(folder, evaluate={"publish_texts": "none"})
    evaluate(folder)
    assert not in_report(folder)
    assert holding(folder, PLANTED) == set(), "neither what is kept here nor what is shown nowhere is told"
    assert holding(folder, "planted.csv:") >= {"index.html", "test.parquet"}, "ids stand for the rows"
    edit(folder, evaluate={"publish_texts": "mlflow"})
    evaluate(folder)
    assert in_report(folder)
    assert holding(folder, PLANTED) == {"index.html", "changes.patch"}
    assert holding(folder, TOKEN) == holding(folder, PASSWORD) == set()


@pytest.mark.wide
@pytest.mark.parametrize(("publish_texts", "told"), [("none", set()), ("mlflow", {"index.html", "changes.patch"})])
def test_a_whole_pipeline_tells_no_more_and_no_less(
    tmp_path: Path, tiny: Params, publish_texts: str, told: set[str]
) -> None:
    folder = folder_of(tmp_path, tiny, publish_texts)
    assert holding(folder, PLANTED) == told
    assert in_report(folder) == (publish_texts != "none")
    assert holding(folder, TOKEN) == holding(folder, PASSWORD) == set()
