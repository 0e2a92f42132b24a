from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from pipeline.data import tokenizer
from pipeline.data.packing import SEPARATING, pack
from pipeline.data.store import Store
from pipeline.params import Tokenizer, Train
from pipeline.tasks.base import Collation
from pipeline.tasks.causal_lm import CausalLM

TASK = CausalLM()
TEXTS = ["a b c", "", "d e f g h i j k l m n o p q r s t", "u v w x", "y z a b c d e f g"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
OLDER = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
OTHER_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": OLDER,
    "gptj": OLDER | {"rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 4,
        "max_position_embeddings": 32,
    },
    "gpt_neox": {name: SIZES[name] for name in SIZES if name not in ("head_dim", "num_key_value_heads")},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "opt": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
    },
    **{kind: SIZES | {"sliding_window": 4} for kind in ("mistral", "gemma2", "gemma3_text")},
}


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    return tokenizer.train(TEXTS * 20, Tokenizer(vocab_size=300), tokenizer.DECODER)


def examples(encoder: PreTrainedTokenizerFast, training: bool = False) -> pa.Table:
    rows = pa.table({"id": [f"x.csv:{row}" for row in range(len(TEXTS))], "text": TEXTS})
    return TASK.encode(rows, encoder, TASK.settled(Tokenizer(max_seq_length=12, doc_stride=2)), training)


def model_of(kind: str, encoder: PreTrainedTokenizerFast) -> PreTrainedModel:
    special = {f"{name}_token_id": getattr(encoder, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = AutoConfig.for_model(kind, **OTHER_SIZES.get(kind, SIZES), vocab_size=len(encoder), **special)
    for key, value in TASK.head()[1].items():
        setattr(config, key, value)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    model.train(False)
    return model


@pytest.mark.parametrize("kind", [*sorted(SEPARATING), "bloom", "opt"])
def test_texts_of_an_example_are_kept_apart(kind: str, encoder: PreTrainedTokenizerFast) -> None:
    model = model_of(kind, encoder)
    collation = Collation(model.config, encoder)
    single = Store(examples(encoder, training=True))
    trained = Store(pack(examples(encoder, training=True), 12)) if kind in SEPARATING else single
    assert (len(trained) < len(single)) == (kind in SEPARATING)
    batch = TASK.collate(trained.examples(np.arange(len(trained))), collation)
    with torch.no_grad():
        together = TASK.loss(model(**batch.inputs), batch, Train(label_smoothing_factor=0.0))
        alone = 0.0
        for place in range(len(single)):
            tokens = torch.from_numpy(single.examples([place])["input_ids"][0].astype(np.int64))[None]
            labels = torch.from_numpy(single.examples([place])["labels"][0].astype(np.int64))
            logits = model(input_ids=tokens).logits[0]
            wanted = labels != -100
            alone += torch.nn.functional.cross_entropy(logits[wanted], labels[wanted], reduction="sum").item()
    assert together.item() == pytest.approx(alone, rel=1e-5)


def test_a_document_is_framed_and_its_first_token_is_no_target(encoder: PreTrainedTokenizerFast) -> None:
    first, empty, *_ = examples(encoder).to_pylist()
    assert first["input_ids"][0] == encoder.bos_token_id
    assert first["input_ids"][-1] == encoder.eos_token_id
    assert first["labels"] == [*first["input_ids"][1:], -100]
    assert empty["input_ids"] == [encoder.bos_token_id, encoder.eos_token_id]


def test_whoever_asks_gets_what_goes_on_behind_the_text(encoder: PreTrainedTokenizerFast) -> None:
    rows = pa.table({"id": ["row 0"], "text": ["a b c"]})
    (prompt,) = TASK.prompts(rows, encoder, Tokenizer())
    assert prompt == examples(encoder)["input_ids"][0].as_py()[:-1], "the text is not ended"
    assert TASK.answers({}, rows.append_column("generated", pa.array(["d e"]))) == [{"generated_text": "d e"}]


def test_a_tokenizer_without_ends_leaves_the_first_token_unjudged(encoder: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=encoder.backend_tokenizer, pad_token=encoder.pad_token)
    found = examples(bare)
    assert found["row"].to_pylist()[:2] == [0, 1], "a text without tokens has an example as well"
    assert found["targets"].to_pylist()[:2] == [len(found["input_ids"][0]) - 1, 0]


def test_windows_add_up_to_their_document(encoder: PreTrainedTokenizerFast) -> None:
    rows = pa.table({"id": [f"x.csv:{row}" for row in range(len(TEXTS))], "text": TEXTS})
    store = Store(examples(encoder))
    found = {"loss": np.ones(len(store)), "targets": store.examples(np.arange(len(store)))["targets"]}
    merged = TASK.merge(found, store, rows)
    whole = [len(encoder(text, add_special_tokens=False)["input_ids"]) + 1 for text in TEXTS]
    assert merged["targets"].tolist() == whole
    assert merged["loss"].tolist() == np.bincount(store.rows).tolist()
    assert merged["bytes"].tolist() == [len(text) for text in TEXTS]


def test_more_context_makes_a_better_baseline(encoder: PreTrainedTokenizerFast) -> None:
    rows = pa.table({"id": ["x.csv:1"] * 5, "text": TEXTS})
    train = Store(pack(examples(encoder, training=True), 12))
    found = TASK.baselines_on_tokens(train, Store(examples(encoder)), rows, Collation(None, encoder))  # type: ignore[arg-type]
    scores = [TASK.scores(predictions)["perplexity"] for predictions in found.values()]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
