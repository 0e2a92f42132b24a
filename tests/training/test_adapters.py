"""Where not all trains, a checkpoint holds what does, and resumes and processes change as little as they ever do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from pipeline import dag, params_file, project
from pipeline.model import origin
from pipeline.model.build import build
from pipeline.params import Lora, Model, Params, Tokenizer
from pipeline.tasks import find
from pipeline.training.checkpoint import Checkpoints, folder_of
from pipeline.training.fingerprint import fingerprint
from tests.training.ranks import run as run_ranks
from tests.training.test_loop import without_dropout
from tests.training.test_parallel import trained
from tests.training.test_train import Killed, outputs, run

BASE = Path("data/models/tiny")
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"lora": Lora(r=4, lora_dropout=0.2)},
    "freeze": {"freeze": ["embeddings", "encoder.layer.0"]},
}


def on_a_base(params: Params, **model: Any) -> Params:
    """The params with a pretrained model, which is made here, of the tokenizer in the folder."""
    task = find(params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    torch.manual_seed(7)
    build(params, task, tokenizer).save_pretrained(BASE)
    tokenizer.save_pretrained(BASE)
    changed = params.model_copy(
        update={
            "model": Model(config=None, model_name_or_path=str(BASE), **model),
            "tokenizer": Tokenizer(max_seq_length=params.tokenizer.max_seq_length),
        }
    )
    (project.TOKENIZED / "model.json").write_text(json.dumps(origin.digests(changed)))
    project.PARAMS.write_text(params_file.render(changed))
    return changed


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_gives_the_same_bytes_and_checkpoints_hold_what_trains(
    tokenized: Path, tiny_params: Params, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params = on_a_base(tiny_params, **KINDS[kind])
    logged = run(params)
    whole = outputs()
    adapter = load_file(project.BEST_MODEL / "adapter" / "adapter_model.safetensors") if kind == "lora" else {}
    with pytest.raises(Killed):
        run(params, kill_at=13)
    saved = Checkpoints(folder_of(fingerprint(params, dag.inputs("train"))), 2)
    names = set(saved.open(saved.steps()[-1]).names())
    trains = {name.removeprefix("model.") for name in names if name.startswith("model.")}
    moments = {f"optimizer.{name}.{key}" for name in trains for key in ("exp_avg", "exp_avg_sq", "step")}
    assert names == {f"model.{name}" for name in trains} | moments
    assert len(trains) == len(adapter) or kind == "freeze"
    assert not any("embeddings" in name or "layer.0" in name for name in trains) or kind == "lora"
    again = run(params)
    assert outputs() == whole
    assert all(key[1] == "train/tokens_per_second" or logged[key] == value for key, value in again.items())
    assert min(step for step, _ in again) > 10, "it went on, and did not start over"
    count = sum(saved_size(params, name) for name in trains)
    assert f"train: {count:,} of " in capsys.readouterr().out

    base, best = load_file(BASE / "model.safetensors"), load_file(project.BEST_MODEL / "model.safetensors")
    changed = {name for name, tensor in best.items() if not torch.equal(tensor, base[name])}
    if kind == "lora":
        assert changed == {
            *(f"bert.encoder.layer.{n}.attention.self.{part}.weight" for n in (0, 1) for part in ("query", "value")),
            "classifier.weight",
            "classifier.bias",
        }
    else:
        assert changed == trains


def saved_size(params: Params, name: str) -> int:
    task = find(params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    return build(params, task, tokenizer).get_parameter(name).numel()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_does_not_depend_on_accumulation_and_processes(
    tokenized: Path, tiny_params: Params, kind: str
) -> None:
    settings = {"lora": {"lora": Lora(r=4)}}.get(kind, KINDS[kind])
    on_a_base(without_dropout(tiny_params), **settings)
    (whole,) = run_ranks(1, "gradients", tokenized, {"kinds": ["ddp"], "parts": [1]}).values()
    assert 0 < whole.count_nonzero() < len(whole)
    for name, gradient in run_ranks(
        2, "gradients", tokenized, {"kinds": ["ddp", "fsdp", "exact"], "parts": [2]}
    ).items():
        off = torch.linalg.norm(gradient - whole) / torch.linalg.norm(whole)
        assert off <= 1e-5, f"{name} is off by {off:.1e}"


def test_adapters_train_alike_however_processes_share_them(
    tokenized: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> None:
    few = {"max_steps": 6, "logging_steps": 1}
    short = tiny_params.model_copy(update={"train": tiny_params.train.model_copy(update=few)})
    on_a_base(without_dropout(short), lora=Lora(r=4))
    elsewhere = tmp_path_factory.mktemp("ranks")
    alone = trained(tokenized, elsewhere / "alone", 1, {"reduce": "exact"})
    assert trained(tokenized, elsewhere / "exact", 2, {"reduce": "exact"}) == alone
    sharded, _ = trained(tokenized, elsewhere / "fsdp", 2, {"parallel": "fsdp"})
    assert sharded.keys() == alone[0].keys()
    losses = [name for name in sharded if name.endswith("/loss")]
    assert len(losses) > 6
    assert all(sharded[name] == pytest.approx(alone[0][name], abs=1e-6) for name in losses)
