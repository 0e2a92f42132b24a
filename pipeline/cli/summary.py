"""`reprise summary`: the scores of the last run, and what to do next."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.evaluation.verdict import NO_INTERVAL, headline, places, strongest
from pipeline.lifecycle.failed import failed
from pipeline.scores import number
from pipeline.serving import card
from pipeline.tracking import run_map

# Columns of the terminal. A method's name is broken where the terminal is narrow, an interval never.
_INTERVAL = 11


@click.command("summary")
def command() -> None:
    """Show the test scores with their intervals beside the baselines, and what to do next."""
    metrics = _read(project.RESULTS)
    console = Console(highlight=False)
    console.print("", _table(metrics), headline(metrics), "", sep="\n", markup=False)
    for what, how in _next_steps():
        console.print(Text(f"{what:<12}") + Text(how, style="bold"), soft_wrap=True)
    if tasks := failed():
        console.print("\nFailed tasks of the queue. Why: dvc queue logs TASK. Once more:", markup=False)
        for task in tasks:
            console.print(Text(f"{task.task:<12}") + Text(task.again, style="bold"), soft_wrap=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is not here: nothing has been evaluated yet.\nTrain and evaluate first: dvc repro (or make run). "
            "The results of an earlier run come back with: dvc checkout"
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}). Write it anew: dvc repro -f -s evaluate") from None
    return metrics


def _table(metrics: Mapping[str, Any]) -> Table:
    """A row for each score; a column for the model and for each baseline, the strongest first."""
    level, best, digits = f"{metrics['confidence_level'] * 100:g}%", strongest(metrics), places(metrics)
    table = Table(
        title=f"Test scores with {level} intervals, {metrics['rows']['test']:,} rows",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    table.add_column("this model", no_wrap=True)
    baselines = sorted(metrics["baselines"], key=lambda name: name != best)
    for baseline in baselines:
        table.add_column(Text(baseline), min_width=_INTERVAL)
    for score, ours in metrics["test"].items():
        theirs = (_cell(metrics["baselines"][name].get(score), digits[score]) for name in baselines)
        table.add_row(score, _cell(ours, digits[score], "bold"), *theirs)
    shown = [metrics["test"], *metrics["baselines"].values()]
    if any(found["low"] is None and found["value"] is not None for scores in shown for found in scores.values()):
        table.caption, table.caption_justify = Text(f"{NO_INTERVAL} score", "dim"), "left"
    return table


def _cell(found: Mapping[str, float | None] | None, digits: int, style: str = "") -> Text:
    """The score above its interval."""
    if found is None or found["value"] is None:
        return Text("–")
    value, low, high = found["value"], found["low"], found["high"]
    bounds = "no interval" if low is None else f"{number(low, digits)}–{number(high, digits)}"
    return Text(number(value, digits), style).append(f"\n{bounds}", "not bold dim")


def _run() -> list[tuple[str, str]]:
    """The MLflow run of the present model, where the local map knows it: MLflow itself would take seconds."""
    model_digest = digest.of_folder(project.BEST_MODEL) if project.BEST_MODEL.is_dir() else ""
    found, name = run_map.recall(model_digest), run_map.recall_name(model_digest)
    return [("run", f"{found} ({name})" if name else found)] if found else []


def _next_steps() -> list[tuple[str, str]]:
    # Elsewhere `make` would first install an environment.
    with_make = shutil.which("make") is not None and Path("Makefile").is_file() and _is_environment_here()
    return [
        ("report", str(project.REPORT)),
        *_run(),
        ("try it", f"{_program()} predict {_asked()}"),
        ("MLflow", "make ui" if with_make else f"{_program()} ui"),
    ]


def _asked() -> str:
    """How the model is asked: by a text, if one or two texts are all that it reads."""
    try:
        columns = card.read(project.BEST_MODEL).columns
    except UserError:  # it is not here; what most models read
        columns = ("text",)
    texts = ('--text "..."', '--text-pair "..."')
    return (
        " ".join(texts[: len(columns)]) if len(columns) <= len(texts) else "--input rows.jsonl --output answers.jsonl"
    )


def _program() -> str:
    """How the reader's own shell finds `reprise`: by its path if the project's environment is not activated there."""
    if _is_environment_here() and os.environ.get("VIRTUAL_ENV") != sys.prefix:
        return f"{Path(sys.prefix).name}/bin/reprise"
    return "reprise"


def _is_environment_here() -> bool:
    return Path(sys.prefix).resolve().parent == Path.cwd().resolve()
