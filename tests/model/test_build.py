"""A model with the task's head: fresh weights by the seed, or pretrained ones as they are."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertModel,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Encoder

from pipeline.data.store import Store, write
from pipeline.errors import UserError
from pipeline.model.check import check
from pipeline.params import Tokenizer
from pipeline.tasks.base import Collation
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    TASK,
    TEXTS,
    built,
    edit_config,
    from_scratch,
    pretrained,
)


def logits_of(model: PreTrainedModel, encoder: Encoder, texts: list[str], tmp_path: Path) -> torch.Tensor:
    """(texts, labels) logits by way of the token store and the task, as in training."""
    rows = pa.table({"id": texts, "text": texts, "label": pa.array([0] * len(texts), pa.int32())})
    write(tmp_path / "x.arrow", [TASK.encode(rows, encoder, Tokenizer(max_seq_length=16), False)])
    batch = TASK.collate(Store(tmp_path / "x.arrow").examples(range(len(texts))), Collation(model.config, encoder))
    with torch.inference_mode():
        return model.eval()(**batch.inputs).logits


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_model_from_scratch_runs_and_padding_changes_nothing(folder: Path, kind: str) -> None:
    params = from_scratch(ARCHITECTURES[kind])
    assert check(params, TextClassification) == []
    model, encoder = built(params)
    assert model.config.model_type == kind
    assert model.config.vocab_size == len(encoder) == 300
    assert model.config.pad_token_id == encoder.pad_token_id
    assert model.config.id2label == {0: "bad", 1: "good"}
    together = logits_of(model, encoder, TEXTS[:3], folder)
    alone = torch.cat([logits_of(model, encoder, [text], folder) for text in TEXTS[:3]])
    assert together.shape == (3, 2)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_seed_draws_the_weights(folder: Path) -> None:
    drawn = [built(from_scratch(TINY_BERT), seed=seed)[0] for seed in (1, 1, 2)]
    weights = [torch.cat([parameter.flatten() for parameter in model.parameters()]) for model in drawn]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_exported_model_can_be_trained_on(exported: Path) -> None:
    params = pretrained(exported)
    assert check(params, TextClassification) == []
    model, encoder = built(params, seed=99)
    kept = load_file(exported / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in model.state_dict().items())
    assert encoder.model_max_length == 16


def test_a_head_for_other_labels_is_drawn_anew_on_the_same_body(exported: Path) -> None:
    params, task = pretrained(exported), TextClassification(("a", "b", "c"))
    (model, _), (again, _) = built(params, task, seed=5), built(params, task, seed=5)
    kept = load_file(exported / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert name.startswith("classifier") or torch.equal(tensor, kept[name])
    assert model.classifier.weight.shape == (3, 32)
    assert model.classifier.weight.std() > 0
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_model_without_a_head_gets_one(exported: Path, folder: Path) -> None:
    bare = folder / "bare"
    shutil.copytree(exported, bare)
    BertModel.from_pretrained(exported).save_pretrained(bare)
    model, _ = built(pretrained(bare))
    kept = load_file(exported / "model.safetensors")
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, kept["bert.embeddings.word_embeddings.weight"])


def test_half_precision_weights_are_trained_in_fp32(exported: Path) -> None:
    file = exported / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    edit_config(exported, dtype="float16")
    assert {parameter.dtype for parameter in built(pretrained(exported))[0].parameters()} == {torch.float32}


@pytest.mark.parametrize("values", [{"hidden_size": 64}, {"model_type": "electra"}])
def test_weights_of_another_model_are_not_drawn_anew_in_silence(exported: Path, values: dict[str, Any]) -> None:
    edit_config(exported, **values)
    with pytest.raises(UserError, match="do not fit its config"):
        built(pretrained(exported))
