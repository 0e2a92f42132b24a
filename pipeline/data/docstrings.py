"""The embedded corpus: docstrings of the pinned dependencies, read from their source files with `ast`.

A row is the first paragraph of a docstring; its label is the package that it comes from, whose names are masked.
Nothing is imported. The rows depend on the packages' versions and on nothing else.
"""

import ast
import gc
import hashlib
import importlib.util
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.errors import UserError

PACKAGES: dict[str, tuple[str, ...]] = {
    "matplotlib": ("matplotlib", "pyplot", "pylab", "mpl", "plt"),
    "mlflow": ("mlflow", "ml-flow"),
    "networkx": ("networkx", "nx"),
    "numpy": ("numpy", "np"),
    "pandas": ("pandas", "pd"),
    "scipy": ("scipy", "sp"),
    "sklearn": ("scikit-learn", "sklearn", "sk-learn"),
    "sqlalchemy": ("sql-alchemy", "sa"),
    "torch": ("pytorch", "torch"),
    "transformers": ("transformers", "hugging-face", "hf"),
}
"""The packages, each with the names that it goes by; a hyphen stands for itself, an underscore, a space or nothing."""

MASK = "pkgname"
MIN_WORDS = 3
MAX_ROWS_A_PACKAGE = 3000
# Files with fewer docstrings cost more time than they are worth.
MAX_BYTES_A_DOCSTRING = 4000
SKIPPED_FOLDERS = frozenset(
    "__pycache__ _tests _vendor _vendored array_api_compat array_api_extra externals protos test testing_data tests "
    "third_party vendor vendored_templates".split()
)

Owner = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_NESTING = (ast.Module, ast.ClassDef, ast.If, ast.Try, ast.ExceptHandler, ast.With)
_BLOCKS = ("body", "orelse", "finalbody", "handlers")
_WORD = re.compile(r"[^\W\d_]{2,}")
# Short names are masked as whole words alone, long ones inside others too: NumPy's `np` is no part of `input`.
_LONGEST_WHOLE_WORD = 3


@dataclass(frozen=True)
class Documented:
    """A module, class or function with a docstring.

    Attributes:
        path: of the source file, from the package's name on, with forward slashes.
        line: of its `def` or `class`, 1 for a module.
        name: its own name; the file's without its ending for a module.
    """

    package: str
    path: str
    line: int
    name: str
    node: Owner
    docstring: str


def rows(limit: int | None = None) -> pa.Table:
    """The corpus: `id` (`torch/nn/init.py:102`), `text` and `label`, all strings, by package, file and line.

    A text that stands twice in a package is kept once; one that stands in two packages is left out.

    Args:
        limit: about how many rows at most, for a quick look; all if None.

    Raises:
        UserError: one of the packages is not installed.
    """
    cap = MAX_ROWS_A_PACKAGE if limit is None else min(MAX_ROWS_A_PACKAGE, -(-limit // len(PACKAGES)))
    collecting = gc.isenabled()
    # Syntax trees have no cycles, and looking for some takes a quarter of the time.
    gc.disable()
    try:
        found = {package: _texts(package, cap) for package in PACKAGES}
    finally:
        if collecting:
            gc.enable()
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
    for owner in documented(package):
        text = masked(first_paragraph(owner.docstring))
        if len(_WORD.findall(text.replace(MASK, ""))) >= MIN_WORDS:
            texts.setdefault(text, (owner.path, owner.line))
            if len(texts) == cap:
                break
    return texts


def documented(package: str) -> Iterator[Documented]:
    """What has a docstring in a package: file after file in an order that draws evenly from all folders.

    Raises:
        UserError: the package is not installed.
    """
    folder = package_folder(package)
    for path in sorted(_files(folder, package), key=lambda path: hashlib.sha256(path.encode()).digest()):
        source = (folder.parent / path).read_bytes()
        quotes = source.count(b'"""') + source.count(b"'''")
        if not quotes or len(source) > MAX_BYTES_A_DOCSTRING * quotes / 2:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in sorted(_owners(tree), key=_line):
            if docstring := ast.get_docstring(node, clean=False):
                name = Path(path).stem if isinstance(node, ast.Module) else node.name
                yield Documented(package, path, _line(node), name, node, docstring)


def package_folder(package: str) -> Path:
    """Where a package is installed, found without importing it.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"data.dataset_name: docstrings are read from installed packages, and {package} is not installed.\n"
            "Install what constraints.txt pins (see the README), or set data.train_file."
        )
    return Path(spec.submodule_search_locations[0])


def _files(folder: Path, package: str) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).parts
        if path.name != "conftest.py" and not SKIPPED_FOLDERS.intersection(parts):
            yield "/".join((package, *parts))


def _owners(tree: ast.Module) -> list[Owner]:
    """What can have a docstring in a file, but for what is local to a function."""
    found: list[Owner] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Owner):
            found.append(node)
        if isinstance(node, _NESTING):
            for block in _BLOCKS:
                stack.extend(getattr(node, block, ()))
    return found


def _line(node: Owner) -> int:
    return 1 if isinstance(node, ast.Module) else node.lineno


def first_paragraph(docstring: str) -> str:
    """The text before the first empty line, white space collapsed."""
    return " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())


def _mask_pattern() -> re.Pattern[str]:
    names = sorted((name for names in PACKAGES.values() for name in names), key=len, reverse=True)
    spelled = {name: name.replace("-", "[-_ ]?") for name in names}
    inside = [spelled[name] for name in names if len(name) > _LONGEST_WHOLE_WORD]
    whole = [spelled[name] for name in names if len(name) <= _LONGEST_WHOLE_WORD]
    return re.compile(f"{'|'.join(inside)}|(?<![a-z0-9])(?:{'|'.join(whole)})(?![a-z0-9])", re.IGNORECASE)


_MASKED = _mask_pattern()


def masked(text: str) -> str:
    """The text with every name of every package replaced by `MASK`."""
    return _MASKED.sub(MASK, text)
