"""A model that cannot work is refused before anything is computed; one that can is kept as a Hugging Face folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Encoder

from pipeline import model as models
from pipeline.data.store import Store, write
from pipeline.errors import UserError
from pipeline.params import Data, Model, Params, Tokenizer, Train
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT

TASK = TextClassification(("bad", "good"))
TEXTS = ["a short one", "a text that is a good deal longer, with rather different words in it", "one more"] * 10
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
ALIKE = ("bert", "roberta", "modernbert", "deberta-v2", "electra", "llama")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    **{kind: {"model_type": kind, **SIZES} for kind in ALIKE},
    "distilbert": {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "gpt2": GPT2,
}


def from_scratch(config: dict[str, Any], **tokenizer: Any) -> Params:
    settings = {"vocab_size": 300, "max_seq_length": 16, **tokenizer}
    return Params(model=Model(config=config), tokenizer=Tokenizer.model_validate(settings))


def pretrained(name: Path | str, *, max_seq_length: int = 16, **model: Any) -> Params:
    return Params(
        model=Model(config=None, model_name_or_path=str(name), **model),
        tokenizer=Tokenizer(max_seq_length=max_seq_length),
        train=Train(learning_rate=2e-5),
    )


def built(params: Params, task: TextClassification = TASK, seed: int = 0) -> tuple[PreTrainedModel, Encoder]:
    encoder = models.make_tokenizer(params, TEXTS)
    torch.manual_seed(seed)
    return models.build(params, task, encoder), encoder


def refused(params: Params) -> str:
    """What `check` says."""
    with pytest.raises(UserError) as caught:
        models.check(params, TextClassification)
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    assert all(len(line) < 350 for line in message.splitlines())
    return message


@pytest.fixture
def exported(folder: Path) -> Path:
    """A tiny BERT as the train stage exports it."""
    params = from_scratch(TINY_BERT)
    models.export(*built(params), params, folder / "models" / "best")
    return folder / "models" / "best"


def edit_config(model_folder: Path, **values: Any) -> None:
    file = model_folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


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


# Pretrained


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
