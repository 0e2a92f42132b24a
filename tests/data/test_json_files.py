import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.files import read_file
from pipeline.errors import UserError
from tests.data.asking import asking


def wanted(names: Sequence[str]) -> dict[str, str]:
    return {"text": "data.text_column_names", "label": "data.label_column_name"}


ROWS: list[dict[str, Any]] = [{"text": "some, words", "label": 1}, {"text": None, "label": 0, "more": [1, "a"]}]


def written(folder: Path, content: str, name: str = "x.jsonl") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def error_of(path: Path, limit: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_file(path, None, wanted, limit)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_lines_of_objects_are_named_by_their_line(tmp_path: Path, name: str) -> None:
    table = read_file(written(tmp_path, "\n" + lines(ROWS), name), wanted=wanted)
    assert table.to_pydict() == {"id": [f"{name}:2", f"{name}:3"], "text": ["some, words", None], "label": [1, 0]}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_objects_is_named_by_its_rows(tmp_path: Path, indent: int | None) -> None:
    content = "\ufeff" + json.dumps(ROWS, indent=indent) + "\n"
    table = read_file(written(tmp_path, content, "x.json"), wanted=wanted)
    assert table.to_pydict() == {"id": ["x.json#1", "x.json#2"], "text": ["some, words", None], "label": [1, 0]}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_objects_can_be_the_data_of_one(tmp_path: Path, indent: int | None) -> None:
    path = written(tmp_path, json.dumps({"version": "1.1", "data": ROWS}, indent=indent), "x.json")
    table = read_file(path, wanted=wanted)
    assert table.to_pydict() == {"id": ["x.json#1", "x.json#2"], "text": ["some, words", None], "label": [1, 0]}


def test_a_line_can_have_a_list_of_objects_as_its_data(tmp_path: Path) -> None:
    rows = [{"text": "a", "data": [{"deep": 1}]}] * 2
    assert read_file(written(tmp_path, lines(rows)), limit=5)["id"].to_pylist() == ["x.jsonl:1", "x.jsonl:2"]


def test_a_look_shows_all_columns_even_odd_ones(tmp_path: Path) -> None:
    rows = [{"sentence": "a", "meta": 1}, {"sentence": "b", "meta": {"deep": "x"}}, {"sentence": 3}]
    table = read_file(written(tmp_path, lines(rows)), wanted=wanted, limit=2)
    assert table.to_pydict() == {
        "id": ["x.jsonl:1", "x.jsonl:2"],
        "sentence": ["a", "b"],
        "meta": ["1", '{"deep": "x"}'],
    }


def test_kinds_are_compared_across_chunks(tmp_path: Path) -> None:
    rows = [{"text": f"row {row}", "label": None if row < 10_000 else row} for row in range(12_000)]
    table = read_file(written(tmp_path, lines(rows)), wanted=wanted)
    assert table["label"].to_pylist() == [row["label"] for row in rows]
    rows[11_000]["text"] = 7
    assert error_of(written(tmp_path, lines(rows))) == (
        "x.jsonl, line 11001: 'text' is 7, where the rows above have text"
    )


SQUAD = {
    "id": "5733",
    "question": "Who?",
    "context": "Ann did.",
    "answers": {"text": ["Ann"], "answer_start": [0]},
}


@pytest.mark.parametrize("whole", [True, False])
def test_lists_and_objects_stay_what_they_are(tmp_path: Path, whole: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"answers": {"text": [], "answer_start": []}, "messages": [{"role": "user", "content": "Hi"}]},
        {"answers": SQUAD["answers"], "messages": [{"role": "user", "content": "a", "name": "Ann"}]},
    ] * 6000  # more than one chunk
    path = written(tmp_path, json.dumps(rows) if whole else lines(rows), "x.json")
    table = read_file(path, wanted=asking(*rows[0]))
    assert (
        str(table.schema.field("answers").type) == "struct<text: list<item: string>, answer_start: list<item: int64>>"
    )
    assert table["answers"].to_pylist() == [row["answers"] for row in rows]
    assert table["messages"][0].as_py() == [{"role": "user", "content": "Hi", "name": None}]


