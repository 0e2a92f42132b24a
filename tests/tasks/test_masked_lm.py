import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, pipeline

from pipeline.data import tokenizer
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation.predict import predict
from pipeline.params import Hardware, Tokenizer, Train
from pipeline.tasks.base import Collation
from pipeline.tasks.masked_lm import MaskedLM
from pipeline.world import World
from tests.conftest import texts_and_labels

TASK = MaskedLM()
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TEXTS = [*texts_and_labels(300, 0)[0], "one", "[MASK]"]


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    return tokenizer.train(TEXTS, Tokenizer(vocab_size=320), tokenizer.ENCODER)


@pytest.fixture(scope="module")
def store(encoder: PreTrainedTokenizerFast) -> Store:
    rows = pa.table({"id": [f"x.csv:{row}" for row in range(len(TEXTS))], "text": TEXTS})
    return Store(TASK.encode(rows, encoder, TASK.settled(Tokenizer(max_seq_length=32, doc_stride=0)), False))


def collation(encoder: PreTrainedTokenizerFast, **settings: int | bool | Train) -> Collation:
    return Collation(BertConfig(pad_token_id=encoder.pad_token_id), encoder, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_a_share_of_each_text_is_to_be_found(store: Store, encoder: PreTrainedTokenizerFast, share: float) -> None:
    settings = Train(mlm_probability=share)
    everything = store.examples(np.arange(len(store)))
    batch = TASK.collate(everything, collation(encoder, train=settings))
    chosen = (batch.labels != -100).sum(dim=1).numpy()
    plain = np.array([(~np.isin(ids, encoder.all_special_ids)).sum() for ids in everything["input_ids"]])
    assert chosen.tolist() == [min(max(1, round(share * int(count))), count) for count in plain]
    assert TASK.count_targets(everything, settings) == chosen.sum()


def test_most_are_masked_some_replaced_and_the_rest_stays(store: Store, encoder: PreTrainedTokenizerFast) -> None:
    everything = store.examples(np.arange(len(store)))
    whole = TASK.collate(everything, collation(encoder, train=Train(mlm_probability=0.9)))
    read, labels = whole.inputs["input_ids"].numpy(), whole.labels.numpy()
    chosen = labels != -100
    masked = (read == encoder.mask_token_id)[chosen].mean()
    kept = (read == labels)[chosen].mean()
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)
    original = np.concatenate(everything["input_ids"])
    assert np.array_equal(np.where(chosen, labels, read)[whole.inputs["attention_mask"].bool().numpy()], original)
    assert not np.isin(labels[chosen], encoder.all_special_ids).any()


def test_each_epoch_hides_other_tokens_and_an_evaluation_the_same(
    store: Store, encoder: PreTrainedTokenizerFast
) -> None:
    some = store.examples(np.arange(50))
    first, again, second, seeded = (
        TASK.collate(some, collation(encoder, train=Train(seed=seed), training=True, epoch=epoch)).labels.tolist()
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert first != second
    assert first != seeded


def test_whatever_the_seed_of_the_training_it_is_judged_on_the_same_masks(
    store: Store, encoder: PreTrainedTokenizerFast
) -> None:
    some = store.examples(np.arange(50))
    one, other = (TASK.collate(some, collation(encoder, train=Train(seed=seed))) for seed in (1, 2))
    assert one.labels.tolist() == other.labels.tolist()
    assert one.inputs["input_ids"].tolist() == other.inputs["input_ids"].tolist()


def test_a_text_with_nothing_to_find_is_judged_and_not_trained_on(
    store: Store, encoder: PreTrainedTokenizerFast
) -> None:
    assert store.examples([len(TEXTS) - 1])["plain"].tolist() == [0]
    rows = pa.table({"id": ["x.csv:1", "x.csv:2"], "text": ["[MASK]", "a word"]})
    settings = TASK.settled(Tokenizer(max_seq_length=16))
    assert TASK.encode(rows, encoder, settings, True)["row"].to_pylist() == [1]
    assert TASK.encode(rows, encoder, settings, False)["row"].to_pylist() == [0, 1]


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    plain = tokenizer.train(TEXTS[:20], Tokenizer(vocab_size=300), tokenizer.DECODER)
    rows = pa.table({"id": ["x.csv:1"], "text": ["a"]})
    with pytest.raises(UserError, match="has no mask token"):
        TASK.encode(rows, plain, Tokenizer(), True)


def test_a_baseline_reads_the_token_on_the_left(store: Store, encoder: PreTrainedTokenizerFast) -> None:
    rows = pa.table({"id": ["x.csv:1"] * len(TEXTS), "text": TEXTS})
    found = TASK.baselines_on_tokens(store, store, rows, collation(encoder))
    singles, pairs = (TASK.scores(predictions) for predictions in found.values())
    assert pairs["perplexity"] < singles["perplexity"]
    assert pairs["token_accuracy"] > singles["token_accuracy"] > 0
    batch = TASK.collate(store.examples(np.arange(len(store))), collation(encoder))
    counted = np.bincount(np.concatenate(store.examples(np.arange(len(store)))["input_ids"]))
    counted[encoder.all_special_ids] = 0
    wanted = batch.labels[batch.labels != -100].numpy()
    assert singles["token_accuracy"] == pytest.approx((wanted == counted.argmax()).mean())


def test_whoever_asks_gets_what_a_fill_mask_pipeline_says(encoder: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SMALL, vocab_size=len(encoder), pad_token_id=encoder.pad_token_id)).eval()
    texts = ["good [MASK] fine", "sad [MASK] [MASK] " + "bad " * 12 + "[MASK]", "awful"]
    asked = TASK.unanswered(pa.table({"id": ["row 0", "row 1", "row 2"], "text": texts}))
    store = Store(TASK.encode(asked, encoder, TASK.settled(Tokenizer(max_seq_length=12, doc_stride=4)), False))
    assert len(store) > len(texts), "in windows"
    world = World.start(Hardware(use_cpu=True), "fp32")
    found = predict(model, TASK, store, asked, Collation(model.config, encoder), world, 64, "answer")
    first, second, third = TASK.answers(TASK.spelled(found, encoder), asked)
    (theirs,) = [pipeline("fill-mask", model=model, tokenizer=encoder, top_k=5)(texts[0])]
    assert [filling["token"] for filling in first["fillings"][0]] == [one["token_str"].strip() for one in theirs]
    assert [filling["score"] for filling in first["fillings"][0]] == pytest.approx([one["score"] for one in theirs])
    assert first["tokens"] == [first["fillings"][0][0]["token"]]
    assert [len(answer["fillings"]) for answer in (first, second, third)] == [1, 3, 0]


def test_a_mask_may_be_asked_for_by_the_name_of_bert(encoder: PreTrainedTokenizerFast) -> None:
    other = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.train(TEXTS, Tokenizer(vocab_size=320), tokenizer.ENCODER).backend_tokenizer,
        pad_token="[PAD]",
        mask_token="<mask>",
    )
    asked = TASK.unanswered(pa.table({"id": ["row 0"], "text": ["good [MASK]"]}))
    found = TASK.encode(asked, other, TASK.settled(Tokenizer()), False)
    assert found["input_ids"][0].as_py().count(other.mask_token_id) == 1
