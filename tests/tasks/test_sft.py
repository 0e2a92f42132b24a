import json

import numpy as np
import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.data import chat, tokenizer
from pipeline.data.rows import with_source
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.params import Data, Tokenizer
from pipeline.tasks.sft import SFT

TASK = SFT()
DATA = Data(dataset_name=None, train_file="data/raw/x.json")
RAW = pa.table(
    {
        "id": ["x.json#1", "x.json#2"],
        "instruction": ["Add the numbers.", "Say hello."],
        "input": ["2 and 2", ""],
        "output": ["That is 4, of course.", "Hello to you, and to all who are with you!"],
    }
)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return TASK.rows(with_source(RAW, "data/raw/x.json"), DATA)


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    texts = [text for name in ("instruction", "input", "output") for text in RAW[name].to_pylist()]
    return tokenizer.train(texts * 20, Tokenizer(vocab_size=330, do_lower_case=False), tokenizer.DECODER, chat=True)


def encoded(rows: pa.Table, encoder: PreTrainedTokenizerFast, training: bool = True, most: int = 200) -> pa.Table:
    return TASK.encode(rows, encoder, TASK.settled(Tokenizer(max_seq_length=most, doc_stride=4)), training)


def test_only_what_the_assistant_says_is_a_target(rows: pa.Table, encoder: PreTrainedTokenizerFast) -> None:
    for labels, said in zip(encoded(rows, encoder)["labels"].to_pylist(), RAW["output"].to_pylist(), strict=True):
        assert encoder.decode([label for label in labels if label != -100]) == f"{said}{chat.TURN_END}"


def test_an_answer_that_is_cut_off_is_counted(rows: pa.Table, encoder: PreTrainedTokenizerFast) -> None:
    whole = encoded(rows, encoder)
    most = max(whole["length"].to_pylist()) - 5
    cut = encoded(rows, encoder, most=most)
    assert sum(cut["lost_targets"].to_pylist()) > 0
    targets, lost = (np.array(cut[name]) for name in ("targets", "lost_targets"))
    assert (targets + lost).tolist() == whole["targets"].to_pylist()
    judged = encoded(rows, encoder, training=False, most=most)
    assert sum(judged["targets"].to_pylist()) == sum(whole["targets"].to_pylist()), "an evaluation loses none"


def test_bytes_are_those_of_the_answers(rows: pa.Table, encoder: PreTrainedTokenizerFast) -> None:
    store = Store(encoded(rows, encoder, training=False))
    found = TASK.merge({"loss": np.ones(2), "targets": np.ones(2, np.int64)}, store, rows)
    assert found["bytes"].tolist() == [len(text) for text in RAW["output"].to_pylist()]


def test_another_answer_makes_no_other_question(rows: pa.Table) -> None:
    assert TASK.texts(rows)[0] == ("Add the numbers.\n\n2 and 2",)


def test_rows_in_which_nobody_asks_are_told_apart_by_what_is_said() -> None:
    said = {"role": "assistant", "content": "One."}
    messages = [
        [said],
        [{"role": "system", "content": "Be brief."}, said],
        [{"role": "user", "content": " "}, said],
        [{"role": "tool", "content": "1"}, said],
    ]
    rows = pa.table({"id": list("abcd"), "messages": [json.dumps(turns) for turns in messages]})
    assert TASK.texts(rows) == [("One.",), ("Be brief.", "One."), (" ", "One."), ("1",)]


def test_what_is_asked_ends_where_the_model_writes(rows: pa.Table, encoder: PreTrainedTokenizerFast) -> None:
    whole = encoded(rows, encoder, training=False)
    open_end = pa.table({"id": ["x", "y"], "messages": ["Say hello.", json.dumps([{"role": "user", "content": "Hi"}])]})
    for asked, first in ((rows, whole["input_ids"][0].as_py()), (open_end, None)):
        prompts = TASK.prompts(asked, encoder, Tokenizer())
        assert all(str(encoder.decode(list(prompt))).endswith("assistant\n") for prompt in prompts)
        assert first is None or first[: len(prompts[0])] == prompts[0]


def test_replies_stand_beside_those_of_the_data(rows: pa.Table) -> None:
    written = rows.append_column("generated", pa.array(["4.", None], pa.string()))
    predictions = {"loss": np.ones(2), "targets": np.ones(2, np.int64), "bytes": np.ones(2, np.int64)}
    replies, _ = TASK.views(written, predictions, 5)
    assert [list(row) for row in replies.rows] == [
        ["x.json#1", "Add the numbers. 2 and 2", "4.", "That is 4, of course."]
    ]
    assert [column.is_text for column in replies.columns] == [False, True, True, True]


def test_four_columns_are_too_many() -> None:
    data = DATA.model_copy(update={"text_column_names": ["id2", "instruction", "input", "output"]})
    with pytest.raises(UserError, match="4 columns; this task takes one of messages"):
        SFT.check_columns(RAW.append_column("id2", RAW["id"]), data)
