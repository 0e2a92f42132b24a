"""Processes that train together, for the tests: `python -m tests.training.ranks FUNCTION FOLDER ARGUMENTS`.

Each is one rank and runs the function in the folder; what it returns on the first rank is saved to FOLDER/result.pt.
"""

import contextlib
import ctypes
import functools
import gc
import itertools
import json
import os
import socket
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
from pipeline.evaluation.reference import ask, open_store
from pipeline.params import Hardware, Model, Params
from pipeline.tasks import find
from pipeline.tasks.base import Batch, Collation, Task
from pipeline.training import checkpoint
from pipeline.training.arrange import arrange, place
from pipeline.training.learner import Learner
from pipeline.training.loop import steps
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Preempted
from pipeline.training.train import train
from pipeline.world import World
from tests.nursery import Nursery, nursery
from tests.training.own_memory import added

_SECONDS = 300.0  # that anything may take on a busy machine


def forker() -> Nursery:
    """The one that has imported what a training takes, at its head and on the way."""
    return nursery(
        "pandas",  # by pyarrow
        "peft",
        "pipeline.tasks.text_classification",
        "pipeline.tracking.run",
        "pyarrow.dataset",
        "stages.train",
        "tests.training.ranks",
        "transformers.models.bert.modeling_bert",
    )


def start(size: int, function: str, folder: Path, arguments: dict[str, Any]) -> list[int]:
    """Start the ranks of a world; their processes, whose words go to FOLDER/rank-N.log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        forker().start(
            "tests.training.ranks",
            [function, str(folder), json.dumps(arguments)],
            folder,
            folder / f"rank-{rank}.log",
            {**os.environ, **shared, "RANK": str(rank)},
        )
        for rank in range(size)
    ]


def ends(processes: list[int]) -> list[int]:
    """The exit codes of ranks, when all have ended."""
    return [forker().wait(process, _SECONDS) for process in processes]


def run(size: int, function: str, folder: Path, arguments: dict[str, Any]) -> Any:
    """The first rank's result, when all ranks have ended well."""
    codes = ends(start(size, function, folder, arguments))
    logs = [folder / f"rank-{rank}.log" for rank in range(size)]
    assert codes == [0] * size, f"{codes}\n" + "\n".join(log.read_text() for log in logs)
    for log in logs:
        log.unlink()
    return torch.load(folder / "result.pt", weights_only=True)


def changed(params: Params, hardware: dict[str, Any]) -> Params:
    """The params with other hardware."""
    return params.model_copy(update={"hardware": Hardware(**{**params.hardware.model_dump(), **hardware})})


def pretrained(params: Params, folder: str) -> Params:
    """The params with a model of a folder."""
    return params.model_copy(update={"model": Model(config=None, model_name_or_path=folder)})


def whole(model: torch.nn.Module) -> torch.Tensor:
    """All gradients in one vector, shards put together."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([(g.full_tensor() if isinstance(g, DTensor) else g).flatten() for g in gradients])


def with_memory(collate: Any, tokens: int) -> Any:
    """`Task.collate` on a device without memory for larger micro-batches."""

    def collating(self: Task, examples: Any, collation: Collation) -> Batch:
        batch: Batch = collate(self, examples, collation)
        real = int(batch.inputs["attention_mask"].sum())
        if real > tokens:
            raise torch.OutOfMemoryError(f"no memory for {real} tokens")
        return batch

    return collating


def gradients(params: Params, kinds: list[str], parts: list[int]) -> dict[str, torch.Tensor]:
    """The whole gradient of one global batch, by `KIND xPARTS`, where each rank has at least PARTS micro-batches."""
    found = {}
    examples = len(Store(project.TOKENIZED / "train.arrow"))
    plan = BatchPlan(examples, params.train.global_batch_size, params.train.seed)
    task = find(params.task).load(project.PREPARED)
    with World.join(params.hardware, params.train.precision) as world:
        for kind, count in itertools.product(kinds, parts):
            hardware = {"reduce": "exact"} if kind == "exact" else {"parallel": kind}
            torch.manual_seed(0)
            arranged = changed(params, hardware)
            tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
            # In 64 bits: the gradients of some fresh models all but cancel out, and rounding would be all that is left.
            model = place(arranged, task, tokenizer, world).train().double()
            parallel = arrange(model, world, arranged.hardware, lambda: False)
            collation = Collation(model.config, tokenizer)
            said = ask(model, task, params, collation, world) if task.needs_reference else {}
            store = open_store("train", said)
            budgets = range(2000, 0, -1)
            indices = plan.indices(0)
            budget = next(b for b in budgets if len(parallel.cut(store.lengths, indices, b)) >= count)
            learner = Learner(model, adamw(model, params.train), torch.amp.GradScaler("cpu", enabled=False))
            held: list[torch.Tensor] = []
            learner.optimizer.register_step_pre_hook(lambda *_, model=model, held=held: held.append(whole(model)))
            next(steps(learner, parallel, task, store, plan, params.train, collation, budget, 0, 39))
            (found[f"{kind} x{count}"],) = held
    return found


def training(
    params: Params, hardware: dict[str, Any], stop_at: int | None = None, memory: int | None = None
) -> dict[str, float]:
    """A training, from its last checkpoint if there is one; what was logged, by step and name.

    Args:
        stop_at: a step after whose metrics the first rank is asked to stop.
        memory: tokens of a micro-batch that the last rank has memory for.
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
        if memory is not None and world.rank == world.size - 1:
            find(params.task).collate = with_memory(find(params.task).collate, memory)  # type: ignore[method-assign]
        limit = params.hardware.save_total_limit
        if world.rank:
            train(params, world, checkpoint.Checkpoints(checkpoint.folder_of("test"), limit), log)
        else:
            with checkpoint.hold("test", limit) as checkpoints:
                train(params, world, checkpoints, log, lambda: asked)
                checkpoints.clear()
    return logged


def placed(params: Params, models: list[str]) -> dict[str, dict[str, torch.Tensor]]:
    """What ranks with shards hold of models in folders: all parameters and buffers, put together."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    task = find(params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    with World.join(params.hardware, params.train.precision) as world:
        for folder in models:
            torch.manual_seed(0)
            model = place(pretrained(changed(params, {"parallel": "fsdp"}), folder), task, tokenizer, world)
            tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
            found[folder] = {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in tensors}
    return found


def loading(params: Params, models: list[str]) -> list[int]:
    """Bytes of memory that each rank adds at most while it loads the last of these models, the others to warm up."""
    task = find(params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    with World.join(params.hardware, params.train.precision) as world:
        for folder in models:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # else what was freed is given out again unseen
            with added() as most:
                model = place(pretrained(changed(params, {"parallel": "fsdp"}), folder), task, tokenizer, world)
                for parameter in model.parameters():
                    held = parameter.to_local() if isinstance(parameter, DTensor) else parameter
                    held.detach().mul_(1)  # a mapped page becomes the process's own when it is written
            del model
        return world.gather(most[0])


if __name__ == "__main__":
    function, folder, arguments = sys.argv[1:]
    os.chdir(folder)
    result = {"gradients": gradients, "training": training, "placed": placed, "loading": loading}[function](
        params_file.read(project.PARAMS), **json.loads(arguments)
    )
    if os.environ["RANK"] == "0":
        torch.save(result, "result.pt")
