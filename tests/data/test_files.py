from pathlib import Path

import pytest

from pipeline.data.files import ending_of, read_file
from pipeline.data.rows import source_of
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.csv", ".csv"),
        ("A.TSV.GZ", ".tsv"),
        ("a.b.jsonl", ".jsonl"),
        ("a.json.gz", ".json"),
        ("a.parquet", ".parquet"),
    ],
)
def test_the_ending_says_the_format(name: str, ending: str) -> None:
    assert ending_of(Path(name)) == ending


@pytest.mark.parametrize("name", ["a.xlsx", "a", "csv", "a.gz", "a.txt"])
def test_an_unknown_ending_lists_those_that_are_known(name: str) -> None:
    with pytest.raises(UserError, match=r"must be one of \.csv, \.tsv, \.json, \.jsonl, \.parquet"):
        ending_of(Path(name))


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
