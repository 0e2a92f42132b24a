from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from pipeline.data import tokenizer as byte_level
from pipeline.data.rows import with_source
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.metrics.answers import exact_match, f1
from pipeline.model.build import build
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Collation, Predictions
from pipeline.tasks.base.prepare import prepare_rows
from pipeline.tasks.question_answering import QuestionAnswering
from tests.model.tiny import ARCHITECTURES, from_scratch

SETTINGS = Tokenizer(vocab_size=330, max_seq_length=64, over_length="truncate")
WINDOWS = Tokenizer(vocab_size=330, max_seq_length=20, over_length="window", doc_stride=5)
TASK = QuestionAnswering(unanswerable=True, longest_answer=12)
SOME = ["axis", "int,", "naïve", "the", "0.5", "shape", "☃☃", "of", "array."]


def prepared(*rows: tuple[str, str, list[tuple[str, int]]]) -> pa.Table:
    """Rows of a question, a context and the answers with their places."""
    return pa.table(
        {
            "id": [f"x#{row + 1}" for row in range(len(rows))],
            "question": [question for question, _, _ in rows],
            "context": [context for _, context, _ in rows],
            "answers": [
                {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]}
                for _, _, answers in rows
            ],
        }
    )


def drawn(rows: int, seed: int, most: int = 12) -> pa.Table:
    """Questions for one or two words of a context; every fifth has no answer."""
    draw = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        words = draw.choice(SOME, draw.integers(2, most)).tolist()
        first = int(draw.integers(0, len(words) - 1))
        answer = " ".join(words[first : first + int(draw.integers(1, 3))])
        start = len(" ".join([*words[:first], ""]))
        found.append((f"what {words[0]}?", " ".join(words), [(answer, start)] if row % 5 else []))
    return prepared(*found)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return byte_level.train([*SOME, "what?"], SETTINGS)


def spans(examples: pa.Table) -> list[list[tuple[int, int]]]:
    return [np.array(flat).reshape(-1, 2).tolist() for flat in examples["offsets"].to_pylist()]


def test_the_targets_are_the_tokens_of_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = drawn(60, 1)
    examples = TASK.encode(rows, tokenizer, SETTINGS, True)
    assert len(examples) == 60
    for row, offsets, example in zip(rows.to_pylist(), spans(examples), examples.to_pylist(), strict=True):
        first, last = example["start_positions"], example["end_positions"]
        assert example["input_ids"] == tokenizer(row["question"], row["context"])["input_ids"]
        if row["answers"]["text"]:
            start, end = offsets[first][0], offsets[last][1]
            assert row["context"][start:end].strip() == row["answers"]["text"][0]
        else:
            assert first == last == example["input_ids"].index(tokenizer.cls_token_id)


