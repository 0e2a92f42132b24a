import re
from pathlib import Path

import pytest

from pipeline.data.docstrings import labels, source
from pipeline.errors import UserError

SOURCE = '''"""About the whole module.

    A second paragraph.
    """

import numpy as np


class Holder:
    """Holds  some
    values of a NumPyArray.
    """

    @property
    def first(self):
        "Return the first value."

    def second(self):
        """Too short."""

    async def third(self):
        """Return the first value."""


if True:

    def guarded():
        r"""Uses `np.ndarray` and input."""


def plain():
    value = """No docstring at all."""

    def local():
        """Local to a function."""
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages, alpha and beta, in place of the ten."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "PACKAGES", {"alpha_package": ("alpha",), "beta_package": ("beta",)})
    for package in source.PACKAGES:
        (tmp_path / package).mkdir()
        # Importing it would fail.
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError\n", encoding="utf-8")
    return tmp_path


def add(site: Path, path: str, *texts: str) -> None:
    """A source file with one function for each docstring."""
    (site / path).parent.mkdir(parents=True, exist_ok=True)
    functions = (f'def function_{place}():\n    """{text}"""\n' for place, text in enumerate(texts))
    (site / path).write_text("\n".join(functions), encoding="utf-8")


def test_what_is_documented_is_found_with_its_place(site: Path) -> None:
    (site / "alpha_package/code.py").write_text(SOURCE, encoding="utf-8")
    found = [(owner.path, owner.line, owner.name) for owner in source.documented("alpha_package")]
    assert found == [
        ("alpha_package/code.py", line, name)
        for line, name in [(1, "code"), (9, "Holder"), (15, "first"), (18, "second"), (21, "third"), (27, "guarded")]
    ]


def test_rows_are_first_paragraphs_masked_and_distinct(site: Path) -> None:
    (site / "alpha_package/code.py").write_text(SOURCE, encoding="utf-8")
    add(site, "beta_package/b.py", "About something else.", "About the whole module.")
    assert labels.rows().to_pylist() == [
        {"id": "alpha_package/code.py:9", "text": "Holds some values of a pkgnameArray.", "label": "alpha_package"},
        {"id": "alpha_package/code.py:15", "text": "Return the first value.", "label": "alpha_package"},
        {"id": "alpha_package/code.py:27", "text": "Uses `pkgname.ndarray` and input.", "label": "alpha_package"},
        {"id": "beta_package/b.py:1", "text": "About something else.", "label": "beta_package"},
    ]


def test_tests_and_files_that_do_not_parse_are_left_out(site: Path) -> None:
    add(site, "alpha_package/sub/kept.py", "Words that are kept.")
    add(site, "alpha_package/tests/test_it.py", "Words of a test.")
    add(site, "alpha_package/sub/conftest.py", "Words of a fixture.")
    (site / "alpha_package/template.py").write_text(
        '"""Words of a template."""\n{{ this is no Python }}\n', encoding="utf-8"
    )
    assert labels.rows()["id"].to_pylist() == ["alpha_package/sub/kept.py:1"]


def test_a_package_is_capped_and_a_look_is_short(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in range(20):
        add(site, f"alpha_package/f{file}.py", *(f"Words of row {word} {file}" for word in "abcde"))
    add(site, "beta_package/b.py", "Words of another package")
    assert len(labels.rows(limit=6)) == 4
    monkeypatch.setattr(labels, "MAX_ROWS_A_PACKAGE", 42)
    packages = labels.rows()["label"].to_pylist()
    assert packages.count("alpha_package") == 42
    assert packages == sorted(packages)


def test_a_package_that_is_not_installed_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGES", {"gamma_package": ("gamma",)})
    with pytest.raises(UserError, match="gamma_package is not installed"):
        labels.rows()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a PyTorch tensor, torch.Tensor", "a pkgname tensor, pkgname.Tensor"),
        ("scikit-learn, scikit_learn, Scikit Learn and sklearn", "pkgname, pkgname, pkgname and pkgname"),
        ("MlflowClient, SQLAlchemyError", "pkgnameClient, pkgnameError"),
        ("np.sum of input; an nx graph; inputs sparse", "pkgname.sum of input; an pkgname graph; inputs sparse"),
    ],
)
def test_names_are_masked_in_all_their_spellings(text: str, masked: str) -> None:
    assert labels.masked(text) == masked


def test_the_real_corpus_has_a_thousand_rows_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_ROWS_A_PACKAGE", 1100)
    rows = labels.rows()
    packages, texts, ids = (rows[name].to_pylist() for name in ("label", "text", "id"))
    assert {package: packages.count(package) >= 1000 for package in source.PACKAGES} == dict.fromkeys(
        source.PACKAGES, True
    )
    assert len(set(texts)) == len(texts)
    assert len(set(ids)) == len(ids)
    names = "|".join(name for names in source.PACKAGES.values() for name in names if len(name) > 3)
    assert not [text for text in texts if re.search(names, text, re.IGNORECASE)]
    path, line = ids[0].split(":")
    owner = source.package_folder(packages[0]).parent / path
    assert re.match(
        r"\s*(class|def|async def) |\"|r\"|#", owner.read_text(encoding="utf-8").splitlines()[int(line) - 1]
    )
