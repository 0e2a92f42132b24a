"""Which package does a text come from? The classification view of the docstrings.

A row is the first paragraph of a docstring; its label is the package that it comes from, whose names are masked.
"""

import re

import pyarrow as pa

from pipeline.data.docstrings import source

MASK = "pkgname"
MIN_WORDS = 3
MAX_ROWS_A_PACKAGE = 3000

_WORD = re.compile(r"[^\W\d_]{2,}")
# Short names are masked as whole words alone, long ones inside others too: NumPy's `np` is no part of `input`.
_LONGEST_WHOLE_WORD = 3


def rows(limit: int | None = None) -> pa.Table:
    """The corpus: `id` (`torch/nn/init.py:102`), `text` and `label`, all strings, by package, file and line.

    A text that stands twice in a package is kept once; one that stands in two packages is left out.

    Args:
        limit: about how many rows at most, for a quick look; all if None.

    Raises:
        UserError: one of the packages is not installed.
    """
    cap = MAX_ROWS_A_PACKAGE if limit is None else min(MAX_ROWS_A_PACKAGE, -(-limit // len(source.PACKAGES)))
    with source.without_collection():
        found = {package: _texts(package, cap) for package in source.PACKAGES}
    packages_of: dict[str, int] = {}
    for texts in found.values():
        for text in texts:
            packages_of[text] = packages_of.get(text, 0) + 1
    columns: dict[str, list[str]] = {"id": [], "text": [], "label": []}
    for package, texts in found.items():
        for text, place in sorted(texts.items(), key=lambda item: item[1]):
            if packages_of[text] == 1:
                columns["id"].append(f"{place[0]}:{place[1]}")
                columns["text"].append(text)
                columns["label"].append(package)
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def _texts(package: str, cap: int) -> dict[str, tuple[str, int]]:
    """The first distinct texts of a package, each with its file and line."""
    texts: dict[str, tuple[str, int]] = {}
    for owner in source.documented(package):
        text = masked(first_paragraph(owner.docstring))
        if len(_WORD.findall(text.replace(MASK, ""))) >= MIN_WORDS:
            texts.setdefault(text, (owner.path, owner.line))
            if len(texts) == cap:
                break
    return texts


def first_paragraph(docstring: str) -> str:
    """The text before the first empty line, white space collapsed."""
    return " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())


def _mask_pattern() -> re.Pattern[str]:
    names = sorted((name for names in source.PACKAGES.values() for name in names), key=len, reverse=True)
    spelled = {name: name.replace("-", "[-_ ]?") for name in names}
    inside = [spelled[name] for name in names if len(name) > _LONGEST_WHOLE_WORD]
    whole = [spelled[name] for name in names if len(name) <= _LONGEST_WHOLE_WORD]
    return re.compile(f"{'|'.join(inside)}|(?<![a-z0-9])(?:{'|'.join(whole)})(?![a-z0-9])", re.IGNORECASE)


_MASKED = _mask_pattern()


def masked(text: str) -> str:
    """The text with every name of every package replaced by `MASK`."""
    return _MASKED.sub(MASK, text)
