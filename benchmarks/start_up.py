"""What is paid before anything is computed: `dvc repro` with nothing to do, `reprise --help`, the stages, a first step.

python -m benchmarks.start_up
python -m benchmarks.start_up --env FOLDER

All in a temporary clone of what is committed, with a tiny model and a few rows. Of a stage, what counts is its time
above importing torch and transformers' models; of a first step, the time from the start of the process to its end, with
MLflow, beside transformers' Trainer on the same rows. The Trainer's environment is made in FOLDER, or in the system's
folder for temporary files.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import click

from benchmarks import contest
from pipeline import environment, params_file, project
from pipeline.lifecycle import dvc
from pipeline.params import Data, Model, Params, Tokenizer, Train

_CONFIG = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
_CONFIG |= {"intermediate_size": 32}
_ROWS = 200
_BATCH = 8
_IMPORTS = "import torch; from transformers import AutoModelForSequenceClassification, BertForSequenceClassification"
_STAGES = ("check", "prepare", "tokenize", "evaluate")
_IMPORTED, _TRAINER = "importing torch and a model", "Trainer, first step"
_DATABASE = "mlflow.db"
_STEP = "SELECT max(timestamp) FROM metrics WHERE key = 'train/loss' AND step = 1"


def project_in(folder: Path) -> Path:
    """A clone with a few rows and a tiny model, of which one step has been trained."""
    clone = folder / "project"
    subprocess.run(["git", "clone", "--quiet", contest.HOME, clone], check=True)
    lines = [f"{'good' if row % 2 else 'bad'} text of row {row}\t{row % 2}" for row in range(_ROWS)]
    (clone / project.RAW / "rows.tsv").write_text("\n".join(["text\tlabel", *lines, ""]), encoding="utf-8")
    params = Params(
        data=Data(dataset_name=None, train_file="data/raw/rows.tsv"),
        tokenizer=Tokenizer(vocab_size=300),
        model=Model(config=_CONFIG),
        train=Train(max_steps=1, logging_steps=1, global_batch_size=_BATCH),
    )
    (clone / project.PARAMS).write_text(params_file.render(params), encoding="utf-8")
    (clone / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    answer = dvc.run(clone, "repro")
    if answer.returncode:
        raise click.ClickException(f"dvc repro failed in {clone}:\n{answer.stderr}")
    return clone


def empty_project(folder: Path) -> Path:
    """A project of DVC with one stage that needs nothing, and has run: what `dvc repro` takes at least."""
    empty = folder / "empty"
    subprocess.run(["git", "init", "--quiet", empty], check=True)
    for line in (["init"], ["stage", "add", "--name", "one", "--outs", "made", "echo made > made"], ["repro"]):
        answer = dvc.run(empty, *line)
        if answer.returncode:
            raise click.ClickException(f"dvc {line[0]} failed in {empty}:\n{answer.stderr}")
    return empty


def first_step(clone: Path) -> dict[str, float]:
    """The seconds from the start of stage train to the end of its first step, as the run in MLflow has it."""
    shutil.rmtree(clone / ".reprise" / "checkpoints", ignore_errors=True)
    begun = time.time()
    contest.run([sys.executable, "-m", "stages.train"], clone)
    with sqlite3.connect(clone / _DATABASE) as database:
        ((milliseconds,),) = database.execute(_STEP)
    return {"seconds": milliseconds / 1000 - begun}


def trainer(python: Path, clone: Path) -> dict[str, float]:
    """The seconds from the start of a process to the end of the first step of Trainer."""
    begun = time.time()
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{clone}/trainer.db", "PYTHONPATH": ""}
    # -P: what lies beside that script, such as tokenize.py, is no module of its own.
    found = contest.run([python, "-P", contest.HOME / "benchmarks" / "first_step.py"], clone, variables)
    return {"seconds": found["ended"] - begun}


@click.command(help=__doc__)
@click.option("--env", type=click.Path(file_okay=False, path_type=Path), help="where the peers are, or shall be")
@click.option("--repeats", default=5, show_default=True)
def main(env: Path | None, repeats: int) -> None:
    """Run the contests and print a table of each."""
    python = contest.environment(env)
    with tempfile.TemporaryDirectory() as name:
        clone = project_in(Path(name))
        ours = {
            "dvc repro, nothing to do": ["dvc", "repro"],
            "reprise --help": [sys.executable, "-m", "pipeline.cli", "--help"],
            _IMPORTED: [sys.executable, "-c", _IMPORTS],
            **{f"stage {stage}": [sys.executable, "-m", f"stages.{stage}"] for stage in _STAGES},
        }
        runs = {what: partial(contest.run, line, clone) for what, line in ours.items()}
        runs["dvc repro, a project of one stage"] = partial(contest.run, ["dvc", "repro"], empty_project(Path(name)))
        started = contest.contest(runs, repeats)
        steps = {"Reprise, first step": partial(first_step, clone), _TRAINER: partial(trainer, python, clone)}
        stepped = contest.contest(steps, repeats)
    click.echo(contest.table(started, ["seconds", "CPU seconds", "peak MiB"], _IMPORTED))
    click.echo(f"\n{contest.table(stepped, ['seconds'], _TRAINER)}")
    click.echo(f"\n{contest.footing(len(os.sched_getaffinity(0)), repeats, ['accelerate'])}")


if __name__ == "__main__":
    environment.prepare()
    main()
