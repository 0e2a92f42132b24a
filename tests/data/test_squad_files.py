import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.files import read_file
from pipeline.errors import UserError
from tests.data.asking import asking

ANN = {"id": "57a", "question": "Who ran?", "answers": [{"text": "Ann", "answer_start": 0}], "is_impossible": False}
NOBODY = {"id": "57b", "question": "Who sat?", "answers": [], "is_impossible": True}
PLAUSIBLE = NOBODY | {"id": "57c", "plausible_answers": [{"text": "Ann", "answer_start": 0}]}
SQUAD: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Running",
            "paragraphs": [{"context": "Ann ran.", "qas": [ANN, NOBODY]}, {"context": "No.", "qas": [PLAUSIBLE]}],
        },
        {"title": "Sitting", "paragraphs": []},
    ],
}
WANTED = asking("question", "context", "answers")
EMPTY: dict[str, list[object]] = {"text": [], "answer_start": []}


@pytest.mark.parametrize("indent", [None, 1])
def test_a_question_is_a_row_named_by_its_id(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "dev.json"
    path.write_text("\n" + json.dumps(SQUAD, indent=indent) + "\n", encoding="utf-8")
    table = read_file(path, wanted=WANTED)
    assert table.to_pydict() == {
        "id": ["dev.json#57a", "dev.json#57b", "dev.json#57c"],
        "question": ["Who ran?", "Who sat?", "Who sat?"],
        "context": ["Ann ran.", "Ann ran.", "No."],
        "answers": [{"text": ["Ann"], "answer_start": [0]}, EMPTY, EMPTY],
    }
    assert read_file(path, limit=2).column_names == ["id", "title", "context", "question", "answers"]


def broken(change: str) -> dict[str, Any]:
    squad = copy.deepcopy(SQUAD)
    paragraph = squad["data"][0]["paragraphs"][0]
    match change:
        case "no context":
            del paragraph["context"]
        case "no list":
            paragraph["qas"] = {}
        case "no answers":
            del paragraph["qas"][0]["answers"]
        case "a text":
            paragraph["qas"][0]["answers"] = ["Ann"]
        case "a place":
            paragraph["qas"][0]["answers"][0]["answer_start"] = "0"
    return squad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no context", "dev.json, data[0].paragraphs[0]: has no 'context', as SQuAD's files have; its keys are qas"),
        ("no list", "dev.json, data[0].paragraphs[0]: 'qas' is {}, which is not what SQuAD's files have there"),
        ("no answers", "dev.json, question 57a: has no 'answers'"),
        ("a text", "dev.json, question 57a: 'Ann', where an object with 'text' is due"),
        ("a place", "dev.json, question 57a: 'answer_start' is '0', which is not what"),
    ],
)
def test_what_is_not_like_squad_is_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(broken(change)), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_file(path, wanted=WANTED)
    assert message in str(caught.value)


def test_two_objects_are_no_squad_file(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(f"{json.dumps(SQUAD)}\n{json.dumps(SQUAD)}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"'question' is not in .*dev.json; its columns are version, data"):
        read_file(path, wanted=WANTED)
