import codecs
import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.data.files import read_file
from pipeline.errors import UserError


def wanted(names: Sequence[str]) -> dict[str, str]:
    return {"text": "data.text_column_names", "label": "data.label_column_name"}


ROWS = b"text,label\nsome words,a\nother words,b\n"


def written(folder: Path, content: bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def error_of(path: Path, column_names: list[str] | None = None) -> str:
    """The message without the folder, so that a test can state it in full."""
    with pytest.raises(UserError) as caught:
        read_file(path, column_names, wanted)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_csv_file_becomes_strings_and_ids_that_name_the_line(tmp_path: Path) -> None:
    content = b'text,label,extra\n"two\nlines, and ""quotes""",1,x\n\nplain,2,y\n'
    table = read_file(written(tmp_path, content), wanted=wanted)
    assert table.to_pydict() == {
        "id": ["x.csv:2", "x.csv:5"],
        "text": ['two\nlines, and "quotes"', "plain"],
        "label": ["1", "2"],
    }


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + ROWS,
        ROWS.replace(b"\n", b"\r\n"),
        ROWS.rstrip(b"\n"),
        b"text , label\n" + ROWS[11:],
        ROWS + b"\n\n",
    ],
    ids=["byte order mark", "Windows line ends", "no last line end", "spaces in the header", "empty lines"],
)
def test_harmless_differences_change_nothing(tmp_path: Path, content: bytes) -> None:
    plain = read_file(written(tmp_path, ROWS), wanted=wanted)
    assert read_file(written(tmp_path, content), wanted=wanted).to_pydict() == plain.to_pydict()


def test_a_compressed_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, gzip.compress(ROWS, mtime=0), "x.csv.gz"), wanted=wanted)
    assert table["text"].to_pylist() == ["some words", "other words"]
    assert table["id"][0].as_py() == "x.csv.gz:2"


def test_tsv_knows_no_quotes(tmp_path: Path) -> None:
    content = b'text\tlabel\n"an odd quote\ta\n5" wide, "said\tb\n'
    table = read_file(written(tmp_path, content, "x.tsv"), wanted=wanted)
    assert table["text"].to_pylist() == ['"an odd quote', '5" wide, "said']


def test_a_file_without_a_header_takes_the_names_that_are_given(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, b"good film\t1\nbad film\t0\n", "x.tsv"), ["text", "label"], wanted)
    assert table.to_pydict() == {
        "id": ["x.tsv:1", "x.tsv:2"],
        "text": ["good film", "bad film"],
        "label": ["1", "0"],
    }


def test_a_look_takes_the_first_rows_and_all_columns(tmp_path: Path) -> None:
    content = b"id,sentence,,label\n" + b"7,words,0,a\n" * 50 + b"broken\n"
    table = read_file(written(tmp_path, content), wanted=wanted, limit=10)
    assert table.column_names == ["id", "sentence", "unnamed_3", "label"]
    assert len(table) == 10
    assert table["id"][0].as_py() == "x.csv:2"


def test_fields_longer_than_the_csv_modules_limit_are_read(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, b"text,label\n" + b"x" * 200_000 + b",a\n"), wanted=wanted)
    assert len(table["text"][0].as_py()) == 200_000


def test_many_chunks_keep_the_order(tmp_path: Path) -> None:
    content = "text,label\n" + "".join(f"row {row},a\n" for row in range(25_000))
    table = read_file(written(tmp_path, content.encode()), wanted=wanted)
    assert table["text"].to_pylist() == [f"row {row}" for row in range(25_000)]
    assert table["id"][-1].as_py() == "x.csv:25001"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.csv: is empty"),
        (b"text,label\n", "x.csv: line 1 is the header, and no row follows"),
        (ROWS + b"a, b,c\n", "x.csv, line 4: 3 fields, where the lines above have 2 (a field that holds a comma needs"),
        (ROWS + b"alone\n", "x.csv, line 4: 1 field, where the lines above have 2"),
        (ROWS + b'"open,a\nb,c\n', "x.csv, line 4: a quote opens in this row and is never closed"),
        (ROWS + b'"say "yes" now",a\n', "x.csv, line 4: a quoted field of this row goes on behind its closing quote."),
        (
            ROWS + b'"open,a\nb,c\n"d, e",f\n',
            "x.csv, line 4: a quoted field of this row goes on behind its closing quote in line 6",
        ),
        (ROWS.replace(b"\n", b"\r"), "x.csv, line 1: its line ends are lone carriage returns"),
        (ROWS + "né,a\n".encode("latin-1"), "x.csv, line 4, column 2: the byte 0xe9 is not UTF-8."),
        (ROWS + b"a\0b,c\n", "x.csv, line 4: there is a NUL byte in it"),
        (ROWS.decode().encode("utf-16"), "x.csv: is UTF-16; save it as UTF-8"),
        (gzip.compress(ROWS, mtime=0), "x.csv: is compressed with gzip; add .gz to its name"),
        (b"PAR1....", "x.csv: is a Parquet file; its name must end in .parquet"),
        (b"PK\x03\x04....", "x.csv: is an Excel or zip file"),
        (b"text;label\na;b\n", "separated by semicolons, not by commas.\nSave it with commas (and quotes"),
        (
            b"text\tlabel\na\tb\n",
            "separated by tabs, not by commas.\nRename it to end in .tsv, or set data.file_format: tsv",
        ),
        (b"text,label,text\na,b,c\n", "x.csv: the columns 1 and 3 are both named 'text'."),
        (
            b"text,lable\na,b\n",
            "data.label_column_name: 'label' is not in x.csv; its columns are text, lable. Did you mean 'lable'?",
        ),
        (
            b"this film is really very good,1\nbad,0\n",
            "That looks like a row. If the file has no header, set data.column_names",
        ),
    ],
)
def test_a_wrong_csv_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in error_of(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (b"a\tb\tc\n", ["text", "label"], "data.column_names: 2 names (text, label), but x.tsv, line 1, has 3 fields"),
        (
            b"text\tlabel\na\tb\n",
            ["text", "label"],
            "x.tsv, line 1: has the names of data.column_names, so it is a header",
        ),
        (b"a\tb\n", ["text", "text"], "data.column_names: the columns 1 and 2 are both named 'text'."),
        (b"text,label\na,b\n", None, "by commas, not by tabs.\nRename it to end in .csv, or set data.file_format: csv"),
        (
            b"text\tlabel\na\tb\tc\n",
            None,
            "x.tsv, line 2: 3 fields, where the lines above have 2 (no field can hold a tab)",
        ),
    ],
)
def test_a_wrong_tsv_file_is_named_with_its_line(
    tmp_path: Path, content: bytes, names: list[str] | None, message: str
) -> None:
    assert message in error_of(written(tmp_path, content, "x.tsv"), names)


@pytest.mark.parametrize("content", [ROWS, gzip.compress(ROWS * 100, mtime=0)[:-9]], ids=["plain text", "cut off"])
def test_a_damaged_gzip_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    assert "x.csv.gz: its name ends in .gz, but it is no intact gzip file" in error_of(
        written(tmp_path, content, "x.csv.gz")
    )
