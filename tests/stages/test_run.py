import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import params_file
from pipeline.params import Params

ROOT = Path(__file__).parents[2]
HINT = (
    "To have the last good results back, undo the change and run dvc repro. "
    "With the change, dvc checkout brings back all but metrics/.\n"
)


@pytest.fixture(autouse=True)
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "params.yaml").write_text(params_file.render(Params()))
    monkeypatch.delenv("REPRISE_DEBUG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(body: str, *options: str, name: str = "train") -> subprocess.CompletedProcess[str]:
    """A program that is nothing but a stage of this name with this body."""
    code = (
        "import os, signal, sys, time\n"
        "from pipeline.errors import UserError\n"
        "from stages.run import main\n"
        # A shell's background job starts with Ctrl-C switched off, and the tests may run in one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"def {name}(params):\n"
        f"    '''Do one thing.'''\n"
        f"    {body}\n"
        f"main({name})\n"
    )
    return subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=120)


def test_a_stage_gets_the_params_and_ends_with_0() -> None:
    done = run("print(params.task, 'torch' in sys.modules)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "text-classification False\n", "")


@pytest.mark.parametrize(("name", "hint"), [("check", ""), ("prepare", HINT), ("train", HINT)])
def test_an_error_is_its_message_and_the_way_back_where_outputs_are_gone(name: str, hint: str) -> None:
    failed = run("raise UserError('no rows\\nAdd some.')", name=name)
    assert failed.returncode == 1
    assert failed.stderr == f"{name}: no rows\nAdd some.\n{hint}"


def test_an_error_in_the_params_is_a_message_too(folder: Path) -> None:
    (folder / "params.yaml").write_text("version: 1\ntrian: {}\n")
    failed = run("print('never')")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("train: params.yaml")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(("options", "variable"), [(["--debug"], None), ([], "1")])
def test_debug_shows_the_traceback(options: list[str], variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable:
        monkeypatch.setenv("REPRISE_DEBUG", variable)
    failed = run("raise UserError('no rows')", *options)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback")
    assert failed.stderr.endswith("UserError: no rows\n")


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    failed = run("raise ValueError('a bug')")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback")
    assert failed.stderr.endswith("ValueError: a bug\n")


GOES_ON, ANEW = "dvc repro goes on from the last checkpoint", "dvc repro runs the stage anew"


@pytest.mark.parametrize(("name", "again"), [("train", GOES_ON), ("tokenize", ANEW)])
@pytest.mark.parametrize(("number", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_stage_that_is_stopped_says_how_it_goes_on(number: str, code: int, word: str, name: str, again: str) -> None:
    stopped = run(f"os.kill(os.getpid(), signal.{number}); time.sleep(60)", name=name)
    assert (stopped.returncode, stopped.stderr) == (code, f"{name}: {word}; {again}\n")


@pytest.mark.parametrize(("name", "again"), [("train", GOES_ON), ("prepare", ANEW)])
def test_a_full_disk_is_a_message(name: str, again: str) -> None:
    failed = run("import errno; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))", name=name)
    assert failed.returncode == 1
    assert failed.stderr == f"{name}: No space left on device. Free some; then {again}.\n"


def test_a_stage_that_is_stopped_while_it_imports_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    stopped = subprocess.run(
        [sys.executable, "-m", "stages.prepare"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (stopped.returncode, stopped.stderr) == (-signal.SIGINT, "")
