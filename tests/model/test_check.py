"""A model that cannot work is refused before anything is computed; what is probably not meant is a warning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors

from pipeline.model import config, tokenizer
from pipeline.model.check import check
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Evaluate, Hardware, Params, Tokenizer, Train
from pipeline.tasks.base import Task
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.multiple_choice import MultipleChoice
from pipeline.tasks.seq2seq import Seq2Seq
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    TEXTS,
    built,
    edit_config,
    from_scratch,
    pretrained,
    refused,
)


def test_the_default_params_pass(folder: Path) -> None:
    assert check(Params(), TextClassification) == []


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


def test_a_high_learning_rate_for_a_pretrained_model_is_a_warning(exported: Path) -> None:
    params = pretrained(exported)
    high = params.model_copy(update={"train": Train(learning_rate=2e-3)})
    (warning,) = check(high, TextClassification)
    assert warning.startswith("train.learning_rate 0.002 is high for a pretrained model")
    assert check(params.model_copy(update={"train": Train(learning_rate=5e-4)}), TextClassification) == []


def test_what_is_high_hangs_on_the_task(exported: Path) -> None:
    def said(rate: float, task: type[Task]) -> list[str]:
        params = pretrained(exported).model_copy(update={"train": Train(learning_rate=rate)})
        return [warning for warning in check(params, task) if "learning_rate" in warning]

    class Careful(TextClassification):  # type: ignore[misc]  # final, but for a test
        fine_tuning_rate = 1e-6

    (warning,) = said(5e-5, Careful)
    assert warning.endswith("may wipe out what it knows; 1e-06 is usual for this task.")
    assert said(9e-6, Careful) == said(5e-5, TextClassification) == []


@pytest.mark.parametrize("revision", [None, "main-of-today"])
def test_a_hub_model_without_a_revision_is_a_warning(
    exported: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    # As if the hub's model were in the cache.
    for module in (config, tokenizer):
        monkeypatch.setattr(module, "located", lambda name, key: str(exported))
    found = check(pretrained("org/name", model_revision=revision), TextClassification)
    assert len(found) == (revision is None)
    assert all(warning.startswith("model.model_name_or_path is a hub name without a revision") for warning in found)


def test_a_pretrained_model_with_a_foreign_tokenizer_is_a_warning(exported: Path, folder: Path) -> None:
    make_tokenizer(from_scratch(TINY_BERT), ["0123456789 " * 3]).save_pretrained(folder / "data/models/foreign")
    foreign = Tokenizer(tokenizer_name="data/models/foreign", max_seq_length=16)
    (warning,) = check(pretrained(exported).model_copy(update={"tokenizer": foreign}), TextClassification)
    assert warning.startswith("tokenizer.tokenizer_name data/models/foreign replaces the tokenizer that")


def test_the_padding_id_is_that_of_the_tokenizer(exported: Path) -> None:
    # ModernBERT's own, 50283, would lie beyond a foreign vocabulary of 300.
    params = from_scratch(ARCHITECTURES["modernbert"], tokenizer_name="data/models/tiny")
    assert check(params, TextClassification) == []


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_encoder_with_a_decoder_passes_with_a_tokenizer_that_ends_texts(folder: Path, kind: str) -> None:
    assert check(from_scratch(ARCHITECTURES[kind]), TextClassification) == []
    make_tokenizer(from_scratch(ARCHITECTURES["bert"]), TEXTS).save_pretrained("data/models/framing")
    assert check(from_scratch(ARCHITECTURES[kind], tokenizer_name="data/models/framing"), TextClassification) == []
    bare = make_tokenizer(from_scratch(ARCHITECTURES["gpt2"]), TEXTS)
    bare.backend_tokenizer.post_processor = processors.ByteLevel()
    bare.save_pretrained("data/models/bare")
    said = refused(from_scratch(ARCHITECTURES[kind], tokenizer_name="data/models/bare"))
    assert said.startswith(f"The tokenizer puts no end token behind a text, and a {kind} model looks for one.")


def test_a_pretrained_writer_that_starts_with_nothing_is_refused(folder: Path) -> None:
    model, encoder = built(from_scratch(ARCHITECTURES["bart"]))
    made = Path("data/models/writer")
    model.save_pretrained(made)
    encoder.save_pretrained(made)
    params = pretrained(made).model_copy(
        update={
            "tokenizer": Tokenizer(max_seq_length=16, max_target_length=16),
            "evaluate": Evaluate(max_new_tokens=16),
        }
    )
    assert check(params, Seq2Seq) == []
    edit_config(made, decoder_start_token_id=None)
    said = refused(params, Seq2Seq).splitlines()
    assert said[0] == "params.yaml: model: this bart model does not say what a text starts with."
    assert said[1].startswith("Set decoder_start_token_id in its config.json")
    assert check(params, TextClassification) == []


@pytest.mark.parametrize("task", [TextClassification, MultipleChoice])
def test_a_head_that_reads_padding_is_refused(folder: Path, task: type[Task]) -> None:
    small = {"model_type": "xlnet", "d_model": 32, "n_head": 2, "n_layer": 1, "d_inner": 64}
    said = refused(from_scratch(small), task)
    assert said.startswith("params.yaml: model: this xlnet model judges a text by summary_type: last. It takes padding")
    params = from_scratch({**small, "summary_type": "first"})
    assert check(params, task) == []


@pytest.mark.parametrize(("summary_type", "changes"), [("last", True), ("mean", True), ("first", False)])
def test_a_head_reads_padding_by_its_summary_type(folder: Path, summary_type: str, changes: bool) -> None:
    small = {"model_type": "xlnet", "d_model": 32, "n_head": 2, "n_layer": 1, "d_inner": 64}
    model, encoder = built(from_scratch({**small, "summary_type": summary_type}))
    encoder.padding_side = "right"
    with torch.inference_mode():
        alone, padded = (
            model.eval()(**encoder(texts, padding=True, return_tensors="pt")).logits[0]
            for texts in (TEXTS[:1], TEXTS[:2])
        )
    assert torch.allclose(alone, padded, atol=1e-6) != changes


@pytest.mark.parametrize(("kind", "width", "warned"), [("bloom", "hidden_size", True), ("gpt2", "n_embd", False)])
def test_a_model_that_cannot_keep_packed_texts_apart_is_a_warning(
    folder: Path, kind: str, width: str, warned: bool
) -> None:
    params = from_scratch({"model_type": kind, width: 32, "n_layer": 1, "n_head": 2})
    found = check(params.model_copy(update={"evaluate": Evaluate(max_new_tokens=16)}), CausalLM)
    assert [warning.split(",")[0] for warning in found] == [
        f"model: transformers cannot keep packed texts apart in a {kind} model"
    ] * warned


@pytest.mark.parametrize(
    ("kind", "warned"), [("convbert", True), ("fnet", True), ("nystromformer", True), ("bert", False)]
)
def test_a_model_that_reads_padding_is_a_warning(folder: Path, kind: str, warned: bool) -> None:
    small = {"model_type": kind, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64}
    if kind != "fnet":
        small |= {"num_attention_heads": 2}
    params = from_scratch(small)
    assert [warning.split(",")[0] for warning in check(params, TextClassification)] == [
        f"model: a {kind} model takes padding for tokens"
    ] * warned
    model, encoder = built(params)
    encoder.padding_side = "right"
    model.train(False)
    with torch.inference_mode():
        alone, padded = (
            model.base_model(**encoder(texts, padding=padding, max_length=32, return_tensors="pt"))[0][0]
            for texts, padding in ((TEXTS[:1], False), (TEXTS[:1], "max_length"))
        )
    assert torch.allclose(alone, padded[: len(alone)], atol=1e-5) != warned


def test_gradient_checkpointing_of_a_model_that_cannot_is_refused(folder: Path) -> None:
    small = {"model_type": "funnel", "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64, "block_sizes": [1, 1]}
    params = from_scratch(small)
    assert check(params, TextClassification) == []
    said = refused(params.model_copy(update={"hardware": Hardware(gradient_checkpointing=True)}))
    assert said == "hardware.gradient_checkpointing: a funnel model cannot do it. Set it to false."
