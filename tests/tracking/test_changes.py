"""Whatever differs from a commit comes back from the patch, byte for byte, but for what must not be kept."""

import os
import time
from pathlib import Path

import pytest

from pipeline.tracking import changes
from tests.tracking.repositories import commit, git, write

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
COMMITTED: dict[str, str | bytes] = {
    "dvc.yaml": "stages: {}\n",
    "pipeline/model.py": "a\nb\nc\n",
    "notes.txt": "one\n",
    "raw.bin": bytes(range(256)) * 9,
    "link": "no link yet\n",
    "gone.txt": "bye\n",
    "run.sh": "#!/bin/sh\n",
    ".gitignore": "/data/raw/**\n!/data/**/*.dvc\n",
}


@pytest.fixture
def base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit of a small repository, in which the test runs."""
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    git("init", "-q", "-b", "main")
    return commit(COMMITTED)


def restored(patch: bytes, base: str, into: Path) -> Path:
    git("worktree", "add", "-q", "--detach", str(into), base)
    file = into.with_suffix(".patch")
    file.write_bytes(patch)
    if patch:
        git("apply", "--binary", "--whitespace=nowarn", str(file), folder=into)
    return into


def content(folder: Path) -> dict[str, bytes | str]:
    files = (path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts and not path.is_dir())
    return {
        os.fsdecode(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in files
    }


def test_everything_comes_back(base: str, folder: Path, tmp_path_factory: pytest.TempPathFactory):
    write({"pipeline/model.py": "a\nB\nc\n", "raw.bin": b"\0\xff" * 100, "new/a file.py": "x = 1\n"})
    write({'new/é "quoted"\ttab.txt': "diff --git a/x b/x\n", "latin.txt": "caf\xe9\n".encode("latin-1")})
    write({"staged.txt": "staged\n", "no newline": "end", "empty": "", "new.bin": b"\0\1\2"})
    git("add", "staged.txt")
    Path("gone.txt").unlink()
    Path("link").unlink()
    Path("link").symlink_to("notes.txt")
    Path("run.sh").chmod(0o755)
    before = git("status", "--porcelain"), content(folder)
    found = changes.since(base)
    assert (git("status", "--porcelain"), content(folder)) == before, "nothing here is touched, not even git's index"
    assert found.left_out == ()
    there = restored(found.patch, base, tmp_path_factory.mktemp("there") / "tree")
    assert content(there) == content(folder)
    assert os.access(there / "run.sh", os.X_OK)
    assert "gone.txt" in found.paths


def test_no_change_is_no_patch(base: str):
    assert changes.since(base) == changes.Changes(b"", (), ())


def test_what_runs_write_is_no_change(base: str):
    write({"dvc.lock": "schema: '2.0'\n", "metrics/train.json": "{}\n"})
    assert changes.since(base).paths == ()


def test_ignored_files_stay_out(base: str):
    write({"data/raw/rows.csv": "text,label\n", "data/raw/other.csv.dvc": "outs: []\n"})
    assert changes.since(base).paths == ("data/raw/other.csv.dvc",)


def test_what_looks_like_a_secret_is_left_out_and_said(base: str):
    write({".env": "A=b\n", "notes.txt": f"one\n{SECRET}\n", "pipeline/model.py": "a\nb\nd\n"})
    write({"packed.bin": b"\0" * 99 + SECRET.encode()})
    found = changes.since(base)
    assert {file.path for file in found.left_out} == {".env", "notes.txt", "packed.bin"}
    assert {file.path: file.reason for file in found.left_out}[
        "notes.txt"
    ] == "it holds what looks like an AWS access key"
    assert found.patch.count(b"diff --git") == 1
    assert SECRET.encode() not in found.patch
    assert set(found.paths) == {".env", "notes.txt", "packed.bin", "pipeline/model.py"}


def test_a_secret_that_a_change_removes_is_not_kept_either(folder: Path):
    git("init", "-q")
    base = commit({"dvc.yaml": "stages: {}\n", "a.txt": f"{SECRET}\n", "b.bin": b"\0" + SECRET.encode()})
    write({"a.txt": "clean\n", "b.bin": b"\0clean"})
    found = changes.since(base)
    assert {file.path for file in found.left_out} == {"a.txt", "b.bin"}
    assert found.patch == b""


def test_large_files_are_left_out_and_said(base: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MOST_BYTES", 2**20)
    monkeypatch.setattr(changes, "MOST_BYTES_IN_ALL", 2**20 + 100)
    write({"a_large.csv": b"x" * (2**20 + 1), "b.csv": b"x" * 2**20, "c.csv": b"x" * 200, "d.txt": b"x"})
    reasons = {file.path: file.reason for file in changes.since(base).left_out}
    assert set(reasons) == {"a_large.csv", "c.csv", "d.txt"}
    assert "dvc add" in reasons["a_large.csv"]
    assert "all changes together" in reasons["c.csv"]


def test_a_repository_inside_is_left_out(base: str):
    write({"vendor/x.py": "x\n"})
    git("init", "-q", "vendor")
    git("-C", "vendor", "add", ".")
    git("-C", "vendor", "commit", "-qm", "theirs")
    found = changes.since(base)
    assert [(file.path, file.reason) for file in found.left_out] == [("vendor", "it is a git repository of its own")]
    assert found.patch == b""


def test_own_settings_of_git_do_not_change_the_patch(base: str):
    write({"notes.txt": "two\n"})
    plain = changes.since(base).patch
    for setting in ("diff.noprefix=true", "color.ui=always", "diff.external=false", "core.quotePath=false"):
        git("config", *setting.split("=", 1))
    assert changes.since(base).patch == plain


def test_a_project_in_a_folder_of_its_repository(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory):
    git("init", "-q")
    base = commit({"project/dvc.yaml": "stages: {}\n", "other.txt": "not ours\n"})
    write({"project/new.py": "x\n", "other.txt": "changed\n"})
    monkeypatch.chdir(folder / "project")
    found = changes.since(base)
    assert found.paths == ("project/new.py",)
    there = restored(found.patch, base, tmp_path_factory.mktemp("there") / "tree")
    assert (there / "project/new.py").read_text() == "x\n"


def test_files_that_neither_git_nor_dvc_has_are_listed_with_their_digests(base: str):
    write({"data/raw/mine.csv": "abc", "data/raw/added.csv": "x", "data/raw/added.csv.dvc": "outs: []\n"})
    write({"data/raw/folder/x.csv": "x", "data/raw/folder.dvc": "outs: []\n", "data/raw/git.csv": "x"})
    git("add", "-f", "data/raw/git.csv")
    (found,) = changes.kept_nowhere(["data/raw"])
    assert found == {
        "path": "data/raw/mine.csv",
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_a_change_of_equal_size_in_the_second_of_the_commit_is_seen(base: str) -> None:
    """Git tells files as young as its index by their content, as their size and time may be those it remembers."""
    time.sleep(1 - time.time() % 1)  # so that what follows is within one second
    at = commit({"notes.txt": "one of two\n"})
    write({"notes.txt": "two of two\n"})
    time.sleep(1)
    assert "notes.txt" in changes.since(at).paths


def test_changes_of_rows_stay_out_of_the_patch_unless_they_may_be_in_it(base: str) -> None:
    commit({"data/raw/rows.csv": "text,label\nprivate words,a\n", "data/raw/more.csv.dvc": "outs: []\n"})
    at = git("rev-parse", "HEAD")
    write({"data/raw/rows.csv": "text,label\nprivate words,b\n", "data/raw/more.csv.dvc": "outs: [{path: more.csv}]\n"})
    assert b"private words" in changes.since(at).patch
    kept = changes.since(at, rows=False)
    assert b"private words" not in kept.patch
    assert b"more.csv" in kept.patch
    assert [(found.path, found.reason[:13]) for found in kept.left_out] == [("data/raw/rows.csv", "it holds rows")]


def test_a_repository_without_a_commit_keeps_no_other_file_out(base: str):
    git("init", "-q", "nested")
    write({"new.txt": "new\n"})
    assert changes.since(base).paths == ("new.txt",)


def test_a_change_that_git_does_not_tell_is_listed_as_left_out(base: str, monkeypatch: pytest.MonkeyPatch):
    write({"notes.txt": "two\n"})
    ask = changes.git.output
    monkeypatch.setattr(
        changes.git, "output", lambda *command, **more: None if "--binary" in command else ask(*command, **more)
    )
    found = changes.since(base)
    assert (found.patch, found.paths) == (b"", ("notes.txt",))
    assert found.left_out == (changes.LeftOut("notes.txt", "git did not say what changed"),)
