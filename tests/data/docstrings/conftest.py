"""An installed package of a few functions, in place of the real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.docstrings import source
from pipeline.data.docstrings.source import Documented

Documents = Callable[[str], list[Documented]]


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Documents:
    """What is documented in a package of one module, which has the given source."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "PACKAGES", {"alpha_package": ("alpha",)})
    (tmp_path / "alpha_package").mkdir()
    (tmp_path / "alpha_package/__init__.py").touch()

    def found(content: str) -> list[Documented]:
        (tmp_path / "alpha_package/code.py").write_text(content, encoding="utf-8")
        return list(source.documented("alpha_package"))

    return found
