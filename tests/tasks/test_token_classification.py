from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from tokenizers import Tokenizer as Words
from tokenizers import models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipeline.data import tokenizer as byte_level
from pipeline.data.rows import with_source
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.model.build import build
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Batch, Collation, Predictions
from pipeline.tasks.base.prepare import prepare_rows
from pipeline.tasks.token_classification import TokenClassification
from tests.model.tiny import ARCHITECTURES, from_scratch

SETTINGS = Tokenizer(vocab_size=320, max_seq_length=64, over_length="truncate")
WINDOWS = Tokenizer(vocab_size=320, max_seq_length=12, over_length="window", doc_stride=4)
TASK = TokenClassification(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
SOME = ["Anna", "met", "naïve", "Bob-Eve", "in", "New", "York", "☃☃", ",", "U.N."]


def prepared(tokens: list[list[str]], tags: list[list[str]] | None = None) -> pa.Table:
    ids = [f"x#{row + 1}" for row in range(len(tokens))]
    tags = tags or [["O"] * len(words) for words in tokens]
    lists = pa.list_(pa.string())
    return pa.table({"id": ids, "tokens": pa.array(tokens, lists), "tags": pa.array(tags, lists)})


def drawn(rows: int, seed: int, most: int = 15) -> pa.Table:
    """Words with tags in IOB2."""
    draw = np.random.default_rng(seed)
    tokens = [draw.choice(SOME, draw.integers(1, most)).tolist() for _ in range(rows)]
    kinds = [[str(draw.choice(["O", "B-LOC", "B-PER"])) for _ in words] for words in tokens]
    return prepared(tokens, kinds)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return byte_level.train(SOME, SETTINGS)


@pytest.fixture(scope="module")
def dropping() -> PreTrainedTokenizerBase:
    """A tokenizer that knows a few words, and makes nothing of signs that nobody sees."""
    made = Words(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "new": 2, "york": 3}, "[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")


def said(task: TokenClassification, rows: pa.Table, tags: list[list[str]]) -> Predictions:
    """Predictions of these tags, as `predict` and `merge` make them of a store with a token a word."""
    ids = [np.array([task.labels.index(tag) for tag in its], np.int64) for its in tags]
    store = Store(
        pa.table(
            {
                "length": pa.array([len(its) for its in tags], pa.int32()),
                "full_length": pa.array([len(its) for its in tags], pa.int32()),
                "words": pa.array([np.arange(len(its)) for its in tags], pa.list_(pa.int32())),
            }
        )
    )
    found = {"tags": ids, "probabilities": [its * 0 + 0.5 for its in ids], "loss": [its * 0 + 0.25 for its in ids]}
    columns = {name: np.empty(len(tags), object) for name in found}
    for name, values in found.items():
        columns[name][:] = values
    return task.merge(columns, store, rows)


def test_scores_are_those_of_seqeval_on_the_corpus() -> None:
    rows = drawn(200, 1)
    draw = np.random.default_rng(3)
    actual = rows["tags"].to_pylist()
    guesses = [[str(draw.choice([tag, *TASK.labels], p=[0.7, *[0.06] * 5])) for tag in tags] for tags in actual]
    found = said(TASK, rows, guesses)
    scores = TASK.scores(found)
    for name, theirs in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert scores[name] == pytest.approx(theirs(actual, guesses), abs=1e-12)
    assert scores["accuracy"] == pytest.approx(accuracy_score(actual, guesses), abs=1e-12)
    assert scores["loss"] == 0.25
    right = [f1_score([a], [b], zero_division=1) == 1 for a, b in zip(actual, guesses, strict=True)]
    assert TASK.right(found).tolist() == right  # type: ignore[union-attr]


