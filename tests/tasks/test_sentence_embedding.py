"""Embeddings: what is near what, against plain transformers and plain formulas."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from pipeline.data import tokenizer
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation.predict import predict
from pipeline.params import Data, Hardware, Tokenizer, Train
from pipeline.tasks.base import Collation, Predictions
from pipeline.tasks.sentence_embedding import SentenceEmbedding
from pipeline.world import World
from tests.conftest import TINY_BERT, texts_and_labels

SETTINGS = Tokenizer(max_seq_length=12, over_length="truncate")


def raw(**columns: list[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"id": [f"train.csv:{row + 2}" for row in range(rows)], **columns})


TRIPLETS = raw(
    anchor=["good great fine", "bad", "calm plain"],
    positive=["great fine", "awful poor sad bad", "plain"],
    negative=["sad", "good " * 30, "awful"],
)
PAIRS = raw(sentence1=["good fine", "bad sad"], sentence2=["fine", "calm"], score=[0.5, 0.25])


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    return tokenizer.train(texts_and_labels(100, 0, labels=3)[0], Tokenizer(vocab_size=300))


@pytest.fixture(scope="module")
def model(encoder: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(**TINY_BERT, vocab_size=len(encoder), pad_token_id=encoder.pad_token_id)
    found: PreTrainedModel = AutoModel.from_config(config).eval()
    return found


@pytest.fixture
def collation(model: PreTrainedModel, encoder: PreTrainedTokenizerFast) -> Collation:
    return Collation(model.config, encoder)


@torch.no_grad()
def plain(text: str, model: PreTrainedModel, encoder: PreTrainedTokenizerFast) -> np.ndarray:
    """The mean of the last hidden states by transformers alone, of length 1."""
    states = model(**encoder(text, return_tensors="pt", truncation=True, max_length=12)).last_hidden_state[0]
    mean = states.mean(dim=0)
    found: np.ndarray = (mean / mean.norm()).numpy()
    return found


def predicted(table: pa.Table, model: PreTrainedModel, collation: Collation) -> tuple[SentenceEmbedding, Predictions]:
    task = SentenceEmbedding.fit({"train": table}, Data())
    rows = task.rows(table, Data())
    store = Store(task.encode(rows, collation.tokenizer, SETTINGS, False))
    world = World.start(Hardware(use_cpu=True), "fp32")
    return task, predict(model, task, store, rows, collation, world, 64, "predict")


def test_the_loss_of_a_step_is_a_softmax_over_all_positives_and_negatives(
    model: PreTrainedModel, encoder: PreTrainedTokenizerFast, collation: Collation
) -> None:
    task = SentenceEmbedding.fit({"train": TRIPLETS}, Data())
    rows = task.rows(TRIPLETS, Data())
    batch = task.collate(Store(task.encode(rows, encoder, SETTINGS, True)).examples([0, 1, 2]), collation)
    with torch.no_grad():
        loss = task.loss(model(**batch.inputs), batch, Train())
    anchors, positives, negatives = (
        np.stack([plain(text, model, encoder) for text in TRIPLETS[name].to_pylist()]).astype(np.float64)
        for name in ("anchor", "positive", "negative")
    )
    powers = np.exp(20 * anchors @ np.concatenate([positives, negatives]).T)
    assert powers.shape == (3, 6)
    assert loss.item() == pytest.approx(-np.log(np.diag(powers) / powers.sum(axis=1)).sum(), abs=1e-4)


def test_the_same_positive_of_another_row_is_no_negative(model: PreTrainedModel, collation: Collation) -> None:
    columns = {name: TRIPLETS[name].to_pylist()[:2] for name in ("anchor", "positive")}
    alone = predicted(raw(**columns), model, collation)[1]["loss"]
    again = {"anchor": [*columns["anchor"], "fine words"], "positive": [*columns["positive"], columns["positive"][0]]}
    found = predicted(raw(**again), model, collation)[1]["loss"]
    assert found[0] == pytest.approx(alone[0], abs=1e-6)
    assert found[1] > alone[1] + 1e-3, "to others it is one"


def test_the_loss_of_scored_pairs_is_the_squared_error_of_the_cosine(
    model: PreTrainedModel, encoder: PreTrainedTokenizerFast, collation: Collation
) -> None:
    task, found = predicted(PAIRS, model, collation)
    cosines = [plain(one, model, encoder) @ plain(other, model, encoder) for one, other in task.texts(_named(PAIRS))]
    assert found["prediction"] == pytest.approx(cosines, abs=1e-5)
    assert found["loss"] == pytest.approx(np.square(np.array(cosines) - [0.5, 0.25]), abs=1e-5)
    assert not task.couples_examples
    assert tuple(task.scores(found)) == ("spearman", "pearson", "loss")
    assert (task.share_of_rows, task.right(found)) == (None, None)
    assert len(task.views(_named(PAIRS), found, 5)) == 1


def test_a_score_that_the_columns_do_not_give_picks_no_model() -> None:
    pairs, triplets = (SentenceEmbedding.fit({"train": table}, Data()) for table in (PAIRS, TRIPLETS))
    for task, there, missing in ((pairs, "pearson", "recall_at_1"), (triplets, "recall_at_10", "spearman")):
        for known in (there, "loss", None, "mypackage.metrics.own"):
            task.check_train(Train(metric_for_best_model=known))
        with pytest.raises(UserError, match=rf"metric_for_best_model: .* no {missing}; there are .*{there}"):
            task.check_train(Train(metric_for_best_model=missing))
    with pytest.raises(UserError, match="no classes to weigh"):
        pairs.check_train(Train(class_weights="balanced"))


def _named(table: pa.Table) -> pa.Table:
    return SentenceEmbedding.fit({"train": table}, Data()).rows(table, Data())


def test_whoever_asks_gets_the_vector_of_the_text(
    model: PreTrainedModel, encoder: PreTrainedTokenizerFast, collation: Collation
) -> None:
    task = SentenceEmbedding.fit({"train": TRIPLETS}, Data())
    asked = task.unanswered(pa.table({"id": ["a", "b"], "text": ["good fine", "sad"]}))
    store = Store(task.encode(asked, encoder, SETTINGS, False))
    world = World.start(Hardware(use_cpu=True), "fp32")
    answers = task.answers(predict(model, task, store, asked, collation, world, 64, "answer"), asked)
    for answer, text in zip(answers, ("good fine", "sad"), strict=True):
        assert answer["embedding"] == pytest.approx(plain(text, model, encoder), abs=1e-5)


def test_recall_counts_the_rows_whose_own_text_is_near() -> None:
    predictions = {"rank": np.array([1, 1, 10, 11]), "loss": np.array([0.0, 1.0, 2.0, 3.0])}
    task = SentenceEmbedding()
    assert task.scores(predictions) == {"recall_at_1": 0.5, "recall_at_10": 0.75, "loss": 1.5}
    assert task.right(predictions).tolist() == [True, True, False, False]


def test_the_report_lists_what_was_found_last(model: PreTrainedModel, collation: Collation) -> None:
    task, _ = predicted(TRIPLETS, model, collation)
    rows = task.rows(TRIPLETS, Data())
    (view,) = task.views(rows, {"rank": np.array([2, 1, 3]), "nearest": np.array([2, 1, 0])}, 5)
    assert [row[:2] for row in view.rows] == [("train.csv:4", 3), ("train.csv:2", 2)]
    assert view.rows[0][2:] == ("calm plain", "plain", "great fine")


def test_tf_idf_finds_what_shares_words() -> None:
    rows = _named(TRIPLETS)
    task = SentenceEmbedding.fit({"train": TRIPLETS}, Data())
    (found,) = task.baselines(rows, rows).values()
    assert found["rank"].tolist() == [1, 1, 1]
    pairs = _named(PAIRS)
    (guess,) = SentenceEmbedding.fit({"train": PAIRS}, Data()).baselines(pairs, pairs).values()
    assert guess["prediction"][0] > guess["prediction"][1] == 0.0


def test_a_training_row_with_a_text_that_is_too_long_may_be_dropped(encoder: PreTrainedTokenizerFast) -> None:
    task = SentenceEmbedding.fit({"train": TRIPLETS}, Data())
    drop = SETTINGS.model_copy(update={"over_length": "drop"})
    assert task.encode(_named(TRIPLETS), encoder, drop, True)["row"].to_pylist() == [0, 2]
    assert len(task.encode(_named(TRIPLETS), encoder, drop, False)) == 3
    stop = SETTINGS.model_copy(update={"over_length": "raise"})
    with pytest.raises(UserError, match=r"^train\.csv:3: the row has"):
        task.encode(_named(TRIPLETS), encoder, stop, True)


def test_other_columns_can_be_named() -> None:
    table = raw(question=["a"], passage=["b"], near=[1.0], more=["c"])
    pairs = SentenceEmbedding.fit({"train": table}, Data(text_column_names=["question", "passage"]))
    assert (pairs.others, pairs.score_names) == (("positive",), ("recall_at_1", "recall_at_10"))
    data = Data(text_column_names=["question", "passage"], label_column_name="near")
    scored = SentenceEmbedding.fit({"train": table}, data)
    assert scored.rows(table, data).to_pylist() == [{"id": "train.csv:2", "text": "a", "text_pair": "b", "label": 1.0}]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (Data(text_column_names=["a"]), "1 column; this task takes a text, one that belongs to it"),
        (Data(text_column_names=["a", "b", "c"], label_column_name="n"), "3 columns; a number says how near two are"),
        (Data(text_column_names=["a", "b"], label_column_name="c"), "no number that can be predicted"),
        (
            Data(text_column_names=["a", "b"], label_column_name="stars"),
            r"^train\.csv, line 2: the column 'stars' is 4\.2; .* from -1 to 1\.\nDivide",
        ),
    ],
)
def test_columns_that_make_no_pairs_are_refused(data: Data, told: str) -> None:
    with pytest.raises(UserError, match=told):
        SentenceEmbedding.check_columns(raw(a=["x"], b=["y"], c=["z"], n=[1.0], stars=[4.2]), data)
