"""A pretrained model is taken as it is, and a folder or a name that is none is refused before anything is computed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertModel,
)

from pipeline import model as models
from pipeline.errors import UserError
from pipeline.params import Tokenizer, Train
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.tiny_models import GPT2, TEXTS, built, edit_config, export_tiny, from_scratch, pretrained, refused


@pytest.fixture
def exported(folder: Path) -> Path:
    return export_tiny(folder)


def test_an_exported_model_can_be_trained_on(exported: Path) -> None:
    params = pretrained(exported)
    assert models.check(params, TextClassification) == []
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


def unlink(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names][-1]


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def edit(**values: Any) -> Callable[[Path], object]:
    return lambda folder: edit_config(folder, **values)


NO_MODEL = "is no model that transformers can load; it needs config.json and model.safetensors."
NO_TOKENIZER = "is no tokenizer that transformers can load; it needs tokenizer.json."
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (unlink("config.json"), NO_MODEL),
        (overwrite("config.json", b""), NO_MODEL),
        (overwrite("config.json", b"{"), NO_MODEL),
        (overwrite("config.json", b"{}"), NO_MODEL),
        (overwrite("config.json", b"[]"), NO_MODEL),
        (overwrite("config.json", b"\xff\xfe{"), NO_MODEL),
        (overwrite("config.json", POINTER), NO_MODEL),
        (edit(model_type="unheard-of"), "unheard-of"),
        (edit(hidden_size="big"), "Field 'hidden_size' expected int, got str"),
        (edit(num_attention_heads=5), "this bert model cannot be built"),
        (unlink("model.safetensors"), "has a config.json but no weights (*.safetensors)."),
        (overwrite("model.safetensors", POINTER), "git lfs pull"),
        (cut("model.safetensors"), "model.safetensors is not whole"),
        (unlink("tokenizer.json"), NO_TOKENIZER),
        (overwrite("tokenizer.json", b"{"), NO_TOKENIZER),
        (overwrite("tokenizer.json", b"{}"), NO_TOKENIZER),
        (overwrite("tokenizer.json", POINTER), NO_TOKENIZER),
        (unlink("tokenizer.json", "tokenizer_config.json"), "has no tokenizer (tokenizer.json)."),
        (edit(vocab_size=100), "the tokenizer has 300 tokens, the model's vocabulary 100."),
        (edit(max_position_embeddings=8), "the bert model has 8 positions"),
    ],
)
def test_a_folder_that_is_no_model_is_told_by_what_it_lacks(
    exported: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(exported)
    assert said in refused(pretrained(exported))


@pytest.mark.parametrize("values", [{"hidden_size": 64}, {"model_type": "electra"}])
def test_weights_of_another_model_are_not_drawn_anew_in_silence(exported: Path, values: dict[str, Any]) -> None:
    edit_config(exported, **values)
    with pytest.raises(UserError, match="do not fit its config"):
        built(pretrained(exported))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data/models/mini", "model.model_name_or_path: there is no folder data/models/mini. Did you mean 'minilm'?"),
        ("./minilm", "model.model_name_or_path: there is no folder ./minilm."),
        ("/no/such/folder", "model.model_name_or_path: there is no folder /no/such/folder."),
        ("a/b/c", "model.model_name_or_path: there is no folder a/b/c."),
        ("org/name", "neither a folder nor a model of the hub (or there is no network): org/name"),
        ("bert-base-uncased", "neither a folder nor a model of the hub (or there is no network): bert-base-uncased"),
        ("no name!", "neither a folder nor a model of the hub (or there is no network): no name!"),
    ],
)
def test_a_name_that_leads_nowhere(folder: Path, name: str, said: str) -> None:
    (folder / "data" / "models" / "minilm").mkdir(parents=True)
    assert refused(pretrained(name)).startswith(said) or said in refused(pretrained(name))


def test_a_folder_that_a_temporary_copy_lacks_says_what_to_add(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "data" / "models" / "mini").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(home))
    assert "dvc add data/models/mini, and commit data/models/mini.dvc" in refused(pretrained("data/models/mini"))


def test_a_tokenizer_by_its_own_name(exported: Path, folder: Path) -> None:
    params = from_scratch(GPT2, tokenizer_name="./models/best")
    assert models.check(params, TextClassification) == []
    model, encoder = built(params)
    assert model.config.vocab_size == len(encoder) == 300
    missing = from_scratch(GPT2, tokenizer_name="./models/bst")
    assert refused(missing) == "tokenizer.tokenizer_name: there is no folder ./models/bst. Did you mean 'best'?"


def test_a_tokenizer_larger_than_the_model_is_refused_and_says_what_to_do(exported: Path, folder: Path) -> None:
    larger = from_scratch(TINY_BERT, vocab_size=320)
    models.make_tokenizer(larger, TEXTS).save_pretrained(folder / "larger")
    tokenizer = Tokenizer(tokenizer_name="./larger", max_seq_length=16)
    params = pretrained(exported).model_copy(update={"tokenizer": tokenizer})
    said = refused(params)
    assert "do not fit" in said
    assert "Leave tokenizer.tokenizer_name null" in said


@pytest.mark.parametrize(("eos", "pads"), [("[SEP]", True), (None, False)])
def test_a_tokenizer_without_padding_pads_with_its_end_or_is_refused(
    exported: Path, folder: Path, eos: str | None, pads: bool
) -> None:
    file = exported / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings if eos is None else {**settings, "eos_token": eos}))
    params = from_scratch(GPT2, tokenizer_name="./models/best")
    if not pads:
        assert "has no padding token" in refused(params)
        return
    assert models.check(params, TextClassification) == []
    model, encoder = built(params)
    assert encoder.pad_token == "[SEP]"
    assert model.config.pad_token_id == encoder.pad_token_id is not None


# Warnings


def test_a_high_learning_rate_for_a_pretrained_model_is_a_warning(exported: Path) -> None:
    params = pretrained(exported)
    high = params.model_copy(update={"train": Train(learning_rate=2e-3)})
    (warning,) = models.check(high, TextClassification)
    assert warning.startswith("train.learning_rate 0.002 is high for a pretrained model")
    assert models.check(params.model_copy(update={"train": Train(learning_rate=5e-4)}), TextClassification) == []


@pytest.mark.parametrize("revision", [None, "main-of-today"])
def test_a_hub_model_without_a_revision_is_a_warning(
    exported: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    # As if the hub's model were in the cache.
    monkeypatch.setattr(models, "_located", lambda name, key: str(exported))
    found = models.check(pretrained("org/name", model_revision=revision), TextClassification)
    assert len(found) == (revision is None)
    assert all(warning.startswith("model.model_name_or_path is a hub name without a revision") for warning in found)
