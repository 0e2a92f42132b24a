"""An environment of the versions that a run was made with: the present one if it has them, else a new one."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError
from pipeline.tracking import lineage, machine
from pipeline.tracking.records import Record

_SHOWN = 3
_LIST = (
    "import importlib.metadata as m, json, platform\n"
    "found = {d.metadata['Name'].lower().replace('_', '-').replace('.', '-'): d.version for d in m.distributions()}\n"
    "print(json.dumps(found | {'python': platform.python_version()}))"
)


def recorded(record: Record) -> dict[str, str]:
    """The version of Python and of every distribution that a run was made with.

    Raises:
        UserError: it has no list of them.
    """
    content, facts = record.read(lineage.ENVIRONMENT), record.read(lineage.LINEAGE)
    if content is None or facts is None:
        raise UserError(f"The run {record.name} ({record.id}) has no {lineage.ENVIRONMENT}. --here uses what is here")
    pins = (line.partition("==") for line in content.decode().splitlines() if "==" in line)
    python: str = json.loads(facts)["versions"]["python"]
    return {"python": python} | {name: version for name, _, version in pins}


def installed_in(python: Path) -> dict[str, str]:
    """The same of an environment, by its Python."""
    if python == Path(sys.executable):
        return {"python": platform.python_version()} | machine.installed()
    answer = subprocess.run((str(python), "-c", _LIST), capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def python_of(record: Record, folder: Path, here: bool, say: Callable[[str], None]) -> Path:
    """The Python of an environment with the versions of a run.

    Args:
        folder: where a new environment is made, if need be.
        here: take the present one in any case.
        say: is told which one it is, and why.

    Raises:
        UserError: that Python is not here, or a version cannot be installed.
    """
    wanted, present = recorded(record), installed_in(Path(sys.executable))
    others = [
        f"{name} {version} ({present.get(name, 'none')})"
        for name, version in wanted.items()
        if present.get(name) != version
    ]
    if not others:
        say("This environment has the recorded versions, all of them.")
        return Path(sys.executable)
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    difference = f"{', '.join(others[:_SHOWN])}{more}"
    if here:
        say(f"This environment has other versions than the recorded ones (here in brackets): {difference}")
        return Path(sys.executable)
    say(f"This environment differs (here in brackets): {difference}. The recorded versions are installed.")
    return _made(wanted, folder)


def _made(wanted: dict[str, str], folder: Path) -> Path:
    minor = ".".join(wanted["python"].split(".")[:2])
    base = sys.executable if platform.python_version().startswith(f"{minor}.") else shutil.which(f"python{minor}")
    if base is None:
        raise UserError(
            f"The run was made with Python {wanted['python']}, and there is no python{minor} here. Install it, or "
            "train with what is here: --here"
        )
    subprocess.run((base, "-m", "venv", str(folder)), check=True, capture_output=True)
    pins = folder / "environment.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items() if name != "python"))
    python = folder / "bin" / "python"
    # Without their dependencies: the list has them all, as they were, whatever they say of each other.
    pip = (str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps", "-r", str(pins))
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        line = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with {done.returncode}"
        index = " (a build with a + is on an index of its own: set PIP_EXTRA_INDEX_URL)" if "+" in line else ""
        raise UserError(f"The recorded versions cannot be installed: {line}{index}. With what is here: --here")
    return python
