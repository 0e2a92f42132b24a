"""Training as a whole: the same bytes on every run and after every kill, and clear ends when it goes wrong."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import dag, digest, project
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.tasks.text_classification import TextClassification
from pipeline.training import checkpoint
from pipeline.training.fingerprint import fingerprint
from pipeline.training.train import train
from pipeline.world import World


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


def run(params: Params, kill_at: int | None = None) -> dict[tuple[int, str], float]:
    """Train; die right after the metrics of a step were logged. Returns all that was logged."""
    logged: dict[tuple[int, str], float] = {}

    def log(step: int, metrics: dict[str, float]) -> None:
        logged.update({(step, name): value for name, value in metrics.items()})
        if step == kill_at:
            raise Killed

    world = World.start(params.hardware, params.train.precision)
    with checkpoint.hold(fingerprint(params, dag.inputs("train")), params.hardware.save_total_limit) as checkpoints:
        train(params, world, checkpoints, log)
        checkpoints.clear()
    return logged


def outputs() -> dict[str, str]:
    paths = (project.BEST_MODEL, project.TRAIN_METRICS, project.TRAIN_CURVE, project.VALIDATION_CURVES)
    return digest.of_paths(paths)


def changed(params: Params, **train: object) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update=train)})


@pytest.mark.parametrize(
    ("precision", "all_kills"),
    [("fp32", [(4,), (13, 26), (39,), (12, 12)]), ("bf16", [(16, 26)]), ("fp16", [(16, 26)])],
)
def test_killed_and_resumed_gives_the_same_bytes(
    tokenized: Path, tiny_params: Params, precision: str, all_kills: list[tuple[int, ...]]
) -> None:
    params = changed(tiny_params, precision=precision)
    logged = run(params)
    whole = outputs()
    assert len(whole) == 4
    for kills in all_kills:
        for kill in kills:
            with pytest.raises(Killed):
                run(params, kill_at=kill)
        again = run(params)
        assert outputs() == whole, kills
        for key, value in again.items():
            assert key[1] == "train/tokens_per_second" or logged[key] == value
        assert min(step for step, _ in again) > (kills[-1] - 1) // 5 * 5, "it went on, and did not start over"


def test_training_learns_and_exports_the_best_step(tokenized: Path, tiny_params: Params) -> None:
    logged = run(tiny_params)
    result = json.loads(project.TRAIN_METRICS.read_text())
    drawn = project.VALIDATION_CURVES / "accuracy.csv"
    curve = list(csv.DictReader(drawn.read_text().splitlines()))
    best = max(curve, key=lambda point: float(point["accuracy"]))
    assert [int(point["step"]) for point in curve] == [13, 26, 39]
    assert b"\r" not in drawn.read_bytes()
    assert result["best_step"] == int(best["step"])
    assert result["validation"]["accuracy"] == float(best["accuracy"]) > 0.7
    assert result["steps"] == 39
    assert logged[39, "train/loss"] < logged[4, "train/loss"]
    model = AutoModelForSequenceClassification.from_pretrained(project.BEST_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(project.BEST_MODEL)
    told = [
        model(**tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in ("good great", "awful sad")
    ]
    assert [model.config.id2label[place] for place in told] in (["bad", "good"], ["good", "bad"])
    assert told[0] != told[1]


def test_hardware_changes_neither_steps_nor_examples(tokenized: Path, tiny_params: Params) -> None:
    quiet = {**(tiny_params.model.config or {}), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    params = tiny_params.model_copy(update={"model": tiny_params.model.model_copy(update={"config": quiet})})
    cut = {"micro_batch_tokens": 1000, "gradient_checkpointing": True}
    other = params.model_copy(update={"hardware": params.hardware.model_copy(update=cut)})
    assert fingerprint(params, dag.inputs("train")) == fingerprint(other, dag.inputs("train"))
    one, two = run(params), run(other)
    for key in ((13, "validation/loss"), (39, "validation/loss"), (39, "train/loss")):
        assert one[key] == pytest.approx(two[key], rel=1e-4)


def test_early_stopping_ends_after_evaluations_without_a_better_score(tokenized: Path, tiny_params: Params) -> None:
    params = changed(tiny_params, learning_rate=1e-12, eval_steps=2, early_stopping_patience=3, logging_steps=100)
    logged = run(params)
    assert max(step for step, _ in logged) == 8
    result = json.loads(project.TRAIN_METRICS.read_text())
    assert (result["steps"], result["best_step"]) == (8, 2)
    whole = outputs()
    with pytest.raises(Killed):
        run(params, kill_at=8)
    run(params)
    assert outputs() == whole


def test_a_loss_that_is_not_finite_ends_before_any_checkpoint(tokenized: Path, tiny_params: Params) -> None:
    params = changed(tiny_params, learning_rate=1e38, warmup_steps=0, max_grad_norm=None, logging_steps=100)
    with pytest.raises(UserError, match=r"not finite at step 2 .*\n.*train\.csv:\d+") as raised:
        run(params)
    assert str(raised.value).count("\n") == 2
    assert not list(project.state().glob("checkpoints/*/step-*"))
    assert not project.BEST_MODEL.exists()


def test_a_step_that_is_not_finite_is_left_out_if_the_params_say_so(
    tokenized: Path, tiny_params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(10_000))
    loss = TextClassification.loss

    def once_not_finite(self: TextClassification, *arguments: Any) -> Any:
        return loss(self, *arguments) * (math.nan if next(calls) == 30 else 1)

    monkeypatch.setattr(TextClassification, "loss", once_not_finite)
    logged = run(changed(tiny_params, nan_policy="skip", max_skipped_steps=1))
    said = capsys.readouterr().out
    assert said.count("the step is left out (1 so far)") == 1
    assert all(math.isfinite(value) for value in logged.values())
    assert max(step for step, _ in logged) == 39

    calls = iter(range(10_000))
    with pytest.raises(UserError, match=r"not finite at step .*; it changed nothing\.\n"):
        run(changed(tiny_params, nan_policy="skip", max_skipped_steps=0))


def test_max_steps_and_metric_loss(tokenized: Path, tiny_params: Params) -> None:
    logged = run(changed(tiny_params, max_steps=7, metric_for_best_model="loss"))
    assert max(step for step, _ in logged) == 7
    assert json.loads(project.TRAIN_METRICS.read_text())["best_step"] == 7
    assert math.isfinite(logged[7, "validation/loss"])


def test_a_model_folder_that_changed_after_tokenize_is_not_trained(tokenized: Path, tiny_params: Params) -> None:
    (project.TOKENIZED / "model.json").write_text('{"model.model_name_or_path": "another digest"}')
    with pytest.raises(UserError, match="changed since stage tokenize"):
        run(tiny_params)


def test_when_no_checkpoint_is_whole_the_run_stops_and_says_so(tokenized: Path, tiny_params: Params) -> None:
    with pytest.raises(Killed):
        run(tiny_params, kill_at=12)
    files = list(Path(".reprise/checkpoints").glob("*/step-*/*.safetensors"))
    assert len(files) == 2
    for file in files:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    with pytest.raises(UserError, match="No checkpoint of this experiment is whole"):
        run(tiny_params)
    assert not project.BEST_MODEL.exists()
