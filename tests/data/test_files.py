from pathlib import Path

import pytest

from pipeline.data.files import format_of, read_file, read_files
from pipeline.data.rows import source_of
from pipeline.errors import UserError
from tests.data.asking import asking


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", "csv"),
        ("A.TSV.GZ", "tsv"),
        ("a.b.jsonl", "json"),
        ("a.json.gz", "json"),
        ("a.parquet", "parquet"),
        ("a.txt", "text"),
        ("a.conll", "conll"),
    ],
)
def test_the_ending_says_the_format(name: str, form: str) -> None:
    assert format_of(Path(name)) == form


@pytest.mark.parametrize("name", ["a.xlsx", "a", "csv", "a.gz", "eng.train"])
def test_an_unknown_ending_lists_those_that_are_known(name: str) -> None:
    with pytest.raises(
        UserError, match=r"must be one of \.csv, .*\.conll, each also with \.gz;\nor data.file_format must"
    ):
        format_of(Path(name))


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        ("csv", [{"id": "rows:2", "a": "b"}]),
        ("text", [{"id": "rows:1", "text": "a"}, {"id": "rows:2", "text": "b"}]),
    ],
)
def test_a_format_that_is_given_counts_more_than_the_ending(tmp_path: Path, form: str, rows: list[object]) -> None:
    path = tmp_path / "rows"
    path.write_text("a\nb\n", encoding="utf-8")
    assert read_file(path, limit=5, file_format=form).to_pylist() == rows


@pytest.mark.parametrize("name", ["x.txt", "x.conll"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n  \n", encoding="utf-8")
    with pytest.raises(UserError, match="there are no rows in it"):
        read_file(tmp_path / name)


def test_aligned_files_are_named_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("data/raw/sub/x.en"), Path("data/raw/sub/x.de")]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text("a\n", encoding="utf-8")
    table = read_files(paths, wanted=asking("de"))
    assert table.to_pylist() == [{"id": "sub/x.en:1", "de": "a"}]
    assert source_of(table) == "data/raw/sub/x.en"


def test_column_names_are_refused_where_the_file_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"text": "a"}]', encoding="utf-8")
    with pytest.raises(UserError, match=r"^data.column_names: .*x.json names its columns itself"):
        read_file(path, ["text"])


def test_ids_are_relative_to_the_raw_folder_and_the_table_knows_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("data/raw/sub/x.csv")
    path.parent.mkdir(parents=True)
    path.write_text("text\na\n", encoding="utf-8")
    table = read_file(path, wanted=lambda names: {"text": "data.text_column_names"})
    assert table["id"].to_pylist() == ["sub/x.csv:2"]
    assert source_of(table) == "data/raw/sub/x.csv"
