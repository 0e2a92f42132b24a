from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.cli import guess
from pipeline.data.files import read_file
from pipeline.errors import UserError

LONG = "a text that goes on for a while"
REVIEWS = [f"{LONG}, number {place}" for place in range(24)]
TWO = ["good", "bad"] * 12


def write(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / name


def table(**columns: list) -> pa.Table:
    return pa.table({"id": [f"train.csv:{row}" for row in range(2, 26)], **columns})


@pytest.mark.parametrize(
    "lines",
    [
        ["text,label", f"{LONG},good", "another,bad"],
        ["sentence,intent", "one,1", "two,2"],
        [",Review Text,verdict", f"0,{LONG},yes", "1,no text,no"],
        ["tweet,mood", f"{LONG},happy", "two,sad", "three,happy"],
        ["How satisfied are you with the product overall?,Rating", f"{LONG},5", "bad,1"],
        ["words,class", "one,7", "two,8"],
        ["id,what,who", "1,one,a", "2,two,b"],
    ],
)
def test_a_header_is_seen(tmp_path: Path, lines: list[str]):
    assert guess.columns_without_header(write(tmp_path, "train.csv", *lines)) is None


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        ([f"{LONG}\t1", "two\t0", "three\t1"], 2),
        (["7\tone", "8\ttwo"], 2),
        ([f"{LONG}\tgreet", "bye\tpart", "hello\tgreet"], 2),
        (["hi\tgreet", "bye\tpart", "hello\tgreet"], 2),
        (["where is it\tquestion", "it is here\tanswer", "who is it\tquestion"], 2),
        ([f"{LONG}\tone", "two\ttwo"], 2),
        (["1\t0.5\ta\tb", "2\t0.25\tc\td"], 4),
    ],
)
def test_a_missing_header_is_seen(tmp_path: Path, lines: list[str], columns: int):
    assert guess.columns_without_header(write(tmp_path, "train.tsv", *lines)) == columns
    csv = [line.replace(",", "").replace("\t", ",") for line in lines]
    assert guess.columns_without_header(write(tmp_path, "train.csv", *csv)) == columns


def test_formats_that_name_their_columns_have_a_header(tmp_path: Path):
    path = write(tmp_path, "train.jsonl", '{"1": "a", "0": "b"}', '{"1": "c", "0": "b"}')
    assert guess.columns_without_header(path) is None


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"text": REVIEWS, "label": TWO}, ("text",), "label"),
        ({"category": TWO, "text": REVIEWS}, ("text",), "category"),
        ({"tweetText": REVIEWS, "airline_sentiment": TWO, "airline": TWO}, ("tweetText",), "airline_sentiment"),
        ({"title": REVIEWS, "review": REVIEWS, "stars": [1, 5] * 12}, ("review",), "stars"),
        ({"premise": REVIEWS, "hypothesis": REVIEWS, "label": TWO}, ("premise", "hypothesis"), "label"),
        ({"sentence1": REVIEWS, "sentence2": REVIEWS, "label": TWO}, ("sentence1", "sentence2"), "label"),
        ({"idx": list(range(24)), "text_b": REVIEWS, "text_a": REVIEWS, "y": TWO}, ("text_a", "text_b"), "y"),
        ({"question": REVIEWS, "passage": REVIEWS, "answer": [True, False] * 12}, ("question", "passage"), "answer"),
        ({"question1": REVIEWS, "question2": REVIEWS, "is_same": [0, 1] * 12}, ("question1", "question2"), "is_same"),
        ({"user": [f"u{row}" for row in range(24)], "said": REVIEWS, "mood": TWO}, ("said",), "mood"),
        ({"what": ["yes", "no"] * 12, "kind": TWO, "said": REVIEWS}, ("said",), "kind"),
        ({"meta": [{"a": 1}] * 24, "said": REVIEWS, "kind": TWO}, ("said",), "kind"),
        ({"text": ["one", "two", "three"] * 8, "words": REVIEWS, "label": TWO}, ("text",), "label"),
    ],
)
def test_columns_are_guessed(columns: dict[str, list], text: tuple[str, ...], label: str):
    rows = table(**columns)
    assert guess.label_column(rows).names == (label,)
    assert guess.text_columns(rows, label).names == text


