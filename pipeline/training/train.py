"""Training, from the stores to the exported model: the loop's caller, in the order in which things happen."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer

from pipeline import project
from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation.predict import predict
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Params
from pipeline.progress import bar
from pipeline.tasks import find
from pipeline.tasks.base import Task
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import Learner, Step, steps
from pipeline.training.optimizer import adamw
from pipeline.training.pace import Pace
from pipeline.world import World

Log = Callable[[int, dict[str, float]], None]
"""Told of the metrics of a step: `train/loss`, `validation/accuracy`, ..."""

_MAX_IDS = 20


@dataclass
class State:
    """What a resumed training needs to know beside the tensors; JSON values only.

    Attributes:
        step: optimizer steps done.
        best_step: the step with the best validation score; None before the first evaluation.
        best_score: that score, better when higher.
        waited: evaluations since then.
        window: (loss, gradient norm) of the steps since the last point of the learning curve.
        train_curve: its points so far.
        validation_curve: the scores of every evaluation so far.
    """

    step: int = 0
    best_step: int | None = None
    best_score: float = -math.inf
    waited: int = 0
    window: list[list[float]] = field(default_factory=list)
    train_curve: list[dict[str, float]] = field(default_factory=list)
    validation_curve: list[dict[str, float]] = field(default_factory=list)


def train(params: Params, world: World, checkpoints: Checkpoints, log: Log) -> None:
    """Train, write the curves and metrics/train.json, and export the best model to models/best.

    Raises:
        UserError: the loss is not finite, or the params do not fit the model.
    """
    task = find(params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    torch.manual_seed(params.train.seed)
    model = build(params, task, tokenizer).to(world.device).train()  # type: ignore[arg-type]
    if params.hardware.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise UserError(
                f"hardware.gradient_checkpointing: a {model.config.model_type} model cannot do it. Set it to false."
            )
        model.activation_checkpointing_enable({"use_reentrant": False})
    scaler = torch.amp.GradScaler(world.device.type, enabled=params.train.precision == "fp16")
    learner = Learner(model, adamw(model, params.train), scaler)
    state = State()
    if found := checkpoints.latest():
        tensors, values = found
        learner.restore(tensors)
        state = State(**values)
        print(f"train: going on from the checkpoint of step {state.step:,}")

    _learn(learner, task, state, checkpoints, world, params, log)

    assert state.best_step is not None, "the last step evaluates"
    model.load_state_dict(checkpoints.tensors(state.best_step)["model"])
    _write_results(state, params)
    export(model, tokenizer, params, project.BEST_MODEL)


def _learn(
    learner: Learner,
    task: Task,
    state: State,
    checkpoints: Checkpoints,
    world: World,
    params: Params,
    log: Log,
) -> None:
    """All steps that are left, with what happens between them."""
    settings, hardware = params.train, params.hardware
    examples, unseen = (Store(project.TOKENIZED / f"{split}.arrow") for split in ("train", "validation"))
    plan = BatchPlan(len(examples), settings.global_batch_size, settings.seed)
    total = plan.steps(settings.num_train_epochs, settings.max_steps)
    every = settings.eval_steps or plan.steps_per_epoch
    patience = settings.early_stopping_patience or math.inf
    if state.waited >= patience:
        return
    unread: list[Step] = []
    with bar("train", total, state.step) as progress:
        pace = Pace(progress, state.step, total)
        for step in steps(learner, task, examples, plan, world, params, state.step, total):
            unread.append(step)
            pace.advance(step)
            last = step.number == total
            logs = last or step.number % settings.logging_steps == 0
            evaluates = last or step.number % every == 0
            saves = last or step.number % hardware.save_steps == 0
            if not (logs or evaluates or saves):
                continue
            _read(state, unread, plan, learner.scaler)
            if evaluates:
                predictions = predict(learner.model, task, unseen, world, hardware.micro_batch_tokens, "validate")
                scores = task.scores(predictions)
                log(step.number, {f"validation/{name}": value for name, value in scores.items()})
                _note_scores(state, scores, settings.metric_for_best_model)
            stops = state.waited >= patience
            if logs or stops:
                point = _train_point(state, step)
                log(step.number, {f"train/{name}": value for name, value in point.items()})
                log(step.number, {"train/tokens_per_second": pace.read(step, point["loss"])})
            if saves or state.best_step == step.number:
                checkpoints.save(step.number, learner.tensors(), asdict(state))
            if stops:
                progress.say(f"train: no better {settings.metric_for_best_model} for {state.waited} evaluations: done")
                return


def _read(state: State, unread: list[Step], plan: BatchPlan, scaler: torch.amp.GradScaler) -> None:
    """Bring the steps' losses to the host, and stop at one that is not finite, before it is saved anywhere.

    fp16 gradients overflow now and then: the scaler halves its scale and the step is left out. They are an error
    when the loss itself is not finite, or when no scale is left to halve.
    """
    values = torch.stack([torch.stack((step.loss, step.grad_norm)) for step in unread]).tolist()
    for step, (loss, norm) in zip(unread, values, strict=True):
        overflow = scaler.is_enabled() and scaler.get_scale() >= 1
        if not math.isfinite(loss) or not (math.isfinite(norm) or overflow):
            indices = plan.indices(step.number - 1)
            ids = pq.read_table(project.PREPARED / "train.parquet", columns=["id"])["id"]
            named = ids.take(sorted(indices)[:_MAX_IDS]).to_pylist()
            more = f" and {len(indices) - _MAX_IDS} more" if len(indices) > _MAX_IDS else ""
            raise UserError(
                f"The loss or its gradient is not finite at step {step.number} (loss {loss}, gradient norm {norm}); "
                f"the weights are those of step {step.number - 1}.\n"
                f"Its examples: {', '.join(named)}{more}\n"
                "Look at them, or lower train.learning_rate, or use train.precision: fp32."
            )
    state.step = unread[-1].number
    state.window += values
    unread.clear()


def _train_point(state: State, step: Step) -> dict[str, float]:
    """The next point of the learning curve: the mean loss since the last one."""
    loss = sum(loss for loss, _ in state.window) / len(state.window)
    point = {"loss": loss, "learning_rate": step.learning_rate, "grad_norm": state.window[-1][1]}
    state.train_curve.append({"step": step.number, **point})
    state.window = []
    return point


def _note_scores(state: State, scores: dict[str, float], metric: str) -> None:
    """Keep the scores of an evaluation, and whether they are the best so far."""
    state.validation_curve.append({"step": state.step, **scores})
    score = -scores[metric] if metric == "loss" else scores[metric]
    score = score if math.isfinite(score) else -math.inf
    if state.best_step is None or score > state.best_score:
        state.best_step, state.best_score, state.waited = state.step, score, 0
    else:
        state.waited += 1


def _write_results(state: State, params: Params) -> None:
    best = next(point for point in state.validation_curve if point["step"] == state.best_step)
    result: dict[str, Any] = {
        "steps": state.step,
        "best_step": state.best_step,
        "metric_for_best_model": params.train.metric_for_best_model,
        "train": {"loss": state.train_curve[-1]["loss"]},
        "validation": {name: value for name, value in best.items() if name != "step"},
    }
    project.TRAIN_METRICS.parent.mkdir(parents=True, exist_ok=True)
    project.TRAIN_METRICS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _write_curve(project.TRAIN_CURVE, state.train_curve)
    _write_curve(project.VALIDATION_CURVE, state.validation_curve)


def _write_curve(path: Path, points: list[dict[str, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, points[0])
        writer.writeheader()
        writer.writerows(points)
