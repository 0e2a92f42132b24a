from pathlib import Path

import pytest

from pipeline.cli.output import prepared
from pipeline.errors import UserError


def test_a_file_that_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    assert prepared(tmp_path / "new" / "page.html").parent.is_dir()
    assert not (tmp_path / "new" / "page.html").exists()


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("earlier")
    prepared(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "earlier"


@pytest.mark.parametrize("name", ["file/page.html", "."])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written: .*Name another file"):
        prepared(tmp_path / name)
