"""A digest tells contents apart, and nothing else."""

import hashlib
from pathlib import Path

import pytest

from pipeline import digest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with two files, one in a folder of its own."""
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "deep" / "b.txt").write_bytes(b"two")
    return folder


def test_a_file_has_the_sha256_of_its_bytes(tree: Path) -> None:
    assert digest.of_file(tree / "a.txt") == hashlib.sha256(b"one").hexdigest()
    assert digest.of_path(tree / "a.txt") == digest.of_file(tree / "a.txt")


def test_a_folder_does_not_depend_on_its_name_or_the_order_of_writing(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    (copy / "deep").mkdir(parents=True)
    (copy / "deep" / "b.txt").write_bytes(b"two")
    (copy / "a.txt").write_bytes(b"one")
    assert digest.of_folder(copy) == digest.of_folder(tree) == digest.of_path(tree)


@pytest.mark.parametrize("change", ["content", "name", "place", "one more", "one less"])
def test_a_folder_changes_with_every_file_in_it(tree: Path, change: str) -> None:
    before = digest.of_folder(tree)
    match change:
        case "content":
            (tree / "deep" / "b.txt").write_bytes(b"twO")
        case "name":
            (tree / "deep" / "b.txt").rename(tree / "deep" / "c.txt")
        case "place":
            (tree / "deep" / "b.txt").rename(tree / "b.txt")
        case "one more":
            (tree / "empty").touch()
        case "one less":
            (tree / "a.txt").unlink()
    assert digest.of_folder(tree) != before


def test_what_tools_leave_behind_does_not_count(tree: Path) -> None:
    before = digest.of_folder(tree)
    (tree / "deep" / "__pycache__").mkdir()
    (tree / "deep" / "__pycache__" / "b.pyc").touch()
    (tree / ".git").mkdir()
    (tree / ".git" / "HEAD").touch()
    for name in (".DS_Store", ".gitignore", ".gitkeep"):
        (tree / name).touch()
    assert digest.of_folder(tree) == before


def test_a_folder_inside_a_skipped_one_counts_as_its_own_root(tmp_path: Path) -> None:
    inside = tmp_path / ".git" / "model"
    inside.mkdir(parents=True)
    (inside / "weights").write_bytes(b"one")
    before = digest.of_folder(inside)
    (inside / "weights").write_bytes(b"two")
    assert digest.of_folder(inside) != before


def test_linked_files_count_by_their_content(tree: Path, tmp_path: Path) -> None:
    # The hub's cache is made of links.
    linked = tmp_path / "linked"
    (linked / "deep").mkdir(parents=True)
    (linked / "a.txt").symlink_to(tree / "a.txt")
    (linked / "deep" / "b.txt").symlink_to(tree / "deep" / "b.txt")
    assert digest.of_folder(linked) == digest.of_folder(tree)


def test_paths_that_are_not_there_are_left_out(tree: Path) -> None:
    found = digest.of_paths([tree / "a.txt", tree / "deep", tree / "missing"])
    assert found == {
        (tree / "a.txt").as_posix(): digest.of_file(tree / "a.txt"),
        (tree / "deep").as_posix(): digest.of_folder(tree / "deep"),
    }


def test_values_do_not_depend_on_the_order_of_keys() -> None:
    assert digest.of_value({"a": 1, "b": [1, {"d": None, "c": "é"}]}) == digest.of_value(
        {"b": [1, {"c": "é", "d": None}], "a": 1}
    )
    different = [
        {"a": [1, 2]},
        {"a": [2, 1]},
        {"a": "1"},
        {"a": 1},
        {"a": 1.5},
        {"a": True},
        {"a": None},
        {},
        [],
        "",
        None,
    ]
    assert len({digest.of_value(value) for value in different}) == len(different)
