"""Adapters: what trains, and that merged, loaded by peft or read back they say what they said in training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, BertModel, PreTrainedModel

from pipeline.errors import UserError
from pipeline.model.export import export
from pipeline.model.lora import adapt, is_adapted, merge, save_adapter
from pipeline.params import Lora, Model
from tests.model.tiny import TASK, built, pretrained

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
OTHER_NAMES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0},
    "bart": {
        "d_model": 16,
        **{f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")},
        **{f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")},
        "max_position_embeddings": 32,
    },
}
# (head, kind of model): what trains whole.
HEADS: dict[tuple[str, str], set[str]] = {
    ("ForSequenceClassification", "bert"): {"classifier"},
    ("ForSequenceClassification", "distilbert"): {"classifier", "pre_classifier"},
    ("ForSequenceClassification", "modernbert"): {"classifier", "head"},
    ("ForSequenceClassification", "roberta"): {"classifier"},
    ("ForSequenceClassification", "gpt2"): {"score"},
    ("ForTokenClassification", "deberta-v2"): {"classifier"},
    ("ForQuestionAnswering", "electra"): {"qa_outputs"},
    ("ForMultipleChoice", "roberta"): {"classifier"},
    ("ForMaskedLM", "bert"): set(),
    ("ForCausalLM", "llama"): set(),
    ("ForCausalLM", "gpt2"): set(),
    ("ForSeq2SeqLM", "t5"): set(),
    ("ForSeq2SeqLM", "bart"): set(),
    ("", "bert"): set(),
}
ANY = Model(config=None, model_name_or_path="data/models/any")


def auto(head: str) -> Any:
    return getattr(transformers, f"AutoModel{head}")


def tiny(head: str, kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}
    # Weights that are large enough for adapters to change the answers by more than rounding.
    sizes = {**OTHER_NAMES.get(kind, SIZES), "initializer_range": 0.5, "init_std": 0.3}
    model: PreTrainedModel = auto(head).from_config(AutoConfig.for_model(kind, vocab_size=50, **ids, **sizes))
    return model.eval()


def answers(model: PreTrainedModel, head: str) -> torch.Tensor:
    """What the model says first: logits or hidden states."""
    ids = torch.arange(4, 16).reshape(2, 6)
    inputs = {"input_ids": ids[None] if head == "ForMultipleChoice" else ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with torch.inference_mode():
        said: torch.Tensor = model(**inputs)[0]
    return said


def trained(model: PreTrainedModel) -> PreTrainedModel:
    """The model after something that has changed all that trains."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's, when it loads
@pytest.mark.parametrize("targets", [None, ["all-linear"]], ids=["usual", "all-linear"])
@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_merged_or_loaded_by_peft_it_says_what_it_said(
    tmp_path: Path, head: str, kind: str, targets: list[str] | None
) -> None:
    from peft import PeftModel

    model = tiny(head, kind)
    model.save_pretrained(tmp_path / "base")
    before = answers(model, head)
    adapt(model, Lora(r=4, target_modules=targets))
    torch.testing.assert_close(answers(model, head), before)  # an adapter starts as no change
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".modules_to_save.")[0] for name in trains if "lora_" not in name} == HEADS[head, kind]
    assert any("lora_" in name for name in trains)

    said = answers(trained(model), head)
    assert (said - before).abs().max() > 1e-2
    save_adapter(model, ANY, tmp_path / "adapter")
    base = auto(head).from_pretrained(tmp_path / "base")
    plain = {name for name, _ in base.named_parameters()}
    torch.testing.assert_close(answers(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), head), said)
    merge(model)
    assert not is_adapted(model)
    assert type(model) is type(base)
    assert (answers(model, head) - said).abs().max() < 1e-5 * said.abs().max()
    model.save_pretrained(tmp_path / "merged")
    again = auto(head).from_pretrained(tmp_path / "merged")
    assert torch.equal(answers(again, head), answers(model, head))
    assert {name for name, _ in again.named_parameters()} == plain


def test_what_the_files_have_no_weights_for_trains_whole(exported: Path) -> None:
    bare = exported.parent / "bare"
    body = BertModel.from_pretrained(exported, add_pooling_layer=False)
    body.save_pretrained(bare)
    for file in exported.glob("token*"):
        (bare / file.name).write_bytes(file.read_bytes())
    model, _ = built(pretrained(bare, lora=Lora()))
    trains = {name.partition(".modules_to_save.")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trains if "lora_" not in name} == {"bert.pooler.dense", "classifier"}
    model, _ = built(pretrained(exported, lora=Lora(target_modules=["value"], bias="lora_only")))
    assert {name for name, p in model.named_parameters() if p.requires_grad and "lora_" not in name} == {
        *(f"bert.encoder.layer.{layer}.attention.self.value.base_layer.bias" for layer in (0, 1)),
        *(f"classifier.modules_to_save.default.{name}" for name in ("weight", "bias")),
    }


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (
            {"target_modules": ["querry", "value"]},
            r"target_modules: no layer .* 'querry'. Did you mean 'query'\?\nThere",
        ),
        ({"target_modules": ["LayerNorm"]}, "LayerNorm is a LayerNorm, which has no adapters.\nName linear layers"),
        ({"modules_to_save": ["poler"]}, r"modules_to_save: no layer .* 'poler'. Did you mean 'pooler'\?"),
    ],
)
def test_a_layer_that_cannot_be_adapted_is_refused_by_name(lora: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        adapt(tiny("ForSequenceClassification", "bert"), Lora(**lora))


@pytest.mark.parametrize("lora", [{"target_modules": ["wte"]}, {"modules_to_save": ["lm_head"]}])
def test_weights_that_belong_to_two_layers_are_not_adapted_in_one(lora: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"is also the weight of another layer \(tied\)"):
        adapt(tiny("ForCausalLM", "gpt2"), Lora(**lora))
    adapt(tiny("ForSequenceClassification", "gpt2"), Lora(**lora) if "target_modules" in lora else Lora())


def test_the_export_holds_the_merged_model_and_the_adapter_and_no_path(exported: Path, tmp_path: Path) -> None:
    def made(name: Path | str, folder: Path) -> dict[str, bytes]:
        params = pretrained(name, lora=Lora(target_modules=["value", "query", "key"]))
        model, encoder = built(params)
        export(trained(model), encoder, TASK, params, folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    relative = exported.relative_to(Path.cwd())
    first, second = made(relative, Path("models/best")), made(relative, tmp_path / "elsewhere" / "best")
    assert first == second
    assert {name for name in first if name.startswith("adapter")} == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }
    config = json.loads(first["adapter/adapter_config.json"])
    assert config["base_model_name_or_path"] == str(relative)
    assert config["target_modules"] == ["key", "query", "value"]
    assert (config["task_type"], config["modules_to_save"], config["inference_mode"]) == (
        "SEQ_CLS",
        ["classifier"],
        True,
    )
    assert load_file("models/best/model.safetensors").keys() == load_file(exported / "model.safetensors").keys()
    named_by_its_place = made(exported.resolve(), Path("models/other"))
    assert named_by_its_place["model.safetensors"] == first["model.safetensors"]
    assert json.loads(named_by_its_place["adapter/adapter_config.json"])["base_model_name_or_path"] is None
    assert all(str(tmp_path).encode() not in content for content in named_by_its_place.values())
