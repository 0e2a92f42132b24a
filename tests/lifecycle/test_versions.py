"""The recorded versions: those of the present environment if it has them, else installed, else one clear line."""

import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.lifecycle import versions
from pipeline.tracking import lineage, machine
from pipeline.tracking.records import Record


class Recorded:
    """A record with these versions."""

    name, id = "calm sea", "0" * 32

    def __init__(self, pins: dict[str, str], python: str) -> None:
        self.pins, self.python = pins, python

    def read(self, path: str) -> bytes:
        pins = "".join(f"{name}=={version}\n" for name, version in self.pins.items())
        return {lineage.ENVIRONMENT: pins, lineage.LINEAGE: f'{{"versions": {{"python": "{self.python}"}}}}'}[
            path
        ].encode()


def record(python: str | None = None, **pins: str) -> Record:
    return Recorded(pins or machine.installed(), python or machine.versions()["python"])  # type: ignore[return-value]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index with one package, in place of the real one."""
    wheel = tmp_path / "index" / "plain_thing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "plain_thing-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("plain_thing.py", "x = 1\n")
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: plain-thing\nVersion: 1.0\nRequires-Dist: torch\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def test_the_present_environment_is_used_if_it_has_them_all(tmp_path: Path):
    said: list[str] = []
    assert versions.python_of(record(), tmp_path / "venv", False, said.append) == Path(sys.executable)
    assert said == ["This environment has the recorded versions, all of them."]
    assert not (tmp_path / "venv").exists()


def test_others_are_named_and_installed_without_their_dependencies(tmp_path: Path, index: None):
    said: list[str] = []
    python = versions.python_of(record(**{"plain-thing": "1.0"}), tmp_path / "venv", False, said.append)
    assert "plain-thing 1.0 (none)" in said[0]
    found = versions.installed_in(python)
    assert found["plain-thing"] == "1.0"
    assert "torch" not in found


def test_what_cannot_be_installed_is_one_line(tmp_path: Path, index: None):
    with pytest.raises(
        UserError, match=r"No matching distribution found for plain-thing==2.0. With what is here: --here"
    ):
        versions.python_of(record(**{"plain-thing": "2.0"}), tmp_path / "a", False, print)
    with pytest.raises(UserError, match="PIP_EXTRA_INDEX_URL"):
        versions.python_of(record(**{"plain-thing": "1.0+cpu"}), tmp_path / "b", False, print)


def test_another_python_must_be_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"made with Python 3\.99\.1, and there is no python3\.99 here"):
        versions.python_of(record(python="3.99.1"), tmp_path / "venv", False, print)


def test_here_uses_what_is_here_and_says_what_differs(tmp_path: Path):
    said: list[str] = []
    pins = {"plain-thing": "1.0", "other": "2", "third": "3", "fourth": "4"}
    assert versions.python_of(record(**pins), tmp_path / "venv", True, said.append) == Path(sys.executable)
    assert "plain-thing 1.0 (none), other 2 (none), third 3 (none) and 1 more" in said[0]