def test_every_first_token_of_a_word_has_its_tag_as_in_run_ner(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = drawn(40, 4)
    examples = TASK.encode(rows, tokenizer, SETTINGS, True)
    for row, (words, tags) in enumerate(zip(rows["tokens"].to_pylist(), rows["tags"].to_pylist(), strict=True)):
        theirs = tokenizer(words, is_split_into_words=True)
        places = theirs.word_ids()
        begins = [place is not None and place != before for before, place in zip([None, *places], places, strict=False)]
        labels = [
            TASK.labels.index(tags[place]) if begin else -100 for begin, place in zip(begins, places, strict=True)
        ]
        assert examples["input_ids"][row].as_py() == theirs["input_ids"]
        assert examples["labels"][row].as_py() == labels
        assert examples["targets"][row].as_py() == len(words)


def test_a_word_that_becomes_no_token_is_counted_and_outside(dropping: PreTrainedTokenizerBase) -> None:
    rows = prepared([["New", "\u200b", "York", "", "!"]], [["B-LOC", "I-LOC", "I-LOC", "O", "O"]])
    examples = TASK.encode(rows, dropping, SETTINGS, True)
    assert examples["words"].to_pylist() == [[0, 2, 4]]
    assert (examples["lost_words"][0].as_py(), examples["lost_entities"][0].as_py()) == (2, 1)
    found = {name: np.empty(1, object) for name in ("tags", "probabilities", "loss")}
    for name, values in (("tags", [1, 2, 0]), ("probabilities", [0.9, 0.8, 0.7]), ("loss", [0.1, 0.2, 0.3])):
        found[name][0] = np.array(values)
    merged = TASK.merge(found, Store(examples), rows)
    assert merged["tags"][0].tolist() == [1, 0, 2, 0, 0]
    assert (merged["targets"][0], merged["words"][0]) == (3, 5)
    assert merged["loss"][0] == pytest.approx(0.6)


def test_what_is_cut_off_is_counted_by_words_and_entities(tokenizer: PreTrainedTokenizerBase) -> None:
    tags = ["B-PER", "O", "B-LOC", "I-LOC", "I-LOC", "O", "B-PER", "B-PER"]
    rows = prepared([["in"] * 8, ["in"] * 2], [tags, tags[:2]])
    short = SETTINGS.model_copy(update={"max_seq_length": 6})  # four words between two special tokens
    examples = TASK.encode(rows, tokenizer, short, True)
    assert Store(examples).truncation(2) | {"lost_words": 4, "lost_entities": 3} == Store(examples).truncation(2)
    dropped = TASK.encode(rows, tokenizer, short.model_copy(update={"over_length": "drop"}), True)
    assert dropped["row"].to_pylist() == [1]
    with pytest.raises(UserError, match=r"x#1: the row has 10 tokens"):
        TASK.encode(rows, tokenizer, short.model_copy(update={"over_length": "raise"}), True)


def test_each_word_is_judged_in_the_window_with_most_context(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = drawn(20, 5, most=30)
    store = Store(TASK.encode(rows, tokenizer, WINDOWS, False))
    assert len(store) > 2 * len(rows)
    assert store.truncation(20)["lost_words"] == 0
    found = {name: np.empty(len(store), object) for name in ("tags", "probabilities", "loss")}
    context: list[dict[int, tuple[int, int]]] = [{} for _ in range(20)]
    for example in range(len(store)):
        words = store.examples([example])["words"][0]
        tokens = np.flatnonzero(words >= 0)
        found["tags"][example], found["loss"][example] = tokens * 0, tokens * 0.0 + 1
        found["probabilities"][example] = np.full(len(tokens), example, float)
        for token in tokens.tolist():
            around, best = min(token, len(words) - 1 - token), context[store.rows[example]]
            word = int(words[token])
            best[word] = max(best.get(word, (-1, 0)), (around, -example))
    merged = TASK.merge(found, store, rows)
    judged_in = [[-best[word][1] for word in range(len(best))] for best in context]
    assert [values.tolist() for values in merged["probabilities"]] == judged_in
    assert merged["loss"].tolist() == merged["targets"].tolist() == merged["words"].tolist(), "each word counts once"


def test_tags_without_a_logit_of_their_own_are_infinitely_unlikely(tokenizer: PreTrainedTokenizerBase) -> None:
    """Rows of a type that another model knows."""
    rows = prepared([["Anna", "met"]], [["B-ORG", "O"]])
    store = Store(TASK.encode(rows, tokenizer, SETTINGS, False))
    examples = store.examples([0])
    labels = torch.from_numpy(examples["labels"][0].astype(np.int64))[None]
    words = torch.from_numpy(examples["words"][0].astype(np.int64))[None]
    outputs = type("Outputs", (), {"logits": torch.zeros(1, labels.shape[1], 5)})
    found = TASK.predict(outputs, Batch({}, {"labels": labels, "words": words}))
    assert found["loss"][0].tolist() == pytest.approx([np.inf, np.log(5)])


def raw(tokens: list[Any], tags: list[Any], name: str) -> pa.Table:
    ids = [f"{name}.jsonl:{row + 1}" for row in range(len(tokens))]
    return with_source(pa.table({"id": ids, "tokens": tokens, "ner_tags": tags}), f"data/raw/{name}.jsonl")


def test_the_labels_are_those_of_all_types_in_training() -> None:
    train = raw([["a", "b"], ["c"]], [["I-PER", "O"], ["I-LOC"]], "train")
    test = raw([["d", "e"]], [["I-LOC", "B-LOC"]], "test")
    task, _, rows = prepare_rows(TokenClassification, {"train": train, "validation": test, "test": test}, Data())
    assert task == TASK
    assert rows["train"]["tags"].to_pylist() == [["B-PER", "O"], ["B-LOC"]]
    assert rows["test"]["tags"].to_pylist() == [["B-LOC", "B-LOC"]]
    assert task.head()[1]["id2label"][3] == "B-PER"


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (
            ["I-PERS"],
            r"data/raw/test.jsonl, line 1: the type 'PERS' in test never .* Did you mean 'PER'\?\nAdd training",
        ),
        (["O", "O"], r"data/raw/test.jsonl, line 1: 1 word, but 2 tags"),
    ],
)
def test_what_cannot_be_judged_is_refused(tags: list[str], message: str) -> None:
    train = raw([["a"]], [["B-PER"]], "train")
    with pytest.raises(UserError, match=message):
        TokenClassification.fit({"train": train, "test": raw([["d"]], [tags], "test")}, Data())


