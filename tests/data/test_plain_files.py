import gzip
from pathlib import Path

import pytest

from pipeline.data.files import read_file
from pipeline.data.plain_files import read_aligned
from pipeline.errors import UserError
from tests.data.asking import asking

TEXT = "\n  First line \nsecond line\n \n\n third  line\n"


@pytest.mark.parametrize(
    ("sample_by", "rows"),
    [
        ("line", {2: "First line", 3: "second line", 6: "third  line"}),
        ("paragraph", {2: "First line \nsecond line", 6: "third  line"}),
        ("document", {2: "First line \nsecond line\n \n\n third  line"}),
    ],
)
def test_a_row_is_a_line_a_paragraph_or_the_document(tmp_path: Path, sample_by: str, rows: dict[int, str]) -> None:
    for path in (tmp_path / "x.txt", tmp_path / "x.txt.gz"):
        path.write_bytes(gzip.compress(TEXT.encode()) if path.suffix == ".gz" else TEXT.encode())
        table = read_file(path, wanted=asking("text"), sample_by=sample_by)
        assert table.to_pydict() == {"id": [f"{path.name}:{line}" for line in rows], "text": list(rows.values())}
        assert len(read_file(path, limit=1, sample_by=sample_by)) == 1


def test_there_is_no_column_but_text(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(UserError, match=r"data.label_column_name: 'label' is not in .*x.txt; its columns are text\."):
        read_file(tmp_path / "x.txt", wanted=asking("label", key="data.label_column_name"))
    with pytest.raises(UserError, match=r"data.column_names: .*x.txt names its columns itself"):
        read_file(tmp_path / "x.txt", ["sentence"])


def aligned(
    folder: Path, *names: str, texts: tuple[str, ...] = ("One.\n\n Two. \n\n", "Eins.\n\nZwei.\nDrei.\n")
) -> list[Path]:
    paths = [folder / name for name in names]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return paths


@pytest.mark.parametrize("names", [("x.en", "x.de"), ("x.en.gz", "x.de.gz"), ("x.en.txt", "x.de.txt.gz")])
def test_aligned_files_are_columns_named_by_their_language(tmp_path: Path, names: tuple[str, ...]) -> None:
    wanted = asking("de", "en")
    table = read_aligned(aligned(tmp_path, *names), names, None, wanted, None)
    assert table.to_pydict() == {
        "id": [f"{names[0]}:{line}" for line in (1, 3, 4)],
        "de": ["Eins.", "Zwei.", "Drei."],
        "en": ["One.", "Two.", ""],
    }
    assert read_aligned(aligned(tmp_path, *names), names, None, wanted, 1).num_rows == 1


def test_aligned_files_can_be_named(tmp_path: Path) -> None:
    paths = aligned(tmp_path, "source.txt", "target.txt")
    names = [path.name for path in paths]
    table = read_aligned(paths, names, ["text", "target"], asking(), 5)
    assert table.column_names == ["id", "text", "target"]
    with pytest.raises(UserError, match=r"^data.column_names: 1 name for 2 files"):
        read_aligned(paths, names, ["text"], asking(), None)
    with pytest.raises(
        UserError, match=r"source.txt, .*target.txt: the files of aligned texts are told apart by endings"
    ):
        read_aligned(paths, names, None, asking(), None)


def test_another_number_of_lines_is_an_error(tmp_path: Path) -> None:
    paths = aligned(tmp_path, "x.en", "x.de", texts=("a\nb\nc\n", "a\nb"))
    with pytest.raises(UserError, match=r"but .*x.en has 3 lines, .*x.de has 2 lines\.$"):
        read_aligned(paths, ["x.en", "x.de"], None, asking(), None)
