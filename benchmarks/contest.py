"""What the comparisons with other libraries share: an environment for those, runs in turn, and the table of them."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from pipeline.tracking import machine

# What a run measured: a value for each name, which says its unit.
Measured = Mapping[str, float]

HOME = Path(__file__).resolve().parents[1]
_CONSTRAINTS = HOME / "constraints.txt"
_REQUIREMENTS = HOME / "benchmarks" / "requirements.txt"
_MIB = 2**20 if sys.platform == "darwin" else 2**10  # of what the kernel counts peaks in


def environment(folder: Path | None = None) -> Path:
    """The Python of an environment with benchmarks/requirements.txt, which is made where it is not there yet.

    Args:
        folder: where; in the system's folder for temporary files if None.
    """
    folder = folder or Path(tempfile.gettempdir()) / "reprise-peers"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = _CONSTRAINTS.read_text(encoding="utf-8") + _REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        click.echo(f"installing the peers into {folder}", err=True)
        venv.create(folder, clear=True, with_pip=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", _CONSTRAINTS, "-r", _REQUIREMENTS], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def run(command: Sequence[str | Path], cwd: Path, variables: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run a program to its end.

    Linux begins to count a program's memory with that of the process that starts it: keep that one small.

    Args:
        variables: what is added to the environment.

    Returns:
        The seconds that it took, the seconds that it and its children computed, the peak of the largest one's memory,
        and what the program printed as JSON in its last line, if that is what it is.

    Raises:
        click.ClickException: the program failed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(variables or {})}, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, err):
            file.seek(0)
        said = out.read()
        if process.returncode:
            raise click.ClickException(f"{' '.join(map(str, command))} in {cwd} failed:\n{said}{err.read()}")
    last = said.rstrip().rpartition("\n")[2]
    return {
        "seconds": seconds,
        "CPU seconds": used.ru_utime + used.ru_stime,
        "peak MiB": used.ru_maxrss / _MIB,
        **(json.loads(last) if last.startswith("{") else {}),
    }


def contest(
    contestants: Mapping[str, Callable[[], Measured]], repeats: int, warm_up: bool = True
) -> dict[str, list[Measured]]:
    """What each contestant measured, a value a round: in every round each runs once, one after the other.

    Args:
        warm_up: whether a round goes ahead that does not count, so that no one finds files cold that others find warm.
    """
    found: dict[str, list[Measured]] = {name: [] for name in contestants}
    for place in range(-warm_up, repeats):
        for name, contestant in contestants.items():
            measured = contestant()
            shown = ", ".join(f"{what} {_number(value)}" for what, value in measured.items())
            click.echo(f"{'warm-up' if place < 0 else f'round {place + 1}'}, {name}: {shown}", err=True)
            if place >= 0:
                found[name].append(measured)
    return found


def table(found: Mapping[str, Sequence[Measured]], measures: Sequence[str], reference: str) -> str:
    """A Markdown table: a line a contestant, and of each measure the median (from..to) and the ratio to a contestant.

    The ratio is the median of those within a round, so that what slows a whole round down does not count.

    Args:
        found: as `contest` returns it.
        measures: which of what was measured; contestants without one have an empty cell.
        reference: the contestant of whom the ratios are.
    """
    heads = ["", *(head for measure in measures for head in (measure, f"÷ {reference}"))]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, rounds in found.items():
        cells = [name]
        for measure in measures:
            ours, theirs = ([each[measure] for each in of if measure in each] for of in (rounds, found[reference]))
            ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
            cells.append(
                f"{_number(statistics.median(ours))} ({_number(min(ours))}..{_number(max(ours))})" if ours else ""
            )
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def footing(threads: int, repeats: int, peers: Sequence[str] = ()) -> str:
    """One line under a table: the machine, the versions, and how often each contestant ran.

    Args:
        peers: packages of benchmarks/requirements.txt that took part, and are pinned there.
    """
    facts = machine.facts()
    devices = "; ".join([f"{facts['cpu']}, {threads} of {facts['cores']} cores", *facts["gpus"]])
    pins = dict(line.split("==") for line in _REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line)
    versions = machine.versions() | {name: pins[name] for name in peers}
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"Medians of {repeats} runs in turn (least..most), on {devices}; {named}."


def _number(value: float) -> str:
    """Three digits, and all of a number that has more before its point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
