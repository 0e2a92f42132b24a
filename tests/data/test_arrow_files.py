import gzip
from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.arrow_files import from_dataset
from pipeline.data.files import read_file
from pipeline.errors import UserError
from tests.data.asking import asking


def wanted(names: Sequence[str]) -> dict[str, str]:
    return {"text": "data.text_column_names", "label": "data.label_column_name"}


TABLE = pa.table({"other": [1, 2, 3], "text": ["a", "b", None], "label": [1, 0, 1]})
CLASSES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})


def parquet(folder: Path, table: pa.Table = TABLE, name: str = "x.parquet") -> Path:
    path = folder / name
    pq.write_table(table, path)
    return path


def test_a_parquet_file_is_named_by_its_rows(tmp_path: Path) -> None:
    table = read_file(parquet(tmp_path), wanted=wanted)
    assert table.to_pydict() == {
        "id": ["x.parquet#1", "x.parquet#2", "x.parquet#3"],
        "text": ["a", "b", None],
        "label": [1, 0, 1],
    }


def test_a_look_takes_the_first_rows_and_all_columns(tmp_path: Path) -> None:
    table = read_file(parquet(tmp_path), wanted=lambda names: {"absent": "data.x"}, limit=2)
    assert table.column_names == ["id", "other", "text", "label"]
    assert len(table) == 2


@pytest.mark.parametrize(("limit", "rows"), [(50_000, 3000), (2500, 2500), (2000, 2000), (None, 3000)])
def test_a_look_goes_on_past_the_first_row_group(limit: int | None, rows: int, tmp_path: Path) -> None:
    labels = pa.array([row // 1000 for row in range(3000)])
    pq.write_table(pa.table({"text": labels.cast(pa.string()), "label": labels}), tmp_path / "x.parquet", 1000)
    table = read_file(tmp_path / "x.parquet", wanted=wanted, limit=limit)
    assert table["label"].to_pylist() == labels.to_pylist()[:rows]
    assert table["id"][-1].as_py() == f"x.parquet#{rows}"


def test_a_compressed_parquet_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet.gz"
    path.write_bytes(gzip.compress(parquet(tmp_path).read_bytes()))
    assert read_file(path, wanted=wanted)["text"].to_pylist() == ["a", "b", None]


def test_names_of_classes_take_the_place_of_their_numbers(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=CLASSES)
    pq.write_table(dataset.with_format("arrow")[:], tmp_path / "x.parquet")
    assert read_file(tmp_path / "x.parquet", wanted=wanted)["label"].to_pylist() == ["good", "bad", None]
    chosen = from_dataset(dataset.select([2, 0]), "a dataset", "train", wanted, None)
    assert chosen.to_pydict() == {"id": ["train#1", "train#2"], "text": ["c", "a"], "label": [None, "good"]}


TAGS = datasets.ClassLabel(names=["O", "B-PER"])


@pytest.mark.parametrize("feature", [datasets.List(TAGS), datasets.Sequence(TAGS), datasets.LargeList(TAGS)])
def test_names_of_classes_inside_lists_take_the_place_of_their_numbers(tmp_path: Path, feature: object) -> None:
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": feature})
    rows = {"tokens": [["Ann", "ran"], []], "ner_tags": [[1, 0], []]}
    pq.write_table(datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:], tmp_path / "x.parquet")
    table = read_file(tmp_path / "x.parquet", wanted=asking(*rows))
    assert table["tokens"].to_pylist() == rows["tokens"]
    assert table["ner_tags"].to_pylist() == [["B-PER", "O"], []]
    assert str(table["ner_tags"].type) == "list<item: string>"


def test_structs_stay_structs_and_a_column_named_id_gives_way(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "answers": datasets.Sequence({"text": datasets.Value("string"), "answer_start": datasets.Value("int32")}),
            "translation": datasets.Translation(languages=["en", "de"]),
        }
    )
    row = {"answers": {"text": ["a"], "answer_start": [3]}, "translation": {"de": "ja", "en": "yes"}}
    dataset = datasets.Dataset.from_list([{"id": "5733", **row}], features=features)
    pq.write_table(dataset.with_format("arrow")[:], tmp_path / "x.parquet")
    table = read_file(tmp_path / "x.parquet", wanted=asking(*row))
    assert table.to_pylist() == [{"id": "x.parquet#1", **row}]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path, TABLE.rename_columns(["other", "text", "labels"]))
    with pytest.raises(UserError, match=r"'label' is not in .*x.parquet; its columns .* Did you mean 'labels'\?"):
        read_file(path, wanted=wanted)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"text,label\na,b\n", "is no intact Parquet file"), (b"PAR1", "is no intact")],
)
def test_what_is_no_parquet_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_file(path, wanted=wanted)


def test_a_parquet_file_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no rows in it"):
        read_file(parquet(tmp_path, TABLE.slice(0, 0)), wanted=wanted)


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = parquet(tmp_path, TABLE.rename_columns(["text", "text", "label"]))
    with pytest.raises(UserError, match="the columns 1 and 2 are both named 'text'"):
        read_file(path, wanted=wanted)


def test_text_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
    path = parquet(tmp_path, pa.table({"text": broken, "label": [0, 1]}))
    with pytest.raises(UserError, match="the column 'text' holds text that is not UTF-8"):
        read_file(path, wanted=wanted)
