"""Parts that do not train, by their names."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from pipeline.model.check import check
from pipeline.model.trained import choose, count
from pipeline.params import Lora, Model, Train
from pipeline.tasks.text_classification import TextClassification
from tests.model.test_lora import tiny
from tests.model.tiny import pretrained, refused

BERT = ("ForSequenceClassification", "bert")


def frozen(head: str, kind: str, *names: str) -> set[str]:
    model = tiny(head, kind)
    choose(model, Model(freeze=list(names)))
    found = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    trains, every = count(model)
    assert every - trains == sum(model.get_parameter(name).numel() for name in found) > 0
    return found


def test_a_part_is_frozen_by_its_name_in_the_model_or_in_its_body() -> None:
    assert frozen(*BERT, "embeddings") == frozen(*BERT, "bert.embeddings")
    assert all(name.startswith("bert.embeddings.") for name in frozen(*BERT, "embeddings"))
    assert frozen(*BERT, "embeddings", "classifier") - frozen(*BERT, "embeddings") == {
        "classifier.weight",
        "classifier.bias",
    }
    # A name is whole: layer.1 is not layer.10, and no part of a word.
    with pytest.raises(UserError, match=r"called 'encoder\.lay'\."):
        frozen(*BERT, "encoder.lay")


def test_a_tied_weight_is_frozen_with_either_name() -> None:
    assert "transformer.wte.weight" in frozen("ForCausalLM", "gpt2", "lm_head")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"called 'embedings'\. Did you mean 'embeddings'\?\nThere are embeddings, encoder, pooler, cl"
    ):
        frozen(*BERT, "embedings")


def test_something_must_be_left_to_train() -> None:
    with pytest.raises(UserError, match="nothing is left to train"):
        frozen(*BERT, "bert", "classifier")


def test_two_weights_of_four_bits_lie_in_a_byte() -> None:
    model = torch.nn.Module()
    model.packed = torch.nn.Parameter(torch.zeros(50, dtype=torch.uint8), requires_grad=False)
    model.whole = torch.nn.Parameter(torch.zeros(7))
    assert count(model) == (7, 107)


def test_check_finds_wrong_names_before_anything_is_computed(exported: Path) -> None:
    assert "no part of the model is called 'layer'" in refused(pretrained(exported, freeze=["layer"]))
    assert "Did you mean 'query'?" in refused(pretrained(exported, lora=Lora(target_modules=["qery"])))
    assert "Set it to false." in refused(pretrained(exported, lora=Lora(), load_in_4bit=True))
    # What would wipe out a whole model is usual for adapters.
    adapted = pretrained(exported, lora=Lora()).model_copy(update={"train": Train(learning_rate=2e-3)})
    assert not any("learning_rate" in warning for warning in check(adapted, TextClassification))
