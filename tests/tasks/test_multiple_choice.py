"""Choices: which columns are endings, what a row's sequences are, and how many tokens they take together."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerBase

from pipeline.data.baselines import choices
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.params import Data, Tokenizer
from pipeline.tasks.base import Collation
from pipeline.tasks.multiple_choice import MultipleChoice
from pipeline.views import Diagonal, Table

WORDS = "one two three four five six seven eight nine ten"


def raw(labels: list[Any], endings: int = 3, names: str = "ending{}", long: int = 1) -> pa.Table:
    rows = len(labels)
    columns: dict[str, Any] = {"id": [f"train.jsonl:{row + 1}" for row in range(rows)]}
    columns |= {"sent1": [f"context {row} " + WORDS for row in range(rows)], "sent2": ["It is"] * rows}
    # In the wrong order, as a file may have them.
    for place in reversed(range(endings)):
        columns[names.format(place)] = [" ".join(["word"] * (place + 1) * (long if row else 1)) for row in range(rows)]
    return pa.table(columns | {"label": labels})


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer as Words
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate(f"[PAD] [UNK] [SEP] context It is word {WORDS}".split())}
    words = Words(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        pair="$A [SEP] $B:1", single="$A", special_tokens=[("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def test_all_endings_are_read_in_the_order_of_their_numbers() -> None:
    table = raw(["0", "11", "3"], endings=12)
    task = MultipleChoice.fit({"train": table}, Data())
    assert task.inputs == ("sent1", "sent2", *(f"ending{place}" for place in range(12)))
    rows = task.rows(table, Data())
    assert rows["label"].to_pylist() == [0, 11, 3]
    assert task.sequences(rows)[0][3] == "It is word word word"
    named = Data(text_column_names=["sent1", "sent2", "b1", "b0"])
    other = MultipleChoice.fit({"train": raw([0, 1], endings=2, names="b{}")}, named)
    assert other.inputs == ("sent1", "sent2", "ending0", "ending1")
    assert other.rows(raw([0, 1], endings=2, names="b{}"), named)["ending0"].to_pylist() == ["word word"] * 2


@pytest.mark.parametrize(
    ("tables", "data", "message"),
    [
        ({"train": raw([0, 3])}, Data(), "line 2: the column 'label' is '3'; it must be the place .* from 0 to 2"),
        ({"train": raw([0, 1]), "test": raw([0], 2)}, Data(), "test has 2 endings a row, and train 3"),
        ({"train": raw([0], 1)}, Data(), "'ending1' is not in"),
        ({"train": raw([0])}, Data(text_column_names=["sent1", "sent2", "ending0"]), "3 columns; this task takes"),
    ],
)
def test_wrong_choices_are_told(tables: dict[str, pa.Table], data: Data, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MultipleChoice.fit(tables, data)


def test_the_length_of_an_example_is_what_its_batch_pads(encoder: PreTrainedTokenizerBase) -> None:
    table = raw([0, 1, 2], long=3)
    task = MultipleChoice.fit({"train": table}, Data())
    rows = task.rows(table, Data())
    store = Store(task.encode(rows, encoder, Tokenizer(max_seq_length=100), True))
    config = type("Config", (), {"pad_token_id": 0})()
    for places in ([0], [1, 2], [0, 1, 2]):
        batch = task.collate(store.examples(places), Collation(config, encoder))
        assert batch.inputs["input_ids"].numel() == len(places) * store.lengths[places].max()
        assert (
            batch.inputs["attention_mask"].shape
            == batch.inputs["input_ids"].shape
            == (len(places), 3, batch.inputs["input_ids"].shape[-1])
        )
    # Each sequence is what the tokenizer makes of the pair.
    batch = task.collate(store.examples([0, 1]), Collation(config, encoder))
    for row, (context, *endings) in enumerate(task.sequences(rows)[:2]):
        for choice, ending in enumerate(endings):
            expected = encoder(context, ending)["input_ids"]
            kept = batch.inputs["attention_mask"][row, choice].bool()
            assert batch.inputs["input_ids"][row, choice][kept].tolist() == expected


def test_a_row_is_dropped_whole_where_one_choice_is_too_long(encoder: PreTrainedTokenizerBase) -> None:
    table = raw([0, 1, 2], long=3)
    task = MultipleChoice.fit({"train": table}, Data())
    rows = task.rows(table, Data())
    settings = Tokenizer(max_seq_length=20, over_length="drop")
    examples = task.encode(rows, encoder, settings, True)
    assert examples["row"].to_pylist() == [0]
    assert examples["label"].to_pylist() == [0]
    judged = task.encode(rows, encoder, settings, False)
    assert len(judged) == 3
    assert judged["length"].to_pylist() == [18 * 3, 20 * 3, 20 * 3]
    with pytest.raises(UserError, match="jsonl:2: the row has 21 tokens"):
        task.encode(rows, encoder, settings.model_copy(update={"over_length": "raise"}), True)


def test_likeness_to_the_context_finds_the_ending_that_repeats_it() -> None:
    words = WORDS.split()
    draw = np.random.default_rng(0)
    rows, labels = [], draw.integers(0, 3, 60)
    for label in labels:
        first, second, third = draw.choice(words, 3, replace=False)
        rows.append(
            (f"{first} {first}", *(first if place == label else draw.choice([second, third]) for place in range(3)))
        )
    found = choices(rows[:40], labels[:40], rows[40:])
    assert list(found) == ["most frequent place", "TF-IDF likeness to the context"]
    for probabilities in found.values():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (found["TF-IDF likeness to the context"].argmax(axis=1) == labels[40:]).all()
    assert list(choices([("☃", "☂", "☀")], np.array([1]), [("☃", "☂", "☀")])) == ["most frequent place"]


def test_the_report_shows_how_sure_it_was_and_where_it_was_wrong() -> None:
    table = raw([0, 1, 2])
    task = MultipleChoice.fit({"train": table}, Data())
    found = {
        "target": np.array([0, 1, 2]),
        "prediction": np.array([0, 0, 1]),
        "score": np.array([0.9, 0.5, 0.8]),
    }
    picture, mistakes = task.views(task.rows(table, Data()), found, 5)
    assert isinstance(picture, Diagonal)
    assert sum(rows for *_, rows in picture.points) == 3
    assert isinstance(mistakes, Table)
    assert [(row[0], row[-1]) for row in mistakes.rows] == [("train.jsonl:3", 0.8), ("train.jsonl:2", 0.5)]
