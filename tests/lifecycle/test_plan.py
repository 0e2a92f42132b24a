"""In a fresh clone, which has neither data nor results, a plan tells what changed from what is merely not here."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.lifecycle import plan, retrain
from pipeline.lifecycle.retrain import Request
from tests.lifecycle import toy


@pytest.fixture
def fresh(made: Path, tmp_path: Path, forked_dvc: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone as a runner has it."""
    toy.run(tmp_path, "git", "clone", "-q", str(made.parent / "origin.git"), "fresh")
    monkeypatch.chdir(tmp_path / "fresh")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / "fresh"


def request(*overrides: str, update: str | None = None) -> Request:
    return Request(overrides, update, push=False, folder=Path("unused"))


def test_nothing_changed(fresh: Path):
    assert not Path("data/raw/rows.csv").exists()
    assert retrain.planned(request()) == []


def test_a_parameter(fresh: Path):
    before = Path("params.yaml").read_bytes()
    assert retrain.planned(request("train.seed=7")) == ["check: train (modified)", "train: train (modified)"]
    assert Path("params.yaml").read_bytes() == before
    assert retrain.planned(request("hardware.num_threads=3")) == []


def test_the_data_of_a_pointer(fresh: Path):
    pointer = Path("data/raw/rows.csv.dvc")
    text = pointer.read_text()
    pointer.write_text(text.replace(text.split("outs:\n- md5: ")[1][:4], "0000"))
    assert "check: data/raw (modified)" in retrain.planned(request())


def test_a_new_source_is_seen_without_a_download(fresh: Path, made: Path):
    source = made.parent / "source.csv"
    before, pointer = source.read_text(), Path("data/raw/rows.csv.dvc").read_bytes()
    assert retrain.planned(request(update="data/raw/rows.csv")) == []
    source.write_text(f"{before}c,d\n")
    try:
        (reason,) = retrain.planned(request(update="data/raw/rows.csv"))
    finally:
        source.write_text(before)
    assert reason == "data/raw/rows.csv.dvc: its source has changed"
    assert Path("data/raw/rows.csv.dvc").read_bytes() == pointer
    assert not Path("data/raw/rows.csv").exists()


def test_a_source_that_is_gone(fresh: Path, made: Path):
    source = made.parent / "source.csv"
    text = source.read_text()
    source.unlink()
    try:
        with pytest.raises(UserError, match="cannot be read"):
            retrain.planned(request(update="data/raw/rows.csv"))
    finally:
        source.write_text(text)


def test_an_import_that_is_none(fresh: Path):
    with pytest.raises(UserError, match=r"no import of that name.* Did you mean 'data/raw/rows.csv.dvc'"):
        retrain.planned(request(update="data/raw/row.csv"))


def test_a_folder_of_rows_cannot_be_told_without_it(fresh: Path):
    pointer = Path("data/raw/rows.csv.dvc")
    text = pointer.read_text()
    head, _, tail = text.partition("outs:\n- md5: ")
    pointer.write_text(f"{head}outs:\n- md5: {tail[:32]}.dir{tail[32:]}")
    assert plan.reasons(None)


def test_without_any_result(fresh: Path):
    Path("dvc.lock").unlink()
    assert plan.reasons(None) == [f"{stage}: it has never run" for stage in plan.STAGES]


def test_results_that_are_not_committed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "work"
    shutil.copytree(made, work, symlinks=True)
    monkeypatch.chdir(work)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert plan.reasons(None) == []
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 42", "seed: 7"))
    toy.run(work, "dvc", "repro", "-q")
    assert plan.reasons(None) == ["dvc.lock: these results are not committed"]