def test_windows_keep_the_question_and_cover_the_context(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = drawn(40, 2, most=40)
    examples = TASK.encode(rows, tokenizer, WINDOWS, False)
    covered: list[set[int]] = [set() for _ in range(40)]
    held = [False] * 40
    for offsets, example in zip(spans(examples), examples.to_pylist(), strict=True):
        row = rows.slice(example["row"], 1).to_pylist()[0]
        assert len(example["input_ids"]) <= 20
        question = tokenizer(row["question"])["input_ids"]
        assert example["input_ids"][: len(question)] == question
        assert all(span == [-1, -1] for span in offsets[: len(question)])
        covered[example["row"]].update(place for start, end in offsets for place in range(start, end) if start >= 0)
        if example["start_positions"] != example["null_positions"]:
            held[example["row"]] = True
            start, end = offsets[example["start_positions"]][0], offsets[example["end_positions"]][1]
            assert row["context"][start:end].strip() == row["answers"]["text"][0]
    assert [len(places) for places in covered] == [len(context) for context in rows["context"].to_pylist()]
    asked = [bool(answers["text"]) for answers in rows["answers"].to_pylist()]
    lost = [ask and not there for ask, there in zip(asked, held, strict=True)]
    assert not all(held), "some questions have no answer"
    assert Store(examples).truncation(40)["lost_answers"] == sum(lost)
    assert sum(lost) < 3, "an answer of two words is in one of two windows that overlap by five tokens, but for few"


def test_an_answer_that_is_cut_off_is_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    context = " ".join(["axis"] * 30)
    rows = prepared(("what?", context, [("axis", 0)]), ("what?", context, [("axis", 145)]), ("what?", context, []))
    short = WINDOWS.model_copy(update={"over_length": "truncate"})
    examples = TASK.encode(rows, tokenizer, short, True)
    assert examples["lost_answers"].to_pylist() == [0, 1, 0]
    assert len(TASK.encode(rows, tokenizer, short.model_copy(update={"over_length": "drop"}), True)) == 0
    with pytest.raises(UserError, match=r"x#1: the row has \d+ tokens"):
        TASK.encode(rows, tokenizer, short.model_copy(update={"over_length": "raise"}), True)


def test_a_question_that_leaves_no_room_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    long = " ".join(["axis"] * 12)
    rows = prepared(("what?", long, []), (long, "the axis", []), (long, long, []))
    with pytest.raises(
        UserError, match=r"^x#3: the question has 12 tokens, which leaves 5 of .* no more than tokenizer"
    ):
        TASK.encode(rows, tokenizer, WINDOWS, True)
    assert len(TASK.encode(rows.slice(0, 2), tokenizer, WINDOWS, True)) == 2
    truncated = WINDOWS.model_copy(update={"over_length": "truncate", "max_seq_length": 15})
    with pytest.raises(UserError, match=r"^x#3: .* leaves 0 of tokenizer.max_seq_length 15 for the context\.\nRaise"):
        TASK.encode(rows.slice(2), tokenizer, truncated, False)


def outputs(shape: tuple[int, int], seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, *shape, generator=generator)
    return SimpleNamespace(start_logits=start, end_logits=end)


def test_the_best_spans_are_found_among_all(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = drawn(12, 3)
    store = Store(TASK.encode(rows, tokenizer, SETTINGS, False))
    batch = TASK.collate(store.examples(range(12)), Collation(SimpleNamespace(pad_token_id=0), tokenizer))  # type: ignore[arg-type]
    logits = outputs((12, int(store.lengths.max())), 0)
    found = TASK.predict(logits, batch)
    for row in range(12):
        offsets = store.examples([row])["offsets"][0].reshape(-1, 2).tolist()
        scores = sorted(
            (float(logits.start_logits[row, i] + logits.end_logits[row, j]), offsets[i][0], offsets[j][1])
            for i in range(len(offsets))
            for j in range(i, len(offsets))
            if min(offsets[i][0], offsets[j][0]) >= 0 and offsets[j][1] - offsets[i][0] <= 12
        )[::-1][:20]
        size = len(scores)
        assert found["scores"][row, :size].tolist() == pytest.approx([score for score, _, _ in scores])
        assert list(zip(found["starts"][row].tolist(), found["ends"][row].tolist(), strict=True)) == [
            *((start, end) for _, start, end in scores),
            *[(-1, -1)] * (20 - size),
        ]
        null = store.examples([row])["null_positions"][0]
        assert found["null"][row] == logits.start_logits[row, null] + logits.end_logits[row, null]


def in_windows(found: list[tuple[int, list[tuple[int, int, float]], float]]) -> tuple[Predictions, Store]:
    """What `predict` says of windows: the row of each, its best spans with their scores, and that of no answer."""
    starts, ends, scores = (np.full((len(found), 20), value) for value in (-1, -1, -np.inf))
    for window, (_, best, _) in enumerate(found):
        for place, (start, end, score) in enumerate(best):
            starts[window, place], ends[window, place], scores[window, place] = start, end, score
    lengths = pa.array([9] * len(found), pa.int32())
    rows = pa.array([row for row, _, _ in found], pa.int32())
    null = np.array([score for _, _, score in found], np.float32)
    loss = np.arange(1, len(found) + 1, dtype=np.float32)
    columns = {"starts": starts, "ends": ends, "scores": scores, "null": null, "loss": loss}
    return columns, Store(pa.table({"length": lengths, "full_length": lengths, "row": rows}))


CONTEXT = "the axis is an int"
ASKED = prepared(
    ("what?", CONTEXT, [("axis", 4), ("the axis", 0)]), ("what?", CONTEXT, [("an int", 12)]), ("what?", CONTEXT, [])
)
SAID = [
    (0, [(0, 3, 1.0), (3, 8, 0.5)], 0.2),
    (0, [(3, 8, 2.0), (3, 4, 9.0)], 5.0),  # better here; and white space alone, which is no answer
    (1, [(15, 18, 1.0)], 3.0),
    (1, [(3, 8, 0.0)], 2.0),
    (2, [(15, 18, 1.0)], 1.5),
]


def test_windows_are_merged_into_the_best_span_of_a_row() -> None:
    found = TASK.merge(*in_windows(SAID), ASKED)
    assert found["starts"][:, 0].tolist() == [4, -1, -1]
    assert found["ends"][:, 0].tolist() == [8, -1, -1]
    assert found["starts"][0].tolist() == [4, 0, -1, -1, -1]
    weights = np.exp([2.0, 1.0, 0.2])  # no answer is as likely as in the window where it is least
    assert found["probabilities"][0].tolist() == pytest.approx([*(weights / weights.sum()), 0, 0])
    assert found["exact_match"].tolist() == [1, 0, 1]
    assert found["f1"].tolist() == [1, 0, 1]
    assert (found["loss"].tolist(), found["targets"].tolist()) == ([3, 7, 5], [2, 2, 1])
    assert TASK.scores(found) == {"f1": pytest.approx(2 / 3), "exact_match": pytest.approx(2 / 3), "loss": 3}
    assert TASK.right(found).tolist() == [True, False, True]  # type: ignore[union-attr]
    assert [answer["answer"] for answer in TASK.answers(found, ASKED)] == ["axis", "", ""]


def test_a_model_that_was_never_told_of_no_answer_gives_one() -> None:
    always = QuestionAnswering(longest_answer=12)
    found = always.merge(*in_windows(SAID), ASKED)
    assert found["starts"][:, 0].tolist() == [4, 15, 15]
    assert found["f1"].tolist() == [1, f1("int", ["an int"]), 0]
    assert found["exact_match"].tolist() == [1, exact_match("int", ["an int"]), 0]
    assert always.answers(found, ASKED)[1] == {
        "answer": "int",
        "probability": pytest.approx(1 / (1 + np.exp(-1.0))),
        "start": 15,
        "end": 18,
    }


def raw(rows: pa.Table) -> pa.Table:
    return with_source(rows, "data/raw/train.json")


def test_what_the_training_rows_show() -> None:
    assert QuestionAnswering.fit({"train": raw(ASKED)}, Data()) == QuestionAnswering(
        unanswerable=True, longest_answer=8
    )
    assert not QuestionAnswering.fit({"train": raw(ASKED.slice(0, 2)), "test": raw(ASKED)}, Data()).unanswerable
    with pytest.raises(UserError, match="none of the 1 training questions has an answer"):
        QuestionAnswering.fit({"train": raw(ASKED.slice(2))}, Data())
    with pytest.raises(UserError, match="1 column; this task takes two: a question and its context"):
        QuestionAnswering.check_columns(raw(ASKED), Data(text_column_names=["context"]))
    wrong = prepared(("what?", CONTEXT, [("axis", 3)]))
    with pytest.raises(UserError, match=r"data/raw/train.json, row 1: 'answers' says that 'axis' .* it begins at 4"):
        QuestionAnswering.check_columns(raw(wrong), Data())


def test_questions_on_one_context_fall_into_one_split() -> None:
    rows = prepared(*((f"what {n}?", f"the axis {n // 4}", [("axis", 4)]) for n in range(200)))
    _, _, cut = prepare_rows(QuestionAnswering, {"train": raw(rows)}, Data())
    contexts = [set(table["context"].to_pylist()) for table in cut.values()]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == 50
    assert all(contexts)


def test_baselines_are_sentences_of_the_context() -> None:
    context = "It is an array. The axis is an int. More."
    rows = prepared(("What is the axis?", context, [("an int", 28)]), ("What is it?", "  ", []))
    found = TASK.baselines(rows, rows)
    said = {name: [answer["answer"] for answer in TASK.answers(given, rows)] for name, given in found.items()}
    assert said == {
        "no answer": ["", ""],
        "first sentence": ["It is an array.", ""],
        "sentence with most words of the question": ["The axis is an int.", ""],
    }
    assert "loss" not in TASK.scores(found["first sentence"])
    assert "no answer" not in QuestionAnswering(longest_answer=9).baselines(rows, rows)


def test_views_show_lengths_and_the_surest_mistakes() -> None:
    found = TASK.merge(*in_windows(SAID), ASKED)
    lengths, mistakes = TASK.views(ASKED, found, 5)
    assert lengths.rows == [("none", 1, 1.0, 1.0), ("1 word", 1, 1.0, 1.0), ("2 or 3 words", 1, 0.0, 0.0)]
    weights = np.exp([2.0, 1.0, 0.0])
    null, span, other = weights / weights.sum()
    assert mistakes.rows == [("x#2", "what?", "an int", f"– ({null:.1%}) | int ({span:.1%}) | axis ({other:.1%})")]
    assert [column.title for column in mistakes.columns if not column.is_text] == ["Row"]


KINDS = ("roberta", "bert", "distilbert", "modernbert", "deberta-v2", "electra", "gpt2", "llama", "qwen3", "mistral")
KINDS += ("t5", "bart")


@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.wide) for kind in KINDS[1:])])
def test_the_loss_is_the_one_of_every_architecture(folder: Path, kind: str) -> None:
    params = from_scratch(ARCHITECTURES[kind], max_seq_length=48)
    rows = drawn(6, 4, most=6)
    encoder = make_tokenizer(params, TASK.vocabulary(rows))
    model = build(params, TASK, encoder).eval()
    store = Store(TASK.encode(rows, encoder, TASK.settled(params.tokenizer), True))
    assert len(store) == 6
    plain = Train(label_smoothing_factor=0.0)
    with torch.no_grad():
        for row in range(6):
            batch = TASK.collate(store.examples([row]), Collation(model.config, encoder))
            positions = {name: batch.targets[name] for name in ("start_positions", "end_positions")}
            theirs = model(**batch.inputs, **positions).loss
            ours = TASK.loss(model(**batch.inputs), batch, plain)
            assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
