"""The weights that are read by rows are those that the whole model gets, and they are read only where that holds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from pipeline.errors import UserError
from pipeline.model.build import build, skeleton
from pipeline.model.tokenizer import make_tokenizer
from pipeline.model.weights import Weights, stored_weights
from tests.model.tiny import SIZES, TASK, TEXTS, edit_config, pretrained

BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2} | {
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
# What stands in the files: a bare body, another head, no pooler, ties.
STORED = {
    "BertModel": SIZES,
    "BertForSequenceClassification": {**SIZES, "num_labels": 3},
    "BertForMaskedLM": SIZES,
    "RobertaModel": SIZES,
    "ModernBertForMaskedLM": SIZES,
    "LlamaForCausalLM": SIZES,
    "Gemma3ForCausalLM": {**SIZES, "head_dim": 16},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "BartForConditionalGeneration": BART,
}


def store(folder: Path, kind: str, **saving: Any) -> Path:
    """A model as its author would publish it, with the tokenizer of the tiny BERT."""
    kind_of_model = getattr(transformers, kind)
    torch.manual_seed(1)
    config = kind_of_model.config_class(vocab_size=300, pad_token_id=0, bos_token_id=1, eos_token_id=2, **STORED[kind])
    kind_of_model(config).save_pretrained(folder / kind, **saving)
    return folder / kind


def opened(folder: Path, tokenizer: Path) -> Weights | None:
    """The weights, with the seed of `built`."""
    params = pretrained(folder)
    empty = skeleton(params, TASK, make_tokenizer(pretrained(tokenizer), TEXTS))
    torch.manual_seed(0)
    return stored_weights(params, empty)


def whole(folder: Path, tokenizer: Path) -> PreTrainedModel:
    params = pretrained(folder)
    encoder = make_tokenizer(pretrained(tokenizer), TEXTS)
    torch.manual_seed(0)
    return build(params, TASK, encoder)


def assert_the_same(weights: Weights | None, model: PreTrainedModel) -> None:
    assert weights is not None
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]:
        assert weights.shape(name) == tuple(tensor.shape)
        assert torch.equal(weights.read(name).to(tensor.dtype), tensor), name
        if tensor.ndim:
            assert torch.equal(weights.read(name, 1, 2).to(tensor.dtype), tensor[1:2]), name


@pytest.mark.parametrize("kind", STORED)
def test_the_rows_are_those_of_the_whole_model(exported: Path, folder: Path, kind: str) -> None:
    stored = store(folder, kind)
    weights, model = opened(stored, exported), whole(stored, exported)
    assert_the_same(weights, model)
    assert isinstance(weights, Weights)
    matrices = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
    # Only what was drawn is in memory.
    drawn = [name for name in matrices if name not in weights._stored]
    assert all(any(word in name for word in ("classifier", "pooler", "score", "classification")) for name in drawn)


def test_files_may_be_many(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertModel", max_shard_size="20KB")
    assert (stored / "model.safetensors.index.json").exists() and len(list(stored.glob("*.safetensors"))) > 3
    assert_the_same(opened(stored, exported), whole(stored, exported))


def test_half_precision_is_read_as_it_is(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertModel")
    file = stored / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    edit_config(stored, dtype="bfloat16")
    assert_the_same(opened(stored, exported), whole(stored, exported))


def test_old_names_are_translated(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertForMaskedLM")
    file = stored / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(file)
    for new, name in old.items():
        tensors = {key.replace(new, name): tensor for key, tensor in tensors.items()}
    save_file(tensors, file, {"format": "pt"})
    assert_the_same(opened(stored, exported), whole(stored, exported))


def test_numbers_that_are_kept_twice_are_left_to_the_plain_way(exported: Path, folder: Path) -> None:
    stored = store(folder, "BartForConditionalGeneration")
    file = stored / "model.safetensors"
    tensors = load_file(file)
    tensors["model.decoder.embed_tokens.weight"] = tensors["model.shared.weight"] + 1
    save_file(tensors, file, {"format": "pt"})
    assert opened(stored, exported) is None


def test_matrices_that_are_merged_on_loading_are_left_to_the_plain_way(exported: Path, folder: Path) -> None:
    mixtral = {**SIZES, "num_key_value_heads": 2, "num_local_experts": 2}
    config = transformers.MixtralConfig(vocab_size=300, pad_token_id=0, **mixtral)
    transformers.MixtralForCausalLM(config).save_pretrained(folder / "mixtral")
    with safe_open(folder / "mixtral" / "model.safetensors", "pt") as content:
        assert any(".experts.1." in name for name in content.keys())  # noqa: SIM118
    assert opened(folder / "mixtral", exported) is None


def test_weights_of_another_model_are_refused(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertModel")
    edit_config(stored, hidden_size=64)
    with pytest.raises(UserError, match="do not fit its config"):
        opened(stored, exported)


def test_a_folder_without_the_usual_files_is_left_to_the_plain_way(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertModel")
    (stored / "model.safetensors").rename(stored / "other.safetensors")
    assert opened(stored, exported) is None


def test_a_skeleton_is_the_model_without_numbers_and_draws_nothing(exported: Path, folder: Path) -> None:
    stored = store(folder, "BertModel")
    model = whole(stored, exported)
    encoder = make_tokenizer(pretrained(exported), TEXTS)
    before = torch.get_rng_state()
    empty = skeleton(pretrained(stored), TASK, encoder)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert [(n, p.shape, p.dtype) for n, p in empty.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in model.named_parameters()
    ]
    assert json.dumps(empty.config.to_dict(), default=str) == json.dumps(model.config.to_dict(), default=str)
