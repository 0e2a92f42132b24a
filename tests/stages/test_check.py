from pathlib import Path

import pytest

from pipeline import project
from pipeline.errors import UserError
from pipeline.params import Data, Evaluate, Params, Train
from stages.check import check


def test_a_tracking_uri_that_is_none_is_told_before_anything_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI is 'localhost:5000'.* Did you mean 'http://localhost"):
        check(Params())
    assert not project.CHECKED.exists()


def test_a_slice_that_is_no_column_is_told_with_the_nearest_one(folder: Path) -> None:
    project.RAW.mkdir(parents=True)
    rows = "".join(f"some words {row},{'ab'[row % 2]},web\n" for row in range(100))
    (project.RAW / "train.csv").write_text(f"text,label,source\n{rows}", encoding="utf-8")
    data = Data(dataset_name=None, train_file="data/raw/train.csv")
    with pytest.raises(UserError, match=r"evaluate.slices: 'sorce' is not in .*train.csv.* Did you mean 'source'\?"):
        check(Params(data=data, evaluate=Evaluate(slices=["label", "sorce"])))
    assert not project.CHECKED.exists()


@pytest.mark.parametrize(
    ("task", "metric", "said"),
    [
        ("seq2seq", "bleu", "'bleu' needs texts, which are written after training; seq2seq has token_accuracy, loss"),
        ("seq2seq", "token_acuracy", r"there is no score 'token_acuracy'.* Did you mean 'token_accuracy'\?"),
        ("text-classification", "bleu", "there is no score 'bleu'; text-classification has accuracy,"),
    ],
)
def test_the_best_model_is_picked_by_a_score_that_training_knows(
    folder: Path, task: str, metric: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check(Params(task=task, train=Train(metric_for_best_model=metric)))
