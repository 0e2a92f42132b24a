"""Docstrings of installed packages, read from their source files with `ast`; nothing is imported."""

import ast
import gc
import hashlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

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

# Files with fewer docstrings cost more time than they are worth.
MAX_BYTES_A_DOCSTRING = 4000
SKIPPED_FOLDERS = frozenset(
    "__pycache__ _tests _vendor _vendored array_api_compat array_api_extra externals protos test testing_data tests "
    "third_party vendor vendored_templates".split()
)

Owner = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_NESTING = (ast.Module, ast.ClassDef, ast.If, ast.Try, ast.ExceptHandler, ast.With)
_BLOCKS = ("body", "orelse", "finalbody", "handlers")


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

    @property
    def place(self) -> str:
        """Its file and line, as `torch/nn/init.py:102`."""
        return f"{self.path}:{self.line}"

    @property
    def draw(self) -> Random:
        """Draws that depend on its place alone."""
        return Random(self.place)  # noqa: S311 -- nothing here is a secret


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: syntax trees have no cycles, and to look for some takes a quarter of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


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