def test_a_column_named_id_gives_way_to_the_place_of_the_row(tmp_path: Path) -> None:
    path = written(tmp_path, lines([SQUAD]))
    table = read_file(path, wanted=asking("question", "context", "answers"))
    assert table.to_pylist() == [SQUAD | {"id": "x.jsonl:1"}]
    assert read_file(path, limit=5).to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([["a", "b"], ["c", 5]], "line 2: 'text[1]' is 5, where those above have text"),
        ([["a", 5]], "line 1: 'text[1]' is 5, where those above have text"),
        ([["a"], "b"], "line 2: 'text' is 'b', where the rows above have lists of text"),
        ([[], "b"], "line 2: 'text' is 'b', where the rows above have lists"),
        (["a", ["b"]], "line 2: 'text' is ['b'], where the rows above have text"),
        ([{"a": 1}, ["b"]], "line 2: 'text' is ['b'], where the rows above have objects with a"),
        ([{}, 1.5], "line 2: 'text' is 1.5, where the rows above have objects"),
        ([{"a": [1]}, {"b": 1, "a": [2, [3]]}], "line 2: 'text.a[1]' is [3], where those above have whole numbers"),
        ([[{"a": [True]}, {"a": "x"}]], "line 1: 'text[1].a' is 'x', where those above have lists of true or false"),
        ([["a", "b\ud83d"]], "line 1: 'text[1]' is 'b\\ud83d', which has half a UTF-16 pair"),
        ([{"a": 10**30}], "line 1: 'text.a' is 1000000000000000000000000000000, which no column can hold"),
    ],
)
def test_what_does_not_fit_inside_a_value_is_named(tmp_path: Path, texts: list[Any], message: str) -> None:
    path = written(tmp_path, lines([{"text": text, "label": 1} for text in texts]))
    assert message in error_of(path)


def test_whole_numbers_and_fractions_are_numbers(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1 if row < 10_000 else 2.5} for row in range(10_001)]
    table = read_file(written(tmp_path, lines(rows)), wanted=wanted)
    assert table["label"][0].as_py() == 1.0
    assert table["label"][-1].as_py() == 2.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "x.jsonl: is empty"),
        ("[]", "x.jsonl: there are no rows in it"),
        (lines(ROWS) + '{"text": }\n', "x.jsonl, line 3, column 10: malformed JSON (expecting value)"),
        (lines(ROWS) + '{"text": "a', "x.jsonl, line 3, column 10: malformed JSON (unterminated string)"),
        (
            "{'text': 'a'}\n",
            "x.jsonl, line 1, column 2: malformed JSON (expecting property name enclosed in double quotes)",
        ),
        (lines(ROWS) + "5\n", "x.jsonl, line 3: 5, where an object is due"),
        ('["a", "b"]', "x.jsonl, row 1: 'a', where an object is due"),
        ('{\n "data": []\n}\n', "x.jsonl: is one JSON object; it must be a list of objects"),
        (
            '[{"text": "a", "label": 1},\n{"text": "b" "label": 1}]',
            "x.jsonl, line 2, column 14 (row 2): malformed JSON",
        ),
        ('[{"text": "a", "label": 1},\n]', "x.jsonl, line 2, column 1 (row 2): malformed JSON (expecting value)"),
        ('[{"text": "a", "label": 1}\n', "x.jsonl, line 2, column 1 (row 1): the JSON breaks off here"),
        (
            '[{"text": "a", "label": 1}] x',
            "x.jsonl, line 1, column 29 (row 1): malformed JSON (extra data behind the list)",
        ),
        (
            lines([*ROWS, {"text": "a", "lable": 1}]),
            "x.jsonl, line 3: has no 'label'; its keys are text, lable. Did you mean 'lable'?",
        ),
        (
            lines([{"text": "a", "lable": 1}]),
            "data.label_column_name: 'label' is not in x.jsonl; its columns are text, lable. Did you",
        ),
        (lines([*ROWS, {"text": 5, "label": 1}]), "x.jsonl, line 3: 'text' is 5, where the rows above have text"),
        (
            lines([*ROWS, {"text": "a", "label": "b"}]),
            "x.jsonl, line 3: 'label' is 'b', where the rows above have whole numbers",
        ),
        (
            lines([{"text": "a", "label": 10**30}]),
            "x.jsonl, line 1: 'label' is 1000000000000000000000000000000, which no column can hold",
        ),
        (
            lines([*ROWS, {"text": "a \ud83d", "label": 1}]),
            "x.jsonl, line 3: 'text' is 'a \\ud83d', which has half a UTF-16 pair: \\ud83d.\nA character beyond",
        ),
        (
            lines([*ROWS, {"text": "a", "label": 1, "\ud83d": 1}]),
            "x.jsonl, line 3: the key '\\ud83d' has half a UTF-16 pair: \\ud83d",
        ),
        (lines(ROWS) + "[" * 100_000, "x.jsonl, line 3: lists or objects are nested too deep for any column"),
        ("[\n" + "[" * 100_000, "x.jsonl, line 2 (row 1): lists or objects are nested too deep"),
        (lines(ROWS) + '{"text": "a", "label": %s}' % ("1" * 5_000), "x.jsonl, line 3: a number has more than 4,300"),
        ('[{"text": "a", "label": 1},\n{"label": %s}]' % ("1" * 5_000), "x.jsonl, line 2 (row 2): a number has more"),
    ],
)
def test_wrong_json_is_named_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    assert message in error_of(written(tmp_path, content))


def test_a_look_finds_a_wrong_row_too(tmp_path: Path) -> None:
    path = written(tmp_path, lines([*ROWS, {"text": 5, "label": 1}]))
    assert error_of(path, limit=10) == "x.jsonl, line 3: 'text' is 5, where the rows above have text"
