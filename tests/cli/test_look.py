"""Which task `reprise init` takes a file for."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import params_file
from pipeline.cli import init
from pipeline.data import sources
from pipeline.tasks import find
from tests.cli.test_init import TEXTS, Init, refused, write, written
from tests.conftest import REPOSITORY


@pytest.fixture
def run(folder: Path) -> Init:
    """The command, in an empty project."""
    return lambda *arguments: CliRunner().invoke(init.command, arguments)


def rows(path: str, *columns: str, **values: object) -> Path:
    """Ten rows: a text by itself for each column, and the values for the others."""
    found = [{name: f"{name} {row} of {TEXTS[row]}" for name in columns} | values for row in range(10)]
    return write(path, [json.dumps(row) for row in found])


WORDS = {"tokens": ["a", "b"], "ner_tags": ["B-X", "O"]}
SAID = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("columns", "values", "task"),
    [
        ((), WORDS, "token-classification"),
        (("question", "context"), {"answers": {"text": ["context"], "answer_start": [0]}}, "question-answering"),
        (
            ("question", "context"),
            {"answers": {"text": ["context"], "answer_start": [0]}, "title": "x"},
            "question-answering",
        ),
        (("sent1", "sent2", "ending0", "ending1", "ending2"), {"label": 1}, "multiple-choice"),
        ((), {"messages": SAID}, "sft"),
        ((), {"messages": SAID, "source": "x"}, "sft"),
        (("prompt", "completion"), {"category": "x"}, "sft"),
        (("instruction", "output"), {"input": ""}, "sft"),
        (("prompt", "chosen", "rejected"), {}, "dpo"),
        (("text", "target"), {}, "seq2seq"),
        (("document", "summary"), {}, "seq2seq"),
        (("anchor", "positive"), {}, "sentence-embedding"),
        (("sentence1", "sentence2"), {"score": 4.5}, "text-regression"),
        (("review",), {"price": 4.5}, "text-regression"),
        (("text",), {"label": ["a", "b"]}, "text-classification"),
    ],
)
def test_the_task_is_the_one_whose_columns_are_there(run: Init, columns: tuple, values: dict, task: str):
    rows("data/raw/train.jsonl", *columns, **values)
    result = run("data/raw/train.jsonl")
    params = written(result)
    assert params.task == task
    assert re.search(rf"^task +{task} ", result.stdout, re.MULTILINE)
    # What is written is what stage check takes.
    find(task).fit(sources.read(params.data, find(task).wanted(params.data)), params.data)


def test_a_pair_of_sentences_with_labels_is_classified(run: Init):
    write(
        "data/raw/train.csv", ["sentence1,sentence2,label", *(f"one {row},other {row},{row % 2}" for row in range(9))]
    )
    result = run("data/raw/train.csv")
    params = written(result)
    assert params.task == "text-classification"
    assert params.data.text_column_names == ["sentence1", "sentence2"]
    assert "The same columns can be rows of text-regression: --task text-regression" in result.stdout
    assert written(run("data/raw/train.csv", "--task", "text-regression", "--force")).task == "text-regression"


def test_columns_of_several_tasks_are_told_with_the_way_to_say_which(run: Init):
    write("data/raw/train.txt", TEXTS)
    told = refused(run("data/raw/train.txt"))
    assert "text can be rows of causal-lm and masked-lm.\nSay what is learned, such as --task masked-lm" in told
    assert written(run("data/raw/train.txt", "--task", "masked-lm")).task == "masked-lm"


def test_a_task_that_is_said_takes_columns_by_other_names(run: Init):
    rows("data/raw/train.jsonl", "german", "english")
    assert "seq2seq: --text-column NAME for each column" in refused(run("data/raw/train.jsonl", "--task", "seq2seq"))
    params = written(
        run("data/raw/train.jsonl", *("--task", "seq2seq", "--text-column", "german", "--label-column", "english"))
    )
    assert (params.data.text_column_names, params.data.label_column_name) == (["german"], "english")
    told = refused(run("data/raw/train.jsonl", "--task", "translation"))
    assert told.startswith("--task: there is no task 'translation'")
    assert told.endswith("Did you mean 'seq2seq'?")


def test_from_scratch_a_task_begins_as_its_example(run: Init):
    rows("data/raw/train.jsonl", **WORDS)
    shutil.copytree(REPOSITORY / "examples", "examples")
    result = run("data/raw/train.jsonl")
    params, example = written(result), params_file.read(Path("examples/token-classification/params.yaml"))
    assert (params.model, params.tokenizer, params.train) == (example.model, example.tokenizer, example.train)
    assert "those of examples/token-classification/params.yaml" in result.stdout
    assert "data.validation_file" in result.stdout  # no value is so long that the keys are cut


def test_a_sibling_that_the_task_cannot_take_is_left_out(run: Init):
    rows("data/raw/train.jsonl", **WORDS)
    rows("data/raw/test.jsonl", **WORDS | {"ner_tags": ["B-X"]})
    result = run("data/raw/train.jsonl")
    assert written(result).data.test_file is None
    assert "is not taken as test_file: data/raw/test.jsonl, line 1: 2 words, but 1 tag" in result.stdout
