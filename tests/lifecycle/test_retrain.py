"""The order of a retraining and its ends, on a toy whose stages copy files; only MLflow's part is stood in for."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.cli.retrain import command
from pipeline.errors import UserError
from pipeline.lifecycle import dvc, proposal, retrain
from pipeline.lifecycle.proposal import Outcome
from pipeline.params import Params
from tests.conftest import REPOSITORY
from tests.lifecycle import forked, toy

HEAVY = ("torch", "transformers", "mlflow", "datasets", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "matplotlib")


@pytest.fixture
def work(made: Path, tmp_path: Path, forked_dvc: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, as a runner has it, with a bare repository and a DVC remote of its own."""
    folder = toy.clone(made, tmp_path)
    shutil.copytree(made.parent / "store", tmp_path / "store")
    for key, value in (("user.name", "t"), ("user.email", "t@example.com")):
        toy.run(folder, "git", "config", key, value)
    toy.run(folder, "dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "store"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the verdict that MLflow's part comes to."""

    def judge(verdict: str) -> None:
        def stand_in(params: Params, notes: Sequence[str], say: Callable[[str], None]) -> tuple[Outcome, str]:
            outcome = Outcome(proposal.head(), verdict, "0" * 32, "reprise/1", f"Retrained: {verdict}")
            return outcome, f"# Report\n\n{' '.join(notes)}\n"

        monkeypatch.setattr(retrain, "_judged", stand_in)

    return judge


def called(*arguments: str) -> int:
    """The exit code of the command."""
    code: int = command.main(list(arguments), standalone_mode=False)
    return code


def branch(work: Path) -> str:
    return toy.run(work, "git", "ls-remote", "origin", f"refs/heads/{proposal.BRANCH}").partition("\t")[0]


@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("not passed", 3)])
def test_results_are_on_the_dvc_remote_before_git_hears_of_them(
    work: Path, judged: Callable[[str], None], verdict: str, code: int
) -> None:
    judged(verdict)
    hook = work / ".git/hooks/pre-push"
    hook.write_text(f"#!/bin/sh\nfind '{work.parent}/store' -type f > '{work.parent}/pushed'\n")
    hook.chmod(0o755)
    assert called("--set", "train.seed=7", "--set", "hardware.num_threads=2") == code
    model = next(Path("models/best").iterdir())
    md5 = toy.run(work, "md5sum", str(model)).split()[0]
    assert f"files/md5/{md5[:2]}/{md5[2:]}" in (work.parent / "pushed").read_text()
    assert "/runs/" in (work.parent / "pushed").read_text()
    text = toy.run(work, "git", "fetch", "-q", "origin", proposal.BRANCH) or toy.run(
        work, "git", "show", "FETCH_HEAD:params.yaml"
    )
    assert "seed: 7 " in text and "num_threads: 1 " in text