def test_columns_without_names_are_guessed_by_their_values():
    rows = table(column_1=[str(row) for row in range(24)], column_2=REVIEWS, column_3=REVIEWS, column_4=TWO)
    assert guess.label_column(rows, named=False).names == ("column_4",)
    assert guess.text_columns(rows, "column_4", named=False).names == ("column_2", "column_3")
    names = guess.names_without_header(rows.column_names[1:], ("column_2", "column_3"), "column_4")
    assert list(names.values()) == ["column_1", "text", "text_pair", "label"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ([row + 0.5 for row in range(24)], "holds quantities such as 0.5, which are no labels"),
        ([f"{row % 2}.25" for row in range(24)], "holds quantities such as 0.25, which are no labels"),
        (REVIEWS, "24 different values in 24 rows, too many for a label"),
        (["same"] * 24, "has the label 'same' in every row; a classifier needs at least two"),
        ([None] * 24, "no label in any row"),
    ],
)
def test_what_is_no_label_is_said_in_words(column: list, told: str):
    rows = table(text=REVIEWS, label=column)
    with pytest.raises(UserError, match=r"the column 'label'.*") as caught:
        guess.check_label(rows, "label")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "column", [["1", "0"] * 12, [3.0, 4.0] * 12, [True, False] * 12, ["0.5", "n/a"] * 12, [["a", "b"]] * 24]
)
def test_labels_of_any_kind_are_labels(column: list):
    guess.check_label(table(text=REVIEWS, label=column), "label")


def test_one_label_in_the_head_of_a_longer_file_may_be_its_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guess, "ROWS", 24)
    guess.check_label(table(text=REVIEWS, label=["same"] * 24), "label")


def test_rows_without_a_label_or_text_ask_for_the_column():
    with pytest.raises(UserError, match=r"its columns are said.\nSay which it is: --label-column NAME"):
        guess.label_column(table(said=REVIEWS, who=["one"] * 24), avoid=["who"])
    with pytest.raises(UserError, match=r"no column beside 'label' holds text.*\nSay which it is: --text-column NAME"):
        guess.text_columns(table(size=["1", "22"] * 12, label=TWO), "label")


def test_quantities_are_what_is_learned_where_no_column_has_labels():
    found = guess.label_column(table(text=REVIEWS, price=[f"{row}.99" for row in range(24)]))
    assert found == guess.Guess(("price",), "it holds quantities")


def test_a_table_read_from_a_file_names_it(tmp_path: Path):
    path = write(tmp_path, "train.csv", "text,label", *(f"{LONG},{row}" for row in range(20)))
    with pytest.raises(UserError, match=r"train.csv: the column 'label' has 20 different values"):
        guess.check_label(read_file(path, limit=guess.ROWS), "label")


@pytest.mark.parametrize(
    ("train", "others", "found"),
    [
        ("train.csv", ["test.csv", "validation.csv"], {"validation": "validation.csv", "test": "test.csv"}),
        ("train.tsv.gz", ["dev.tsv.gz", "test.tsv"], {"validation": "dev.tsv.gz"}),
        ("Reviews_Train.csv", ["reviews_valid.csv"], {"validation": "reviews_valid.csv"}),
        ("training-set.csv", ["val-set.csv", "test-set.csv"], {"validation": "val-set.csv", "test": "test-set.csv"}),
        ("reviews.csv", ["test.csv"], {}),
        ("train.csv", ["test.json"], {}),
    ],
)
def test_files_that_go_together(tmp_path: Path, train: str, others: list[str], found: dict[str, str]):
    for name in (train, *others):
        (tmp_path / name).touch()
    assert {split: path.name for split, path in guess.siblings(tmp_path / train).items()} == found
