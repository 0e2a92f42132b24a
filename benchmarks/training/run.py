"""Tokens a second and peak memory of training: Reprise and the peers, in turn, on the same examples and the same model.

python -m benchmarks.training.run
python -m benchmarks.training.run --work ag-news --threads 2 --repeats 5
python -m benchmarks.training.run --work ag-news --processes 2

All of them take a fixed number of steps of 32 examples (8 blocks for a language model) with a model of the size of
all-MiniLM-L6-v2 (22M parameters), or a GPT-2 of 18M, and fresh weights. The lengths of the examples are drawn like
those of AG News or SST-2, or of documents that are packed into blocks of 256. Only "grouped by length" changes which
examples share a step. What is measured are real tokens, without padding, from the third step to the last one.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks import contest
from benchmarks.training.work import Work, make

Lengths = Callable[[np.random.Generator, int], np.ndarray]
REPRISE, BEST = "Reprise, bf16", "Trainer, grouped by length, bf16"


def _drawn(median: float, spread: float, least: int, most: int) -> Lengths:
    """Lengths whose logarithm is normal."""
    return lambda draw, count: np.clip(draw.lognormal(np.log(median), spread, count), least, most).astype(np.int64)


CLASSIFICATION = Work("classification", 32, steps=8, warm_up=2, longest=128, precision="fp32", threads=1)
WORKS: Mapping[str, tuple[Work, Lengths]] = {
    "ag-news": (CLASSIFICATION, _drawn(50, 0.35, 10, 128)),
    "sst-2": (replace(CLASSIFICATION, steps=20), _drawn(11, 0.75, 4, 66)),
    "causal-lm": (
        Work("causal-lm", 8, steps=8, warm_up=2, longest=256, precision="fp32", threads=1),
        _drawn(150, 0.8, 5, 2000),
    ),
}
"""What is trained, and how long the examples are."""

CONTESTANTS: Mapping[str, tuple[list[str], str]] = {
    REPRISE: (["by_reprise"], "bf16"),
    "Reprise, fp32": (["by_reprise"], "fp32"),
    BEST: (["by_trainer", "best"], "bf16"),
    "Trainer, as it comes": (["by_trainer"], "fp32"),
    "Lightning": (["by_lightning"], "fp32"),
    "Accelerate": (["by_loop", "accelerate"], "fp32"),
    "plain loop, padded to 128": (["by_loop"], "fp32"),
}
"""The module with its argument, and the precision."""


@click.command()
@click.option(
    "--work", "names", type=click.Choice(list(WORKS)), multiple=True, default=list(WORKS), help="One or more."
)
@click.option("--threads", default=1, show_default=True, help="Threads of each contestant.")
@click.option("--processes", default=1, show_default=True, help="That share a step: Reprise and Trainer alone.")
@click.option("--repeats", default=5, show_default=True, help="Runs of each contestant.")
@click.option("--env", type=click.Path(path_type=Path), help="Where the peers are, or shall be, installed.")
def main(names: tuple[str, ...], threads: int, processes: int, repeats: int, env: Path | None) -> None:
    """Print a table for each work."""
    python = contest.environment(env)
    for name in names:
        work, lengths = WORKS[name]
        with tempfile.TemporaryDirectory() as folder:
            # A block has no padding: of it the plain loop and the others are the same.
            all_of_them = work.kind == "classification" and processes == 1
            made = _folders(Path(folder), replace(work, threads=threads, processes=processes), lengths)
            runs = {
                key: partial(
                    _run, sys.executable if module[0] == "by_reprise" else python, module, made[precision], processes
                )
                for key, (module, precision) in CONTESTANTS.items()
                if all_of_them or module[0] in ("by_reprise", "by_trainer")
            }
            found = contest.contest(runs, repeats, warm_up=False)
        click.echo(f"\n{name}\n\n{contest.table(found, ['tokens/s', 'peak MiB'], BEST)}\n")
    click.echo(contest.footing(threads, repeats, ["accelerate", "lightning"]))


def _folders(folder: Path, work: Work, lengths: Lengths) -> dict[str, Path]:
    """The work in each precision; only that differs."""
    made = {precision: folder / precision for precision in ("fp32", "bf16")}
    make(made["fp32"], work, lengths)
    shutil.copytree(made["fp32"], made["bf16"])
    settings = json.dumps(asdict(replace(work, precision="bf16")))
    (made["bf16"] / "work.json").write_text(settings, encoding="utf-8")
    return made


def _run(python: str | Path, module: list[str], folder: Path, processes: int) -> dict[str, float]:
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    variables = {"PYTHONPATH": str(contest.HOME), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    found = contest.run([python, *start, "-m", f"benchmarks.training.{module[0]}", *module[1:]], folder, variables)
    return {name: found[name] for name in ("tokens/s", "peak MiB")}


if __name__ == "__main__":
    main()