def test_what_the_remote_has_is_not_made_again(
    work: Path, judged: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged("passed")
    called("--set", "train.seed=7")
    toy.run(tmp_path, "git", "clone", "-q", "origin.git", "again")
    monkeypatch.chdir(tmp_path / "again")
    toy.run(tmp_path / "again", "dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "store"))
    marker = tmp_path / "ran"
    # The runner's `mkdir` notes that train ran: its command, and so its hash, stays.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mkdir").write_text(f'#!/bin/sh\necho "$@" >> "{marker}"\nexec /bin/mkdir "$@"\n')
    (tmp_path / "bin/mkdir").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    called("train", "--set", "train.seed=7", "--no-push")
    assert "models/best" not in marker.read_text().split()


def test_nothing_changed_pushes_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--outputs", "outputs") == 0
    assert "Nothing changed" in capsys.readouterr().out
    assert Path("outputs").read_text() == "changed=false\n"
    assert not branch(work) and not Path(".reprise").exists()


def test_a_plan_needs_no_torch(work: Path) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); sys.argv[0] = 'reprise'"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; from pipeline.cli import main; main()", "retrain"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing changed" in done.stdout


def test_the_phases_hand_a_folder_on(
    work: Path, judged: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged("not passed")
    folder, outputs = str(tmp_path / "outcome"), str(tmp_path / "outputs")
    assert called("plan", "--set", "train.seed=7", "--outputs", outputs) == 0
    assert called("train", "--set", "train.seed=7", "--folder", folder, "--outputs", outputs) == 0
    assert not branch(work), "who trains does not write to git"
    toy.run(tmp_path, "git", "clone", "-q", "origin.git", "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    toy.run(Path.cwd(), "git", "config", "user.name", "bot")
    toy.run(Path.cwd(), "git", "config", "user.email", "bot@example.com")
    assert called("propose", "--folder", folder, "--outputs", outputs) == 0
    assert branch(work)
    said = Path(outputs).read_text().splitlines()
    assert said.count("changed=true") == 2 and said.count("verdict=not passed") == 2
    assert said[-1] == f"branch={proposal.BRANCH}"


def test_a_failing_stage_leaves_params_as_they_were(work: Path) -> None:
    Path("dvc.yaml").write_text(toy.STAGES.replace("cmd: cp data/prepared data/tokenized", "cmd: 'false'"))
    toy.run(work, "git", "commit", "-qam", "break")
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match="the stage says above why"):
        called("--set", "train.seed=7")
    assert Path("params.yaml").read_bytes() == before
    assert not branch(work)


def test_a_remote_that_takes_nothing_stops_the_proposal(work: Path, judged: Callable[[str], None]) -> None:
    judged("passed")
    called("train", "--set", "train.seed=7", "--no-push")
    shutil.rmtree(work.parent / "store")
    (work.parent / "store").write_text("a file, and no folder")
    with pytest.raises(UserError):
        called("--set", "train.seed=7")
    assert not branch(work)


def test_a_remote_without_the_data(work: Path) -> None:
    shutil.rmtree(work.parent / "store/files")
    with pytest.raises(UserError, match=r"lacks the data of data/raw/rows.csv.dvc|cannot be fetched"):
        called("--set", "train.seed=7")


def test_an_empty_remote_is_no_error(work: Path, judged: Callable[[str], None], made: Path) -> None:
    judged("passed")
    shutil.rmtree(work.parent / "store")
    (work.parent / "store").mkdir()
    shutil.copy(made.parent / "source.csv", "data/raw/rows.csv")
    assert called("--set", "train.seed=7") == 0
    assert branch(work)


def test_without_a_remote_it_says_so_and_goes_on(
    work: Path, judged: Callable[[str], None], made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged("passed")
    toy.run(work, "dvc", "remote", "remove", "store")
    toy.run(work, "git", "commit", "-qam", "no remote")
    shutil.copy(made.parent / "source.csv", "data/raw/rows.csv")
    assert called("--set", "train.seed=7") == 0
    assert "No DVC remote is configured" in capsys.readouterr().out
    assert "nobody else can fetch" in Path(".reprise/retrain/report.md").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_runner_that_signals_one_process_stops_the_training(
    work: Path, tmp_path: Path, number: signal.Signals
) -> None:
    stage = tmp_path / "stage.sh"
    stage.write_text(
        f"trap 'touch {tmp_path}/saved; exit 75' INT\ntouch {tmp_path}/began\nwhile :; do sleep 0.1; done\n"
    )
    Path("dvc.yaml").write_text(toy.STAGES.replace("cmd: cp data/prepared data/tokenized", f"cmd: bash {stage}"))
    toy.run(work, "git", "commit", "-qam", "a stage that takes long")
    before = Path("params.yaml").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "retrain", "train", "--no-push", "--set", "train.seed=7"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "began").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(300) == 130
    assert (tmp_path / "saved").exists(), "the stage was asked to stop, and had the time for it"
    assert Path("params.yaml").read_bytes() == before


def test_dvc_is_that_of_this_environment_whatever_path_says(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when `.venv/bin/reprise` is called, and the environment was never activated."""
    monkeypatch.setattr(dvc, "PROGRAM", forked.AS_EVER)
    monkeypatch.setenv("PATH", str(Path(shutil.which("git") or "").parent))
    assert shutil.which("dvc") is None, "the test needs a PATH without DVC"
    monkeypatch.setenv("DVC_ROOT", "/nowhere")
    assert called("plan") == 0
    assert "Nothing changed" in capsys.readouterr().out


def test_two_in_one_folder(work: Path) -> None:
    Path(".reprise").mkdir()
    with Path(".reprise/retrain.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another retraining is under way"):
            called("--set", "train.seed=7")
