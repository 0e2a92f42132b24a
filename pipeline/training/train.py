"""Training, from the stores to the exported model: the loop's caller, in the order in which things happen."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline import json_file, project, tasks
from pipeline.errors import UserError
from pipeline.evaluation import reference
from pipeline.model.build import build, check_recomputing
from pipeline.model.export import export
from pipeline.model.origin import check_noted
from pipeline.params import Params
from pipeline.tasks.base import Collation, Task, metric_for_best_model
from pipeline.training.arrange import arrange, place
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.course import Course, Log
from pipeline.training.learner import Learner, restore_model
from pipeline.training.memory import fitting_tokens
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Parallel
from pipeline.training.state import State
from pipeline.world import World


def train(
    params: Params, world: World, checkpoints: Checkpoints, log: Log, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Train, write the curves and metrics/train.json, and export the best model to models/best.

    Every rank calls it; the first one alone writes results.

    Args:
        stopping: whether this process was asked to stop: then the last whole step is saved, and Preempted raised.

    Raises:
        UserError: the loss is not finite, the params do not fit the model, or the model's folder has changed.
        Preempted: some rank was asked to stop.
    """
    check_noted(params)
    own = params.train.own_metric
    task = tasks.load(params, [own] if own else [])
    task.check_train(params.train)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    model = _placed(params, task, tokenizer, world)
    parallel = arrange(model, world, params.hardware, stopping)
    scaler = torch.amp.GradScaler(world.device.type, enabled=params.train.precision == "fp16")
    collation = Collation(model.config, tokenizer)
    learner = Learner(model, adamw(model, params.train), scaler)
    state = State()
    if found := world.tell(checkpoints.latest() if world.rank == 0 else None):
        step, values = found
        state = State(**values)
        learner.restore(checkpoints.open(step, verified=True), state.scale)
        if world.rank == 0:
            print(f"train: going on from the checkpoint of step {state.step:,}")
    elif task.needs_reference:
        learner.reference.update(reference.ask(model, task, params, collation, world, parallel.stop_if_asked))

    tokens = _micro_batch_tokens(learner, parallel, task, checkpoints, params, collation)
    Course(learner, parallel, task, checkpoints, params, log, state, collation, tokens).run()

    checkpoints.wait()
    if world.rank == 0:
        assert state.best_step is not None, "the last step evaluates"
        _write_results(state, metric_for_best_model(task, params.train))
        torch.manual_seed(params.train.seed)
        best = build(params, task, tokenizer)  # no checkpoint holds what does not train
        restore_model(best, checkpoints.open(state.best_step))
        export(best, tokenizer, task, params, project.BEST_MODEL)
        reference.keep(project.BEST_MODEL, learner.reference)
    world.barrier()


def _placed(params: Params, task: Task, tokenizer: PreTrainedTokenizerBase, world: World) -> PreTrainedModel:
    """The model as it is before the first step, on the device of this rank."""
    torch.manual_seed(params.train.seed)
    try:
        model: PreTrainedModel = place(params, task, tokenizer, world).train()
    except torch.OutOfMemoryError as error:
        raise UserError(
            "The model does not fit the memory of the device.\n"
            "Spread it over several with hardware.devices and hardware.parallel: fsdp, or take a smaller one."
        ) from error
    check_recomputing(model, params.hardware)
    if params.hardware.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def _micro_batch_tokens(
    learner: Learner, parallel: Parallel, task: Task, checkpoints: Checkpoints, params: Params, collation: Collation
) -> int:
    """Padded tokens of a micro-batch: what was found to fit before, what the params say, or what is measured now."""
    asked, world = params.hardware.micro_batch_tokens, parallel.world
    if params.hardware.reduce == "exact":
        assert asked != "auto", "exact sums need a fixed cut"
        return asked
    tokens: int | None = world.tell(checkpoints.notes.kept_tokens(asked))
    if tokens is None:
        try:
            store = reference.open_store("train", learner.reference)
            tokens = fitting_tokens(learner, parallel, task, store, params, collation)
        except torch.OutOfMemoryError as error:
            raise UserError(
                "The device has no memory for one example of the longest, forward and backward.\n"
                "Lower tokenizer.max_seq_length, or set hardware.gradient_checkpointing: true, or parallel: fsdp."
            ) from error
        if world.rank == 0:
            checkpoints.notes.keep_tokens(asked, tokens)
            print(f"train: micro-batches of {tokens:,} tokens")
    return tokens


def _write_results(state: State, metric: str) -> None:
    best = next(point for point in state.validation_curve if point["step"] == state.best_step)
    result: dict[str, Any] = {
        "steps": state.step,
        "best_step": state.best_step,
        "metric_for_best_model": metric,
        "train": {"loss": state.train_curve[-1]["loss"]},
        "validation": {name: value for name, value in best.items() if name != "step"},
    }
    json_file.write(project.TRAIN_METRICS, result)
    _write_curve(project.TRAIN_CURVE, state.train_curve)
    for score in state.validation_curve[0]:
        if score != "step":
            points = [{"step": point["step"], score: point[score]} for point in state.validation_curve]
            _write_curve(project.VALIDATION_CURVES / f"{score}.csv", points)


def _write_curve(path: Path, points: list[dict[str, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, points[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(points)
