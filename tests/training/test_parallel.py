"""However many processes share a step, and however its gradients meet, the gradient is that of one process."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pipeline import params_file, project
from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.params import Params
from tests.tasks.cases import CASES, Case, make
from tests.training.ranks import ends, run, start

PARTS = [1, 2, 4]
ONE_A_TASK = [next(case for case in CASES if case.task == name) for name in dict.fromkeys(case.task for case in CASES)]
Outcome = tuple[dict[str, float], bytes]
"""What was logged, and the bytes of the exported weights."""


def still(params: Params) -> Params:
    """The same with a model that draws nothing."""
    assert params.model.config is not None
    known = CONFIG_MAPPING[params.model.config["model_type"]]().to_dict()
    off = {name: 0.0 for name, value in known.items() if "drop" in name and isinstance(value, float)}
    return params.model_copy(
        update={"model": params.model.model_copy(update={"config": {**params.model.config, **off}})}
    )


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.wide] if place else [], id=str(case))
        for place, case in enumerate(ONE_A_TASK)
    ],
)
def test_the_gradient_does_not_depend_on_accumulation_and_processes(case: Case, folder: Path) -> None:
    make(case, folder)
    project.PARAMS.write_text(params_file.render(still(case.whole_params())))
    asked = {"kinds": ["ddp", "fsdp", "exact"], "parts": PARTS}
    (whole,) = run(1, "gradients", folder, {"kinds": ["ddp"], "parts": [1]}).values()
    for size in (1, 2, 4):
        for name, gradient in run(size, "gradients", folder, asked).items():
            off = torch.linalg.norm(gradient - whole) / torch.linalg.norm(whole)
            assert off <= 1e-5, f"{name} on {size} processes is off by {off:.1e}"


def trained(folder: Path, home: Path, size: int, hardware: dict[str, Any], stop_at: int | None = None) -> Outcome:
    """Train in a copy of the tokenized folder; go on there if it is already."""
    if not home.exists():
        shutil.copytree(folder, home)
    logged = run(size, "training", home, {"hardware": hardware, "stop_at": stop_at})
    model = home / project.BEST_MODEL / "model.safetensors"
    return logged, model.read_bytes() if model.exists() else b""


def epochs(number: int, params: Params, **train: object) -> None:
    """Let the project train for so many epochs, of 13 steps each."""
    changed = params.train.model_copy(update={"num_train_epochs": number, **train})
    project.PARAMS.write_text(params_file.render(params.model_copy(update={"train": changed})))


def test_exact_sums_give_the_same_bits_on_any_number_of_processes(
    tokenized: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> None:
    epochs(2, tiny_params)
    exact = {"reduce": "exact"}
    elsewhere = tmp_path_factory.mktemp("ranks")
    logged, model = trained(tokenized, elsewhere / "1", 1, exact)
    assert "26 train/loss" in logged
    for size in (2, 4):
        assert trained(tokenized, elsewhere / f"{size}", size, exact) == (logged, model)
    changing = elsewhere / "changing"
    parts = [
        trained(tokenized, changing, size, exact, stop_at)[0] for size, stop_at in ((1, 8), (2, 13), (4, 20), (1, None))
    ]
    assert (changing / project.BEST_MODEL / "model.safetensors").read_bytes() == model
    # What each of them told is what the whole training told, and nothing is missing.
    assert {name: value for part in parts for name, value in part.items()} == logged


def test_fast_sums_differ_by_rounding_alone(
    tokenized: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("ranks")
    epochs(1, still(tiny_params), logging_steps=1)
    alone, _ = trained(tokenized, elsewhere / "alone", 1, {})
    assert "12 train/loss" in alone
    (score,) = (value for name, value in alone.items() if name == "13 validation/accuracy")
    sure = 1.96 * math.sqrt(score * (1 - score) / 50)  # of 50 rows
    for size, parallel, checkpointing in ((2, "ddp", True), (2, "fsdp", True), (4, "ddp", False), (4, "fsdp", False)):
        hardware = {"parallel": parallel, "gradient_checkpointing": checkpointing}
        logged, _ = trained(tokenized, elsewhere / f"{size}-{parallel}", size, hardware)
        assert logged.keys() == alone.keys()
        for name, value in logged.items():
            if name.endswith("/loss"):
                assert value == pytest.approx(alone[name], abs=1e-6), f"{name}, {size} x {parallel}"
        assert abs(logged["13 validation/accuracy"] - score) <= sure


def test_ranks_with_nothing_to_do_are_told_of(tokenized: Path, tiny_params: Params) -> None:
    epochs(1, tiny_params)
    first = Store(project.TOKENIZED / "train.arrow").lengths
    plan = BatchPlan(len(first), tiny_params.train.global_batch_size, tiny_params.train.seed)
    # All real tokens of the first step fit at once, and with its padding they would not.
    real, widest = int(first[plan.indices(0)].sum()), int(first[plan.indices(0)].max())
    assert real < widest * len(plan.indices(0))
    hardware = {"reduce": "exact", "micro_batch_tokens": real}
    assert ends(start(2, "training", tokenized, {"hardware": hardware})) == [0, 0]
    assert "the first step has 1 micro-batches for 2 processes" in (tokenized / "rank-0.log").read_text()
