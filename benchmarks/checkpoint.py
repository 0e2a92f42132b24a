"""How long training stands still for a checkpoint: here, where a thread writes a copy, and with torch.save.

python -m benchmarks.checkpoint

Weights and AdamW's moments of an encoder of the size of all-MiniLM-L6-v2 (22M parameters).
"""

import itertools
import tempfile
import time
from pathlib import Path

import click
import torch
from transformers import AutoModel, BertConfig

from benchmarks import contest
from pipeline.params import Train
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.learner import Learner
from pipeline.training.optimizer import adamw

_SECONDS = "stands still, s"


def learner() -> Learner:
    """A model after one step."""
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    model = AutoModel.from_config(config)
    optimizer = adamw(model, Train())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return Learner(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


@click.command(help=__doc__)
@click.option("--threads", default=1, show_default=True)
@click.option("--repeats", default=9, show_default=True)
def main(threads: int, repeats: int) -> None:
    """Print the table."""
    torch.set_num_threads(threads)
    saved = learner()
    steps = itertools.count(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), save_total_limit=2)

        def ours() -> contest.Measured:
            begun = time.perf_counter()
            checkpoints.save(next(steps), saved.pieces(), {"best_step": None})
            seconds = time.perf_counter() - begun
            checkpoints.wait()  # as it is written long before the next one is due
            return {_SECONDS: seconds}

        def theirs() -> contest.Measured:
            begun = time.perf_counter()
            state = {"model": saved.model.state_dict(), "optimizer": saved.optimizer.state_dict()}
            torch.save(state, Path(folder) / "checkpoint.pt")
            return {_SECONDS: time.perf_counter() - begun}

        found = contest.contest({"Reprise": ours, "torch.save": theirs}, repeats)
    click.echo(f"\n{contest.table(found, [_SECONDS], 'torch.save')}\n\n{contest.footing(threads, repeats)}")


if __name__ == "__main__":
    main()
