"""The scores of docs/results.md: Reprise on files as they are published, and transformers' Trainer on the same rows.

python -m benchmarks.results.run train DATA tinyshakespeare
python -m benchmarks.results.run train DATA sst2 --seeds 1,2,3 --model FOLDER --by Reprise --by Trainer
python -m benchmarks.results.run page

DATA has a folder for each dataset (wikitext2 for wikitext2-causal). The runs happen in a temporary clone of what is
committed here, and each adds a line to benchmarks/results/runs.jsonl; `page` writes the tables of docs/results.md from
those lines. Trainer needs accelerate.
"""

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import yaml

from benchmarks.results import tables
from pipeline import params_file, project
from pipeline.evaluation.verdict import headline
from pipeline.lifecycle import dvc
from pipeline.params import Params
from pipeline.tracking import machine

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1]
NAMES = sorted(path.stem for path in HERE.glob("*.yaml"))


def prepare(clone: Path, few: Path, data: Path, model: Path | None) -> None:
    """Clone what is committed, put the files and the model where the few lines look for them, and cut the splits."""
    subprocess.run(["git", "clone", "--quiet", HOME, clone], check=True)
    for file in data.iterdir():
        shutil.copyfile(file, clone / project.RAW / file.name)
    wanted = params_file.read(few).model.model_name_or_path
    if wanted:
        if model is None:
            raise click.UsageError(f"{few.name} trains {wanted}: name the folder of that model with --model.")
        shutil.copytree(model, clone / wanted)
    seeded(clone, few, 0)
    repro(clone, "tokenize")


def seeded(clone: Path, few: Path, seed: int) -> Params:
    """Write params.yaml from the few lines, with a seed."""
    params = params_file.read(few)
    params = params.model_copy(update={"train": params.train.model_copy(update={"seed": seed})})
    (clone / project.PARAMS).write_text(params_file.render(params), encoding="utf-8")
    return params


def repro(clone: Path, *stages: str) -> None:
    """`dvc repro`, with MLflow's database in the clone."""
    answer = dvc.run(clone, "repro", *stages)
    if answer.returncode:
        raise click.ClickException(f"dvc repro failed in {clone}:\n{answer.stderr}")


def reprise(clone: Path) -> dict[str, Any]:
    """The test scores of a whole `dvc repro`, and what they are held against."""
    repro(clone)
    found = json.loads((clone / project.RESULTS).read_text(encoding="utf-8"))
    return {"rows": found["rows"], "scores": found["test"], "baselines": found["baselines"], "said": headline(found)}


def trainer(clone: Path) -> dict[str, Any]:
    """The test scores of trainer.py."""
    command = [sys.executable, HERE / "trainer.py"]
    answer = subprocess.run(command, cwd=clone, stdout=subprocess.PIPE, text=True, check=True)
    scores = json.loads(answer.stdout.splitlines()[-1])
    return {"scores": {name: {"value": value} for name, value in scores.items()}}


CONTESTANTS = {"Reprise": reprise, "Trainer": trainer}


def measured(by: str, clone: Path, params: Params) -> dict[str, Any]:
    """The scores of a run; the seconds that it took, and those that its processes computed; and on what."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    found = CONTESTANTS[by](clone)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    facts = machine.facts()
    return {
        "task": params.task,
        **found,
        "seconds": round(seconds),
        "cpu_seconds": round(computed),
        "machine": f"{facts['cpu']}, {params.hardware.num_threads} of {facts['cores']} cores",
        "versions": machine.versions(),
    }


@click.group(help=__doc__)
def main() -> None:
    """Train, or write the page."""


@main.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name", type=click.Choice(NAMES))
@click.option("--seeds", default="1", show_default=True, help="comma separated")
@click.option("--by", type=click.Choice(list(CONTESTANTS)), multiple=True, default=["Reprise"], show_default=True)
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="the pretrained one")
def train(data: Path, name: str, seeds: str, by: tuple[str, ...], model: Path | None) -> None:
    """Run a dataset with each seed, and write down what came out."""
    few = HERE / f"{name}.yaml"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the database of the clone
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / name
        prepare(clone, few, data / name.partition("-")[0], model)
        for seed, contestant in itertools.product(map(int, seeds.split(",")), by):
            params = seeded(clone, few, seed)
            found = {"dataset": name, "by": contestant, "seed": seed, **measured(contestant, clone, params)}
            found["params"] = yaml.safe_load(few.read_text(encoding="utf-8"))
            with tables.RUNS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
            click.echo(f"{name}, {contestant}, seed {seed}: {found['scores']}, {found['seconds']} s")


@main.command()
def page() -> None:
    """Write the tables of docs/results.md from the runs."""
    tables.PAGE.write_text(tables.filled(tables.PAGE.read_text(encoding="utf-8"), tables.runs()), encoding="utf-8")


if __name__ == "__main__":
    main()
