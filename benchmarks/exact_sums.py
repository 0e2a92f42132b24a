"""What `hardware.reduce: exact` costs: steps of both kinds in turn, on the data that tokenize has written.

dvc repro && python -m benchmarks.exact_sums --processes 2
"""

import statistics
import time
from pathlib import Path

import click
import torch
from transformers import AutoTokenizer

from pipeline import environment, params_file, project
from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.model.build import build
from pipeline.params import Hardware, Params
from pipeline.tasks import find
from pipeline.tasks.base import Collation
from pipeline.training import launch
from pipeline.training.arrange import arrange
from pipeline.training.learner import Learner
from pipeline.training.loop import steps
from pipeline.training.optimizer import adamw
from pipeline.world import World

KINDS = ("fast", "exact")


def measure(params: Params, count: int, rounds: int) -> None:
    """What every process does: `rounds` times `count` steps of each kind; the first process tells the times."""
    task, store = find(params.task).load(project.PREPARED), Store(project.TOKENIZED / "train.arrow")
    plan = BatchPlan(len(store), params.train.global_batch_size, params.train.seed)
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with World.join(params.hardware, params.train.precision) as world:
        trained = {}
        for kind in KINDS:
            torch.manual_seed(params.train.seed)
            tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
            model = build(params, task, tokenizer).to(world.device).train()  # type: ignore[arg-type]
            hardware = Hardware(**{**params.hardware.model_dump(), "reduce": kind, "parallel": "ddp"})
            parallel = arrange(model, world, hardware, lambda: False)
            scaler = torch.amp.GradScaler(world.device.type, enabled=False)
            learner = Learner(model, adamw(model, params.train), scaler)
            tokens = params.hardware.forward_tokens
            last = (rounds + 1) * count
            collation = Collation(model.config, tokenizer)
            trained[kind] = steps(learner, parallel, task, store, plan, params.train, collation, tokens, 0, last)
        for round_ in range(rounds + 1):
            for kind in KINDS:
                world.barrier()
                begun = time.perf_counter()
                for _ in range(count):
                    loss = next(trained[kind]).loss
                loss.item()
                if round_:  # the first one warms up
                    seconds[kind].append((time.perf_counter() - begun) / count)
        if world.rank == 0:
            ratios = sorted(exact / fast for fast, exact in zip(seconds["fast"], seconds["exact"], strict=True))
            fast, exact = (1000 * statistics.median(seconds[kind]) for kind in KINDS)
            print(f"{world.describe()}: fast {fast:.1f} ms a step, exact {exact:.1f} ms")
            print(f"ratio {statistics.median(ratios):.2f}, of {rounds} from {ratios[0]:.2f} to {ratios[-1]:.2f}")


@click.command(help=__doc__)
@click.option("--processes", default=1, help="1, 2, 4, ...")
@click.option("--count", default=10, help="steps of each kind a round")
@click.option("--rounds", default=7, help="pairs of measurements")
def main(processes: int, count: int, rounds: int) -> None:
    """Measure in this folder."""
    params = params_file.read(Path(project.PARAMS))
    launch.run(measure, (params, count, rounds), processes, {})


if __name__ == "__main__":
    environment.prepare()
    main()
