"""Half precision, too, goes on with the same bits, after a stop in the middle, whatever the layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import params_file, project
from pipeline.params import Params
from tests.training.homes import checkpoints_of
from tests.training.test_parallel import trained

pytestmark = pytest.mark.slow

# The loss scale of fp16: torch's first one, doubled after every fourth step (in `ranks`) until it overflows.
NEVER_HALVED = 2.0 ** (16 + 28 // 4)


@pytest.mark.parametrize(
    ("size", "hardware"),
    [(1, {}), (2, {"parallel": "ddp"}), (2, {"parallel": "fsdp"})],
    ids=["1", "2-ddp", "2-fsdp"],
)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_stop_in_the_middle_changes_no_bit(
    tokenized: Path,
    tiny_params: Params,
    tmp_path_factory: pytest.TempPathFactory,
    precision: str,
    size: int,
    hardware: dict[str, Any],
) -> None:
    params = tiny_params.model_copy(update={"train": tiny_params.train.model_copy(update={"precision": precision})})
    (tokenized / project.PARAMS).write_text(params_file.render(params))
    elsewhere = tmp_path_factory.mktemp("ranks")
    logged, model = trained(tokenized, elsewhere / "whole", size, hardware)
    assert model and ("39 train/loss" in logged)
    first, nothing = trained(tokenized, elsewhere / "stopped", size, hardware, 28)
    assert not nothing
    (state,) = checkpoints_of(elsewhere / "stopped", "step-00000028/state.json")
    scale = json.loads(state.read_text())["scale"]
    assert precision == "bf16" or 1 <= scale["scale"] < NEVER_HALVED, scale
    second, again = trained(tokenized, elsewhere / "stopped", size, hardware)
    assert again == model
    # Written out, since the norm of a gradient that overflowed is not a number.
    assert {name: repr(value) for name, value in {**first, **second}.items()} == {
        name: repr(value) for name, value in logged.items()
    }