def test_training_rows_without_an_entity_are_refused() -> None:
    with pytest.raises(UserError, match="all tags of the 1 training rows are O: there is nothing to learn"):
        TokenClassification.fit({"train": raw([["a"]], [["O"]], "train")}, Data())
    table = raw([["a"]], [["O"]], "train").append_column("more", pa.array([["b"]]))
    with pytest.raises(UserError, match="2 columns; this task takes one, of words"):
        TokenClassification.check_columns(table, Data(text_column_names=["tokens", "more"]))


def test_predictions_are_known_by_the_names_of_their_tags() -> None:
    rows = drawn(30, 6)
    found = said(TASK, rows, rows["tags"].to_pylist())
    more = TokenClassification(("O", "B-ORG", "I-ORG", *TASK.labels[1:]))
    again = more.from_columns(pa.table(TASK.columns(found)))
    assert more.scores(again) == TASK.scores(found)
    assert more.columns(again)["tags"].to_pylist() == rows["tags"].to_pylist()


def test_the_baseline_says_the_most_frequent_tag_of_each_word() -> None:
    train = prepared([["New", "York"], ["New"], ["New"]], [["B-LOC", "I-LOC"], ["O"], ["B-LOC"]])
    rows = prepared([["New", "York", "unseen"]], [["B-LOC", "I-LOC", "B-PER"]])
    (found,) = TASK.baselines(train, rows).values()
    assert TASK.columns(found)["tags"].to_pylist() == [["B-LOC", "I-LOC", "O"]]
    assert found["probabilities"][0] == pytest.approx([3 / 8, 2 / 6, 2 / 9])
    assert found["loss"][0] == pytest.approx(-np.log([3 / 8, 2 / 6, 1 / 9]).sum())


def test_views_list_the_types_and_the_least_likely_rows() -> None:
    rows = prepared([["Anna"], ["New", "York"]], [["B-PER"], ["B-LOC", "I-LOC"]])
    per_type, wrong = TASK.views(rows, said(TASK, rows, [["B-PER"], ["B-LOC", "O"]]), 5)
    assert per_type.rows == [("LOC", 0.0, 0.0, 0.0, 1), ("PER", 1.0, 1.0, 1.0, 1)]
    assert wrong.rows == [("x#2", "New York", "LOC: New York", "LOC: New")]
    assert [column.title for column in wrong.columns if not column.is_text] == ["Row"]
    _, none = TASK.views(rows, said(TASK, rows, rows["tags"].to_pylist()), 5)
    assert none.rows == []


@pytest.mark.parametrize("given", [" Anna met  New York. ", ["Anna", "met", "New", "York."]])
def test_answers_say_where_entities_stand(given: str | list[str]) -> None:
    asked = pa.table({"id": ["x#1"], "tokens": [given]})
    rows = TASK.unanswered(asked)
    assert rows["tokens"].to_pylist() == [["Anna", "met", "New", "York."]]
    (answer,) = TASK.answers(said(TASK, rows, [["B-PER", "O", "B-LOC", "I-LOC"]]), asked)
    person, place = answer["entities"]
    text = given if isinstance(given, str) else " ".join(given)
    assert (person["type"], person["text"], place["type"]) == ("PER", "Anna", "LOC")
    assert place["text"] == text[place["start"] : place["end"]]
    assert place["text"].split() == ["New", "York."]
    assert (person["probability"], place["probability"]) == (0.5, 0.25)


KINDS = ("roberta", "bert", "distilbert", "modernbert", "deberta-v2", "electra", "gpt2", "llama", "qwen3", "mistral")


@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.wide) for kind in KINDS[1:])])
def test_the_loss_is_the_one_of_every_architecture(folder: Path, kind: str) -> None:
    params = from_scratch(ARCHITECTURES[kind], max_seq_length=40)
    rows = drawn(6, 7, most=6)
    encoder = make_tokenizer(params, TASK.vocabulary(rows))
    model = build(params, TASK, encoder).eval()
    store = Store(TASK.encode(rows, encoder, TASK.settled(params.tokenizer), True))
    plain = Train(label_smoothing_factor=0.0)
    with torch.no_grad():
        for row in range(6):
            batch = TASK.collate(store.examples([row]), Collation(model.config, encoder))
            theirs = model(**batch.inputs, labels=batch.labels).loss
            ours = TASK.loss(model(**batch.inputs), batch, plain) / TASK.count_targets(store.examples([row]), plain)
            assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
