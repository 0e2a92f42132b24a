"""What differs from the commit that a run starts from, as one patch: tracked and untracked files, without secrets."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import digest, project
from pipeline.tracking import git, leaks

# DVC and the stages write these while a run goes on, so they say nothing about what the run was made from.
WRITTEN_BY_RUNS = ("dvc.lock", project.TRAIN_METRICS.parent.as_posix())
MOST_BYTES = 10 * 2**20
"""Of one changed file. Data belongs in DVC."""
MOST_BYTES_IN_ALL = 50 * 2**20
_AT_ONCE = 500  # names on one command line
# As `git apply` reads it, whatever the user's own settings of git are.
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=dirty")
_PATCH = ("--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/")
_A_REPOSITORY = re.compile(rb"(?m)^new file mode 160000$")


@dataclass(frozen=True)
class LeftOut:
    """A changed file whose change is not in the patch, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Changes:
    """What differs from a commit.

    Attributes:
        patch: what ``git apply --binary`` takes in the repository's main folder.
        paths: all changed files, below the repository's main folder.
    """

    patch: bytes
    paths: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def since(commit: str, rows: bool = True) -> Changes:
    """The changes of the project's files since a commit: tracked ones, and those that git neither has nor ignores.

    Args:
        rows: whether changes of the files with rows may be in the patch.
    """
    root = Path(git.text("rev-parse", "--show-toplevel") or ".")
    with _index() as index:
        others = (f":(exclude){path}" for path in WRITTEN_BY_RUNS)
        paths = git.names(*_DIFF, "--name-only", "-z", commit, "--", ".", *others, environment=index) or []
        left_out = dict(_unfit(root, paths, rows))
        fit = [path for path in paths if path not in left_out]
        sections: dict[str, bytes] = {}
        for first in range(0, len(fit), _AT_ONCE):
            literal = {**index, "GIT_LITERAL_PATHSPECS": "1"}
            some = fit[first : first + _AT_ONCE]
            found = git.output("-C", str(root), *_DIFF, *_PATCH, commit, "--", *some, environment=literal)
            sections.update(_sections(found or b"", some))
        for path in fit:
            known = path in sections
            reason = _danger(root / path, path, commit, sections[path]) if known else "git did not say what changed"
            if reason is not None:
                left_out[path] = reason
                sections.pop(path, None)
    listed = tuple(LeftOut(_shown(path), reason) for path, reason in left_out.items())
    return Changes(b"".join(sections.values()), tuple(map(_shown, paths)), listed)


class _index:  # noqa: N801
    """Within the block: variables for a copy of git's index that knows of the untracked files."""

    def __enter__(self) -> dict[str, str]:
        self._folder = tempfile.TemporaryDirectory()
        copy = Path(self._folder.name) / "index"
        original = Path(git.text("rev-parse", "--git-path", "index") or "")
        if original.is_file():
            # With its time: git looks closer at files that were written in the same second.
            shutil.copy2(original, copy)
        variables = {"GIT_INDEX_FILE": str(copy)}
        # Only the intent to add: git reads no file for it, and writes none of its objects. What it cannot take, such as
        # a repository without a commit, keeps none of the others out.
        add = ("add", "--ignore-errors", "--intent-to-add", "--", ".")
        git.output("-c", "advice.addEmbeddedRepo=false", *add, environment=variables)
        return variables

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _unfit(root: Path, paths: Iterable[str], rows: bool) -> Iterator[tuple[str, str]]:
    """The files that are not even read, and why."""
    total = 0
    for path in paths:
        file = root / path
        size = file.lstat().st_size if file.is_symlink() or file.is_file() else 0
        if (reason := leaks.by_name(path)) is not None:
            yield path, reason
        elif not rows and _holds_rows(file):
            yield path, "it holds rows, and evaluate.publish_texts is not mlflow (to keep it: dvc add)"
        elif size > MOST_BYTES:
            yield path, f"it has {size / 2**20:,.0f} MiB, more than {MOST_BYTES // 2**20} (for data: dvc add)"
        elif (total := total + size) > MOST_BYTES_IN_ALL:
            yield path, f"all changes together have more than {MOST_BYTES_IN_ALL // 2**20} MiB"


def _holds_rows(file: Path) -> bool:
    below = file.is_relative_to(project.RAW.resolve())
    return below and file.suffix != ".dvc" and not file.name.startswith(".")


def _sections(patch: bytes, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The parts of a patch, by file; a file that became a link, or the other way round, has two."""
    names = {os.fsencode(path): path for path in paths}
    parts: dict[str, bytes] = {}
    # No line within a part starts like this: those of a text start with a sign, those of a binary have no spaces.
    for part in re.split(rb"(?m)^(?=diff --git )", patch)[1:]:
        both = part[len(b"diff --git ") : part.index(b"\n")]
        # Without renames the two names are the same but for their prefix.
        name = names[_unquoted(both[: len(both) // 2])[2:]]
        parts[name] = parts.get(name, b"") + part
    yield from parts.items()


def _unquoted(name: bytes) -> bytes:
    """A name as git writes it in a patch: in quotes, with escapes, if it has a character out of the ordinary."""
    if not name.startswith(b'"'):
        return name
    escapes = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}

    def meant(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code, 8)]) if code.isdigit() else escapes.get(code, code)

    return re.sub(rb"\\([0-7]{3}|.)", meant, name[1:-1])


def _danger(file: Path, path: str, commit: str, section: bytes) -> str | None:
    """Why the change of a file is not kept; None if it can be."""
    if _A_REPOSITORY.search(section):
        return "it is a git repository of its own"
    if len(section) > 2 * MOST_BYTES:
        return f"its change has {len(section) / 2**20:,.0f} MiB, more than {2 * MOST_BYTES // 2**20}"
    content = section
    if b"\nGIT binary patch\n" in section:
        # The patch holds both versions, packed.
        now = file.read_bytes() if file.is_file() else b""
        content = now + (git.output("cat-file", "blob", f"{commit}:{path}") or b"")
    return leaks.by_content(path, content)


def _shown(path: str) -> str:
    """A name that can be printed and written as UTF-8."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def kept_nowhere(paths: Iterable[str], left_out: Iterable[LeftOut] = ()) -> list[dict[str, str | int]]:
    """The files at or below the paths whose content neither git, DVC nor the patch keeps, with size and SHA-256.

    No checkout can bring them back; it can only tell whether a file is the one that was used.

    Args:
        left_out: files whose changes are not in the patch.
    """
    paths = list(paths)
    below = git.text("rev-parse", "--show-prefix") or ""
    changed = (Path(file.path.removeprefix(below)) for file in left_out if file.path.startswith(below))
    ignored = git.names("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", *paths) or []
    files = [Path(name) for name in ignored if not _kept_by_dvc(Path(name))]
    files += [file for file in changed if any(file.is_relative_to(path) for path in paths)]
    return [
        {"path": _shown(file.as_posix()), "bytes": file.stat().st_size, "sha256": digest.of_file(file)}
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    ]


def _kept_by_dvc(path: Path) -> bool:
    return any(Path(f"{part}.dvc").is_file() for part in (path, *path.parents) if part.name)
