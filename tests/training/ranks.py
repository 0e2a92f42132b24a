"""Processes that train together, for the tests: `python -m tests.training.ranks FUNCTION FOLDER ARGUMENTS`.

Each is one rank and runs the function in the folder; what it returns on the first rank is saved to FOLDER/result.pt.
"""

import contextlib
import functools
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.amp import GradScaler
from torch.distributed.tensor import DTensor
from transformers import AutoTokenizer

from pipeline import params_file, project
from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.model.build import build
from pipeline.params import Hardware, Params
from pipeline.tasks import find
from pipeline.training import checkpoint
from pipeline.training.arrange import arrange
from pipeline.training.learner import Learner
from pipeline.training.loop import steps
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Preempted
from pipeline.training.train import train
from pipeline.world import World

ROOT = Path(__file__).parents[2]


def start(size: int, function: str, folder: Path, arguments: dict[str, Any]) -> list[subprocess.Popen[str]]:
    """Start the ranks of a world."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.training.ranks", function, str(folder), json.dumps(arguments)]
    return [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank)}, cwd=folder, stderr=subprocess.PIPE, text=True
        )
        for rank in range(size)
    ]


def run(size: int, function: str, folder: Path, arguments: dict[str, Any]) -> Any:
    """The first rank's result, when all ranks have ended well."""
    ranks = start(size, function, folder, arguments)
    told = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(told)
    return torch.load(folder / "result.pt", weights_only=True)


def changed(params: Params, hardware: dict[str, Any]) -> Params:
    """The params with other hardware."""
    return params.model_copy(update={"hardware": Hardware(**{**params.hardware.model_dump(), **hardware})})


def whole(model: torch.nn.Module) -> torch.Tensor:
    """All gradients in one vector, shards put together."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([(g.full_tensor() if isinstance(g, DTensor) else g).flatten() for g in gradients])


def gradients(params: Params, kinds: list[str], parts: list[int]) -> dict[str, torch.Tensor]:
    """The whole gradient of one global batch, by `KIND xPARTS`, where each rank has as many micro-batches as PARTS."""
    found = {}
    store = Store(project.TOKENIZED / "train.arrow")
    plan = BatchPlan(len(store), params.train.global_batch_size, params.train.seed)
    task = find(params.task).load(project.PREPARED)
    with World.join(params.hardware, params.train.precision) as world:
        for kind, count in itertools.product(kinds, parts):
            hardware = {"reduce": "exact"} if kind == "exact" else {"parallel": kind}
            torch.manual_seed(0)
            model = build(params, task, AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")).train()
            parallel = arrange(model, world, changed(params, hardware).hardware, lambda: False)
            budgets = range(2000, 15, -1)
            indices = plan.indices(0)
            budget = next(b for b in budgets if len(parallel.cut(store.lengths, indices, b)) == count)
            learner = Learner(model, adamw(model, params.train), torch.amp.GradScaler("cpu", enabled=False))
            held: list[torch.Tensor] = []
            learner.optimizer.register_step_pre_hook(lambda *_, model=model, held=held: held.append(whole(model)))
            cut = changed(params, hardware | {"micro_batch_tokens": budget})
            next(steps(learner, parallel, task, store, plan, cut, 0, 39))
            (found[f"{kind} x{count}"],) = held
    return found


def training(params: Params, hardware: dict[str, Any], stop_at: int | None = None) -> dict[str, float]:
    """A training, from its last checkpoint if there is one; what was logged, by step and name.

    Args:
        stop_at: a step after whose metrics the first rank is asked to stop.
    """
    params = changed(params, hardware)
    # The loss scale of fp16 doubles every four steps, not 2000: it soon overflows, and a lost one changes bits.
    torch.amp.GradScaler = functools.partial(GradScaler, growth_interval=4)  # type: ignore[misc,assignment]
    logged: dict[str, float] = {}
    asked = False

    def log(step: int, metrics: dict[str, float]) -> None:
        nonlocal asked
        asked = asked or step == stop_at
        logged.update({f"{step} {name}": value for name, value in metrics.items() if "per_second" not in name})

    with World.join(params.hardware, params.train.precision) as world, contextlib.suppress(Preempted):
        limit = params.hardware.save_total_limit
        if world.rank:
            train(params, world, checkpoint.Checkpoints(checkpoint.folder_of("test"), limit), log)
        else:
            with checkpoint.hold("test", limit) as checkpoints:
                train(params, world, checkpoints, log, lambda: asked)
                checkpoints.clear()
    return logged


if __name__ == "__main__":
    function, folder, arguments = sys.argv[1:]
    os.chdir(folder)
    result = {"gradients": gradients, "training": training}[function](
        params_file.read(project.PARAMS), **json.loads(arguments)
    )
    if os.environ["RANK"] == "0":
        torch.save(result, "result.pt")
