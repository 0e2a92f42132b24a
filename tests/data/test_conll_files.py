from pathlib import Path

import pytest

from pipeline.data.files import read_file
from pipeline.errors import UserError
from tests.data.asking import asking

CONLL_2003 = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

-DOCSTART- -X- O O

Peter NNP I-NP I-PER


Ann NNP I-NP I-PER
-DOCSTART- -X- O O
"""
TAGS = asking("tokens", "ner_tags")


def written(folder: Path, content: str) -> Path:
    path = folder / "x.conll"
    path.write_text(content, encoding="utf-8")
    return path


def test_sentences_are_named_by_the_line_where_they_start(tmp_path: Path) -> None:
    assert read_file(written(tmp_path, CONLL_2003), wanted=TAGS).to_pydict() == {
        "id": ["x.conll:3", "x.conll:8", "x.conll:11"],
        "tokens": [["EU", "rejects"], ["Peter"], ["Ann"]],
        "ner_tags": [["I-ORG", "O"], ["I-PER"], ["I-PER"]],
    }


def test_a_look_has_all_columns_of_the_first_sentences(tmp_path: Path) -> None:
    (row,) = read_file(written(tmp_path, CONLL_2003), limit=1).to_pylist()
    assert list(row) == ["id", "tokens", "pos_tags", "chunk_tags", "ner_tags"]
    assert row["chunk_tags"] == ["I-NP", "I-VP"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("New York\tB-LOC\n\u00a0\tO\n", ["tokens", "ner_tags"]),
        ("a O\r\nb O\r\n", ["tokens", "ner_tags"]),
        ("a\tX O\tY\tO\nb\tX\tY\tO\n", ["tokens", "pos_tags", "chunk_tags", "ner_tags"]),
        ("a  X  Y  Z  O\nb X Y Z O\n", ["tokens", "tags_2", "tags_3", "tags_4", "ner_tags"]),
    ],
)
def test_columns_stand_between_tabs_or_spaces(tmp_path: Path, content: str, names: list[str]) -> None:
    (row,) = read_file(written(tmp_path, content), limit=9).to_pylist()
    assert list(row) == ["id", *names]
    assert {len(row[name]) for name in names} == {2}


def test_the_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "B-PER Ann\nO ran\n")
    (row,) = read_file(path, ["ner_tags", "tokens"], TAGS).to_pylist()
    assert row == {"id": "x.conll:1", "tokens": ["Ann", "ran"], "ner_tags": ["B-PER", "O"]}
    with pytest.raises(UserError, match=r"^data.column_names: 1 name \(tokens\), but .*x.conll, line 1, has 2 columns"):
        read_file(path, ["tokens"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONLL_2003 + "\nParis I-LOC\n", "line 14: 2 columns, where the lines above have 4."),
        ("\nParis\n", "line 2: one column, where a token and its tag are due"),
        ("Paris\tI-LOC\nis O\n", "line 2: 1 column, where the lines above have 2"),
    ],
)
def test_a_line_of_another_width_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_file(written(tmp_path, content), wanted=TAGS)
    assert message in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"'ner_tag' is not in .*x.conll; its columns are tokens, pos_tags, .*'ner_tags'\?"
    ):
        read_file(written(tmp_path, CONLL_2003), wanted=asking("ner_tag"))
