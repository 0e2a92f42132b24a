"""A model in shards is the model of one process, bit for bit, and no rank ever holds more than its share of it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from pipeline import params_file, project
from pipeline.model import origin
from pipeline.model.build import build
from pipeline.params import Params
from pipeline.tasks import find
from tests.training.ranks import pretrained, run

SIZES: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
# A new head; one for other labels; RoPE; and matrices that are merged on loading, so that every rank reads the whole.
MODELS: dict[str, dict[str, Any]] = {
    "BertModel": {},
    "BertForSequenceClassification": {"num_labels": 3},
    "ModernBertForMaskedLM": {},
    "LlamaForCausalLM": {},
    "MixtralForCausalLM": {"num_key_value_heads": 2, "num_local_experts": 2},
}


def store(folder: Path, kind: str, max_shard_size: str = "1GB", **sizes: Any) -> str:
    """A pretrained model in a folder, whose name is returned."""
    kind_of_model = getattr(transformers, kind)
    torch.manual_seed(1)
    config = kind_of_model.config_class(**{**SIZES, "bos_token_id": 1, "eos_token_id": 2, **sizes})
    kind_of_model(config).save_pretrained(folder, max_shard_size=max_shard_size)
    return str(folder)


@pytest.mark.parametrize(
    ("ranks", "kinds"), [(2, [*MODELS]), (3, ["BertModel"])], ids=["in halves", "in thirds, which are not equal"]
)
def test_shards_are_the_rows_of_the_whole_model(
    tokenized: Path, tiny_params: Params, ranks: int, kinds: list[str]
) -> None:
    models = [store(tokenized / kind, kind, "30KB", **MODELS[kind]) for kind in kinds]
    assert all(len(list(Path(model).glob("*.safetensors"))) > 1 for model in models)
    models.append(store(tokenized / "one file", "BertModel"))
    task = find(tiny_params.task).load(project.PREPARED)
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    for model, placed in run(ranks, "placed", tokenized, {"models": models}).items():
        torch.manual_seed(0)
        whole = build(pretrained(tiny_params, model), task, tokenizer)
        tensors = dict([*whole.named_parameters(remove_duplicate=False), *whole.named_buffers()])
        assert placed.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(placed[name], tensor), f"{model}: {name}"


def test_training_goes_on_from_shards_as_from_the_whole_model(tokenized: Path, tiny_params: Params) -> None:
    params = pretrained(tiny_params, store(tokenized / "model", "LlamaForCausalLM"))
    (project.TOKENIZED / "model.json").write_text(json.dumps(origin.digests(params)))
    short = params.train.model_copy(update={"max_steps": 8})
    project.PARAMS.write_text(params_file.render(params.model_copy(update={"train": short})))
    outcomes = []
    for size in (1, 2):
        logged = run(size, "training", tokenized, {"hardware": {"parallel": "fsdp"}})
        outcomes.append((logged, (project.BEST_MODEL / "config.json").read_bytes()))
    (alone, config), (sharded, same) = outcomes
    assert config == same
    for name in ("4 train/loss", "8 train/loss"):
        assert sharded[name] == pytest.approx(alone[name], abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_rank_that_loads_a_model_adds_its_share_and_no_tenth_more(tokenized: Path) -> None:
    sizes = {"vocab_size": 30_000, "hidden_size": 1024, "num_hidden_layers": 6, "intermediate_size": 4096}
    kind = "BertForSequenceClassification"
    models = [store(tokenized / "small", kind), store(tokenized / "large", kind, "150MB", **sizes)]
    size = sum(file.stat().st_size for file in (tokenized / "large").glob("*.safetensors"))
    assert size > 400 * 2**20
    for ranks in (1, 2, 4):
        for rank, added in enumerate(run(ranks, "loading", tokenized, {"models": models})):
            told = f"rank {rank} of {ranks}: {added / 2**20:.1f} MiB, where its share is {size / ranks / 2**20:.1f} MiB"
            print(told)
            assert size / ranks * 0.9 < added < size / ranks * 1.1, told
