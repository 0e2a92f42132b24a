"""A model that cannot work is refused before anything is computed; one that can is kept as a Hugging Face folder."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Encoder

from pipeline import model as models
from pipeline.data.store import Store, write
from pipeline.params import Data, Model, Params, Tokenizer
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.tiny_models import (
    ARCHITECTURES,
    GPT2,
    SIZES,
    TASK,
    TEXTS,
    built,
    edit_config,
    export_tiny,
    from_scratch,
    pretrained,
    refused,
)


@pytest.fixture
def exported(folder: Path) -> Path:
    return export_tiny(folder)


# From scratch


def logits_of(model: PreTrainedModel, encoder: Encoder, texts: list[str], tmp_path: Path) -> torch.Tensor:
    """(texts, labels) logits by way of the token store and the task, as in training."""
    rows = pa.table({"text": texts, "label": pa.array([0] * len(texts), pa.int32())})
    write(tmp_path / "x.arrow", [TASK.encode(rows, encoder, 16)])
    batch = TASK.collate(Store(tmp_path / "x.arrow").examples(range(len(texts))), encoder.pad_token_id)
    with torch.inference_mode():
        return model.eval()(**batch.inputs).logits


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_model_from_scratch_runs_and_padding_changes_nothing(folder: Path, kind: str) -> None:
    params = from_scratch(ARCHITECTURES[kind])
    assert models.check(params, TextClassification) == []
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


@pytest.mark.parametrize(
    ("kind", "has"),
    [("bert", True), ("electra", True), ("modernbert", False), ("distilbert", False), ("deberta-v2", False)],
)
def test_token_types_are_made_only_where_the_model_takes_them(folder: Path, kind: str, has: bool) -> None:
    encoder = models.make_tokenizer(from_scratch(ARCHITECTURES[kind]), TEXTS)
    encoder.save_pretrained(folder / "kept")
    for one in (encoder, AutoTokenizer.from_pretrained(folder / "kept")):
        assert ("token_type_ids" in one("a", "pair")) == has


def test_a_tokenizer_that_makes_token_types_by_its_class_does_not_where_the_model_takes_none(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "short", "text", "##s"]
    BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained("wordpiece")
    encoder = models.make_tokenizer(from_scratch(ARCHITECTURES["distilbert"], tokenizer_name="./wordpiece"), [])
    encoder.save_pretrained("kept")
    for one in (encoder, AutoTokenizer.from_pretrained("kept")):
        assert dict(one("short texts", "text")) == {"input_ids": [2, 5, 6, 7, 3, 6, 3], "attention_mask": [1] * 7}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "brt"}, "model.config.model_type: transformers knows no 'brt'. Did you mean 'bert'?"),
        ({"model_type": "modernber"}, "Did you mean 'modernbert'?"),
        ({"model_type": "bert", "hiden_size": 8}, "model.config.hiden_size is no key of a bert configuration."),
        ({"model_type": "bert", "hiden_size": 8}, "Did you mean 'hidden_size'?"),
        ({**GPT2, "n_heads": 8}, "model.config.n_heads is no key of a gpt2 configuration. Did you mean 'n_head'?"),
        ({**TINY_BERT, "hidden_size": "big"}, "Field 'hidden_size' expected int, got str (value: 'big')"),
        ({**TINY_BERT, "hidden_size": None}, "Field 'hidden_size' expected int, got NoneType (value: None)"),
        ({**TINY_BERT, "hidden_size": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**GPT2, "n_embd": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**ARCHITECTURES["electra"], "hidden_size": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**TINY_BERT, "num_attention_heads": 0}, "this bert model cannot be built: "),
        ({**TINY_BERT, "hidden_act": "gelo"}, "this bert model cannot be built: there is no 'gelo'"),
        ({**TINY_BERT, "hidden_dropout_prob": 3.0}, "dropout probability has to be between 0 and 1, but got 3.0"),
        ({"model_type": "modernbert", "classifier_pooling": "max"}, "expected one of ('cls', 'mean'), got max"),
        ({"model_type": "vit"}, "this vit model cannot be built: transformers has no AutoModelForSequenceClass"),
    ],
)
def test_a_config_that_makes_no_model_is_told_by_its_key(folder: Path, config: dict[str, Any], said: str) -> None:
    message = refused(from_scratch(config))
    assert message.startswith("params.yaml: ")
    assert said in message


def test_the_default_params_pass(folder: Path) -> None:
    assert models.check(Params(), TextClassification) == []


# Lengths


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("gpt2", 64), ("roberta", 62), ("distilbert", 512)])
def test_the_longest_text_that_the_model_takes(folder: Path, kind: str, limit: int) -> None:
    models.check(from_scratch(ARCHITECTURES[kind], max_seq_length=limit), TextClassification)
    assert refused(from_scratch(ARCHITECTURES[kind], max_seq_length=limit + 1)) == (
        f"params.yaml: tokenizer.max_seq_length is {limit + 1}, but the {kind} model has {limit} positions. "
        f"Set it to {limit} or less."
    )


@pytest.mark.parametrize("kind", ["bert", "roberta", "camembert", "xlm-roberta", "roberta-prelayernorm", "ibert"])
def test_the_positions_are_those_that_the_model_can_run(kind: str) -> None:
    config = AutoConfig.for_model(kind, **{**SIZES, "vocab_size": 50, "pad_token_id": 1})
    limit = models.positions(config)
    assert limit is not None
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.inference_mode():
        model(input_ids=torch.full((1, limit), 7))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 7))


# Kept


def test_the_export_is_a_plain_hugging_face_folder(folder: Path) -> None:
    params = Params(
        model=Model(config=TINY_BERT),
        tokenizer=Tokenizer(vocab_size=300, max_seq_length=16),
        data=Data(text_column_names=["one", "other"]),
    )
    model, encoder = built(params)
    models.export(model, encoder, params, Path("models/best"))
    loaded = AutoModelForSequenceClassification.from_pretrained("models/best")
    assert loaded.config.id2label == {0: "bad", 1: "good"}
    assert loaded.config.label2id == {"bad": 0, "good": 1}
    assert all(torch.equal(one, other) for one, other in zip(loaded.parameters(), model.parameters(), strict=True))
    again = AutoTokenizer.from_pretrained("models/best")
    assert dict(again("a text", "a pair")) == dict(encoder("a text", "a pair"))
    card = json.loads(Path("models/best/reprise.json").read_text())
    assert card == {"task": "text-classification", "text_columns": 2, "max_seq_length": 16}
    assert sorted(path.name for path in Path("models").iterdir()) == ["best"]
    same = models.load(Path("models/best"), TASK)
    assert all(torch.equal(one, other) for one, other in zip(same.parameters(), model.parameters(), strict=True))


def test_the_export_has_the_same_bytes_wherever_it_is_made(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    params = from_scratch(TINY_BERT)
    models.export(*built(params), params, Path("other"))
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == {
        path.name: path.read_bytes() for path in Path("other").iterdir()
    }
    texts = "".join(path.read_text() for path in exported.glob("*.json"))
    assert str(exported.parents[1]) not in texts


def test_an_export_that_breaks_off_leaves_the_earlier_model(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    params = from_scratch(TINY_BERT)
    model, encoder = built(params, seed=1)

    def full(*arguments: object, **options: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(encoder), "save_pretrained", full)
        with pytest.raises(OSError, match="No space"):
            models.export(model, encoder, params, exported)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    (exported.parent / "best.unfinished" / "stray.json").write_text("{}")
    models.export(model, encoder, params, exported)
    assert {path.name for path in exported.iterdir()} == set(before)
    assert (exported / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_the_digest_of_a_folder_is_its_content_and_of_a_hub_model_its_revision(exported: Path) -> None:
    params = pretrained(exported)
    before = models.model_digest(params)
    edit_config(exported, hidden_dropout_prob=0.2)
    assert models.model_digest(params) != before
    assert models.model_digest(pretrained("org/name", model_revision="a")) == {"model.model_name_or_path": "org/name@a"}
    assert models.model_digest(from_scratch(TINY_BERT)) == {}
