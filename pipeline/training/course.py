"""The course of a training: the steps of the loop, and what is due between them."""

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pyarrow.parquet as pq
import torch

from pipeline import project
from pipeline.data.batches import BatchPlan, micro_batches
from pipeline.errors import UserError
from pipeline.evaluation.predict import predict
from pipeline.evaluation.reference import open_store
from pipeline.params import Params
from pipeline.progress import Bar, bar
from pipeline.scores import gain
from pipeline.tasks.base import Collation, Task, metric_for_best_model
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.learner import Learner
from pipeline.training.loop import Step, counts_real_tokens, steps
from pipeline.training.optimizer import learning_rate
from pipeline.training.pace import Pace
from pipeline.training.parallel import Parallel, Preempted, Shards
from pipeline.training.state import State
from pipeline.training.worker import AGAIN

Log = Callable[[int, dict[str, float]], None]
"""Told of the metrics of a step: `train/loss`, `validation/accuracy`, ..."""

_MAX_IDS = 8


@dataclass
class Course:
    """All steps that are left, with what happens between them, in the order in which it happens.

    Attributes:
        learner: what is trained.
        parallel: how it lies on the ranks.
        task: what is learned.
        checkpoints: where the course goes on after a kill.
        params: all of params.yaml.
        log: told of every metric.
        state: how far the course has come.
        collation: what examples need to become a batch.
        micro_batch_tokens: of a micro-batch, as `pipeline.data.batches` counts them; fewer once memory has run out.
    """

    learner: Learner
    parallel: Parallel
    task: Task
    checkpoints: Checkpoints
    params: Params
    log: Log
    state: State
    collation: Collation
    micro_batch_tokens: int

    def __post_init__(self) -> None:
        settings = self.params.train
        before = self.learner.reference
        self._examples, self._unseen = (open_store(split, before) for split in ("train", "validation"))
        self._rows = pq.read_table(project.PREPARED / "validation.parquet")
        self._plan = BatchPlan(len(self._examples), settings.global_batch_size, settings.seed)
        self._total = self._plan.steps(settings.num_train_epochs, settings.max_steps)
        self._every = settings.eval_steps or self._plan.steps_per_epoch
        self._metric = metric_for_best_model(self.task, settings)
        self._unread: list[Step] = []

    def stops_early(self) -> bool:
        """Whether the scores have not become better for as long as the params allow."""
        patience = self.params.train.early_stopping_patience
        return patience is not None and self.state.waited >= patience

    def run(self) -> None:
        """Train to the end, or until the scores get no better.

        Raises:
            UserError: a loss or gradient is not finite.
            Preempted: some rank was asked to stop; the last whole step is saved.
        """
        with bar("train", self._total, self.state.step) as progress:
            self._tell_of_idle_ranks(progress)
            pace = Pace(progress, self.state.step, self._total)
            try:
                while self._runs_out_of_memory(progress, pace):
                    self._take_less(progress)
            except Preempted:
                if self._unread:
                    self._read()
                if self.state.step:
                    self._save()
                    self.checkpoints.wait()
                kept = f"step {self.state.step:,} is saved" if self.state.step else "before the first step"
                progress.say(f"train: stopped as asked, {kept}; dvc repro goes on from there")
                raise

    def _tell_of_idle_ranks(self, progress: Bar) -> None:
        """Exact sums never cut a step further for the sake of more ranks."""
        hardware, ranks = self.params.hardware, self.parallel.world.size
        real = counts_real_tokens(self.task, self.parallel.model)
        first = self._plan.indices(0)
        parts = len(micro_batches(self._examples.lengths, first, self.micro_batch_tokens, real))
        if hardware.reduce == "exact" and parts < ranks:
            progress.say(
                f"train: the first step has {parts} micro-batches for {ranks} processes, so some have nothing to do; "
                "a lower hardware.micro_batch_tokens helps"
            )

    def _runs_out_of_memory(self, progress: Bar, pace: Pace) -> bool:
        """Train on from the last whole step; whether memory ran out before the end."""
        try:
            self._go_on(progress, pace)
        except torch.OutOfMemoryError:
            return True
        return False

    def _go_on(self, progress: Bar, pace: Pace) -> None:
        state, total = self.state, self._total
        if state.settled < state.step:  # stopped between a step and what was due after it
            self._settle(progress, pace)
        done = self._unread[-1].number if self._unread else state.step
        if self.stops_early():
            return
        for step in steps(
            self.learner,
            self.parallel,
            self.task,
            self._examples,
            self._plan,
            self.params.train,
            self.collation,
            self.micro_batch_tokens,
            done,
            total,
        ):
            self._unread.append(step)
            pace.advance(step)
            if self._is_due(step.number):
                self._read()
                self._settle(progress, pace)
            if self.stops_early():
                return

    def _take_less(self, progress: Bar) -> None:
        """Halve the micro-batches, whose number a step then doubles: its examples stay.

        Other ranks may wait for this one in the middle of an exchange, so that all of them have to start again.
        """
        hardware, longest = self.params.hardware, int(self._examples.lengths.max())
        exact = hardware.reduce == "exact"
        if exact or self.micro_batch_tokens <= longest:
            fewer = "hardware.micro_batch_tokens" if exact else "tokenizer.max_seq_length"
            raise UserError(
                f"The device has no memory left for micro-batches of {self.micro_batch_tokens:,} tokens; the longest "
                f"example has {longest:,}.\n"
                f"Lower {fewer}, or set hardware.gradient_checkpointing: true"
                + ("." if exact else ", or hardware.parallel: fsdp.")
            )
        self.micro_batch_tokens = max(self.micro_batch_tokens // 2, longest)
        self.checkpoints.notes.keep_tokens(hardware.micro_batch_tokens, self.micro_batch_tokens)
        progress.say(
            f"train: the device has no memory left; going on with micro-batches of {self.micro_batch_tokens:,} tokens, "
            "each step with the same examples"
        )
        if self.parallel.world.size > 1:
            sys.exit(AGAIN)
        self.learner.drop_unfinished_state()
        torch.cuda.empty_cache()

    def _is_due(self, step: int) -> bool:
        settings, last = self.params.train, step == self._total
        intervals = (settings.logging_steps, self._every, self.params.hardware.save_steps)
        return last or any(step % interval == 0 for interval in intervals)

    def _settle(self, progress: Bar, pace: Pace) -> None:
        """Do what is due after the step that was read last."""
        state, settings = self.state, self.params.train
        last = state.step == self._total
        if last or state.step % self._every == 0:
            self._evaluate()
        if last or self.stops_early() or state.step % settings.logging_steps == 0:
            point = self._point()
            self.log(state.step, {f"train/{name}": value for name, value in point.items()})
            self.log(state.step, {"train/tokens_per_second": pace.read(point["loss"], point["learning_rate"])})
        state.settled = state.step
        if last or state.best_step == state.step or state.step % self.params.hardware.save_steps == 0:
            self._save()
        if self.stops_early():
            progress.say(f"train: no better {self._metric} for {state.waited} evaluations: done")

    def _evaluate(self) -> None:
        """Score the validation rows, and note whether they are the best scores so far."""
        state, parallel = self.state, self.parallel
        predictions = predict(
            self.learner.model,
            self.task,
            self._unseen,
            self._rows,
            self.collation,
            parallel.world,
            min(self.micro_batch_tokens, self.params.hardware.forward_tokens),
            "validate",
            parallel.stop_if_asked,
        )
        scores = self.task.all_scores(predictions)
        self.log(state.step, {f"validation/{name}": value for name, value in scores.items()})
        state.validation_curve.append({"step": state.step, **scores})
        score = gain(self._metric, scores[self._metric])
        score = score if math.isfinite(score) else -math.inf
        if state.best_step is None or score > state.best_score:
            state.best_step, state.best_score, state.waited = state.step, score, 0
        else:
            state.waited += 1

    def _point(self) -> dict[str, float]:
        """The next point of the learning curve: the mean loss since the last one."""
        state = self.state
        losses = [loss for loss, _ in state.window]
        point = {
            "loss": sum(losses) / len(losses) if losses else math.nan,
            "learning_rate": learning_rate(self.params.train, state.step - 1, self._total),
            "grad_norm": state.window[-1][1] if losses else math.nan,
        }
        state.train_curve.append({"step": state.step, **point})
        state.window = []
        return point

    def _save(self) -> None:
        world = self.parallel.world
        writers = world.size if isinstance(self.parallel, Shards) else 1
        self.state.scale = self.learner.scale()
        if world.rank < writers:
            self.checkpoints.save(
                self.state.step, self.learner.pieces(), asdict(self.state), rank=world.rank, size=writers
            )

    def _read(self) -> None:
        """Bring the steps' losses to the host, and look at those that are not finite before they are saved anywhere.

        fp16 gradients overflow now and then: the scaler halves its scale and the step is left out. They count as
        errors when the loss itself is not finite, or when no scale is left to halve.
        """
        scaler = self.learner.scaler
        values = torch.stack([torch.stack((step.loss, step.grad_norm)) for step in self._unread]).tolist()
        for step, (loss, norm) in zip(self._unread, values, strict=True):
            overflow = scaler.is_enabled() and scaler.get_scale() >= 1
            if math.isfinite(loss) and (math.isfinite(norm) or overflow):
                self.state.window.append([loss, norm])
            else:
                self._skip(step.number, loss, norm)
        self.state.step = self._unread[-1].number
        self._unread.clear()

    def _skip(self, step: int, loss: float, norm: float) -> None:
        """Count a step that changed nothing, or end the training, as `train.nan_policy` says."""
        settings = self.params.train
        found = f"The loss or its gradient is not finite at step {step} (loss {loss}, gradient norm {norm})"
        self.state.skipped += 1
        if settings.nan_policy == "skip" and self.state.skipped <= settings.max_skipped_steps:
            if self.parallel.world.rank == 0:
                print(f"train: {found}; the step is left out ({self.state.skipped} so far)")
            return
        rows = self._examples.rows_in(self._plan.indices(step - 1))
        ids = pq.read_table(project.PREPARED / "train.parquet", columns=["id"])["id"]
        named = ids.take(rows[:_MAX_IDS]).to_pylist()
        before = f", nor did {self.state.skipped - 1} before it" if self.state.skipped > 1 else ""
        more = f" and {len(rows) - _MAX_IDS} more" if len(rows) > _MAX_IDS else ""
        raise UserError(
            f"{found}; it changed nothing{before}.\n"
            f"Its rows: {', '.join(named)}{more}\n"
            "Look at them, or lower train.learning_rate, or use train.precision: fp32. "
            "train.nan_policy: skip leaves out up to train.max_skipped_steps of such steps."
        )
