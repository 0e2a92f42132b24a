"""The layout follows the params, and the memory that there is."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from pipeline.errors import UserError
from pipeline.params import Hardware, Params
from pipeline.training.arrange import arrange, is_sharded
from pipeline.training.memory import USABLE, estimate
from pipeline.world import World

CONFIG = AutoConfig.for_model("bert", hidden_size=64, num_hidden_layers=3, num_attention_heads=2, vocab_size=1000)


def outline() -> torch.nn.Module:
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(CONFIG)


def world(device: str, size: int, rank: int = 0) -> World:
    return World(torch.device(device), "fp32", rank, size)


def with_hardware(**hardware: object) -> Params:
    return Params(hardware=Hardware(**hardware))


@pytest.mark.parametrize(
    ("size", "hardware", "sharded"),
    [
        (1, {"parallel": "fsdp"}, False),
        (2, {"parallel": "fsdp"}, True),
        (2, {"parallel": "ddp"}, False),
        (2, {"reduce": "exact"}, False),
        (2, {}, False),
    ],
)
def test_shards_are_made_where_the_params_ask_for_them(size: int, hardware: dict[str, object], sharded: bool) -> None:
    assert is_sharded(outline(), world("cpu", size), with_hardware(**hardware)) is sharded


@pytest.mark.parametrize("tokens", [1024, "auto"])
def test_what_does_not_fit_a_gpu_is_sharded_and_the_estimate_is_told_once(
    tokens: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(World, "any", lambda self, flag: flag)
    params, model = with_hardware(micro_batch_tokens=tokens), outline()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counted = params.tokenizer.max_seq_length if tokens == "auto" else 1024
    needed = estimate(CONFIG, parameters, 0, counted, params) / USABLE
    for there, sharded in ((needed * 1.01, False), (needed * 0.99, True)):
        properties = SimpleNamespace(total_memory=int(there))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, found=properties: found)
        assert [is_sharded(model, world("cuda", 2, rank), params) for rank in (0, 1)] == [sharded] * 2
        said = capsys.readouterr().out
        assert said.count(f"{parameters:,} parameters, of which {parameters:,} train, need about") == 1
        assert ("sharded (fsdp)" in said) is sharded


def test_exact_sums_need_a_power_of_two() -> None:
    with pytest.raises(UserError, match="processes, not 3"):
        arrange(outline(), world("cpu", 3), Hardware(reduce="exact"), lambda: False)
