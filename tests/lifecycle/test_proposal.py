"""The branch has the proposed files and nothing else, and the working tree, the index and others' pushes stay."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.lifecycle import proposal
from pipeline.lifecycle.proposal import Outcome
from tests.lifecycle import toy


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a bare repository of its own, with new results."""
    folder = toy.clone(made, tmp_path)
    for key, value in (("user.name", "t"), ("user.email", "t@example.com")):
        toy.run(folder, "git", "config", key, value)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 42", "seed: 7"))
    Path("dvc.lock").write_text("stages: {}\n")
    Path("reports/figures").mkdir(parents=True)
    Path("reports/figures/loss.png").write_bytes(b"png")
    Path("reports/rows.csv").write_text("a row's text\n")
    return folder


def outcome(verdict: str = "passed") -> Outcome:
    return Outcome(proposal.head(), verdict, "0" * 32, "reprise/1", f"Retrained: {verdict}")


def gathered(tmp_path: Path, report: str = "# Report\n") -> Path:
    proposal.gather(outcome(), report, tmp_path / "outcome")
    return tmp_path / "outcome"


def test_the_branch_has_what_is_proposed(work: Path, tmp_path: Path):
    before = toy.run(work, "git", "status", "--porcelain")
    commit = proposal.propose(gathered(tmp_path))
    assert commit == toy.run(work, "git", "ls-remote", "origin", f"refs/heads/{proposal.BRANCH}").split()[0]
    changed = toy.run(work, "git", "diff", "--name-only", f"HEAD..{commit}").split()
    assert changed == ["dvc.lock", "params.yaml"]
    assert toy.run(work, "git", "log", "-1", "--format=%s", str(commit)).strip() == "Retrained: passed"
    assert toy.run(work, "git", "status", "--porcelain") == before
    assert (
        toy.run(work, "git", "rev-parse", "origin/main")
        == toy.run(work, "git", "ls-remote", "origin", "main").split()[0] + "\n"
    )


def test_the_same_results_are_pushed_once(work: Path, tmp_path: Path):
    folder = gathered(tmp_path)
    assert proposal.propose(folder) is not None
    assert proposal.propose(folder) is None


def test_a_newer_outcome_takes_the_branch(work: Path, tmp_path: Path):
    proposal.propose(gathered(tmp_path))
    Path("dvc.lock").write_text("stages: {a: {cmd: b}}\n")
    commit = proposal.propose(gathered(tmp_path))
    assert toy.run(work, "git", "show", f"{commit}:dvc.lock") == "stages: {a: {cmd: b}}\n"
    assert toy.run(work, "git", "rev-list", "--count", f"HEAD..{commit}").strip() == "1"


def test_a_push_in_between_is_not_overwritten(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    proposal.propose(gathered(tmp_path))
    Path("dvc.lock").write_text("stages: {a: {cmd: b}}\n")
    folder = gathered(tmp_path)
    hook = work / ".git/hooks/pre-push"  # runs after the lease was taken, before anything is sent
    hook.write_text(f"#!/bin/sh\ngit -C '{tmp_path}/origin.git' update-ref refs/heads/{proposal.BRANCH} main\n")
    hook.chmod(0o755)
    with pytest.raises(UserError, match="git push failed"):
        proposal.propose(folder)
    there = toy.run(work, "git", "ls-remote", "origin", f"refs/heads/{proposal.BRANCH}").split()[0]
    assert there == toy.run(work, "git", "rev-parse", "HEAD").strip()


@pytest.mark.parametrize(
    "name", [".github/workflows/evil.yml", "pipeline/x.py", "metrics/../x.json", "data/raw/rows.csv"]
)
def test_another_file_in_the_folder_is_refused(work: Path, tmp_path: Path, name: str):
    folder = gathered(tmp_path)
    path = folder / "files" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    with pytest.raises(UserError, match="no such file"):
        proposal.propose(folder)
    assert not toy.run(work, "git", "ls-remote", "origin", f"refs/heads/{proposal.BRANCH}")


def test_the_folder_holds_figures_and_no_rows(work: Path, tmp_path: Path):
    folder = gathered(tmp_path)
    assert (folder / "figures/loss.png").exists()
    assert not [path for path in folder.rglob("*") if path.is_file() and b"a row's text" in path.read_bytes()]


def test_an_outcome_of_another_repository(work: Path, tmp_path: Path):
    proposal.gather(Outcome("f" * 40, "passed", "r", "v/1", "t"), "", tmp_path / "outcome")
    with pytest.raises(UserError, match="which is not here"):
        proposal.propose(tmp_path / "outcome")


@pytest.mark.parametrize("broken", ["{}", "no JSON", None])
def test_a_folder_without_an_outcome(work: Path, tmp_path: Path, broken: str | None):
    if broken is not None:
        (tmp_path / "outcome.json").write_text(broken)
    with pytest.raises(UserError, match="holds no outcome"):
        proposal.read(tmp_path)


def test_uncommitted_code_is_not_proposed_without_it(work: Path):
    proposal.check_committed()  # params.yaml and dvc.lock are part of the proposal
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "# changed\n")
    with pytest.raises(UserError, match=r"not committed: dvc.yaml\n"):
        proposal.check_committed()
    toy.run(work, "git", "checkout", "-q", "dvc.yaml")
    toy.run(work, "git", "remote", "remove", "origin")
    with pytest.raises(UserError, match="no remote 'origin'"):
        proposal.check_committed()


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert proposal.head() == "" and not proposal.differs(Path("dvc.lock"))
    with pytest.raises(UserError, match="no git commit"):
        proposal.check_committed()
