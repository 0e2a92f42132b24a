"""`make example`, with programs that only tell how they were called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PROGRAM = f"""#!/bin/sh
case "$1" in
  -c) exec "{sys.executable}" "$@" ;;
  *) echo "$(basename "$0") $*" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with two examples and an environment that seems to be installed, at a path with a space."""
    folder = tmp_path / "my projects"
    for name in ("zebra", "ape"):
        (folder / "examples" / name).mkdir(parents=True)
        (folder / "examples" / name / "params.yaml").touch()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, folder)
    as_somebody = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*as_somebody, "commit", "-q", "--no-verify", "-m", "mine"]):
        subprocess.run(["git", *command], check=True, cwd=folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "dvc"):
        program = folder / ".venv" / "bin" / name
        program.write_text(PROGRAM)
        program.chmod(0o755)
    (folder / ".venv" / "installed").write_text(f"{folder}\n")
    return folder


def example(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As from a shell, also where `make test` runs this.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment |= {"TMPDIR": str(folder.parent)}
    return subprocess.run(["make", "example", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_an_example_ends_with_the_way_into_its_folder(clone: Path):
    ran = example(clone, "TASK=ape")
    *said, way = ran.stdout.strip().splitlines()
    assert ran.returncode == 0, ran.stderr
    # `python -m pipeline.cli`: the code of the clone, of which nothing needs to be noted.
    assert [line for line in said if line.startswith(("python", "dvc"))] == [
        "python -m pipeline.cli params examples/ape/params.yaml",
        "dvc repro",
        "python -m pipeline.cli summary",
    ]
    go, activate = way.strip().split(" && ")
    there = subprocess.run(["bash", "-c", f"{go} && pwd"], check=True, capture_output=True, text=True).stdout.strip()
    assert (Path(there) / "examples" / "ape" / "params.yaml").is_file()
    assert activate == "source " + f"{clone}/.venv/bin/activate".replace(" ", "\\ ")


def test_without_a_task_the_examples_are_listed_by_the_alphabet(clone: Path):
    ran = example(clone)
    assert ran.returncode != 0
    assert ran.stdout.strip() == "make example TASK=...; there are: ape zebra"
