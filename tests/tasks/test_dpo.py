"""Preferences: the loss as a plain formula, which tokens count, and a reference that no resume changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from pipeline import digest, project
from pipeline.data import tokenizer
from pipeline.data.packing import NO_TARGET
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation import reference
from pipeline.params import Data, Params, Tokenizer, Train
from pipeline.tasks.base import Batch, Collation
from pipeline.tasks.dpo import DPO
from pipeline.training import checkpoint
from pipeline.training.train import train
from pipeline.world import World
from tests.conftest import TINY_BERT, texts_and_labels
from tests.tasks.cases import CASES, make

SETTINGS = Tokenizer(max_seq_length=64, over_length="truncate")
ASKED, BETTER, WORSE = "good or bad", "great fine lovely", "poor sad"


def raw(prompt: Any = ASKED, chosen: Any = BETTER, rejected: Any = WORSE, rows: int = 1, **more: Any) -> pa.Table:
    columns = {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}
    ids = {"id": [f"train.jsonl:{row + 1}" for row in range(rows)]}
    return pa.table(ids | {name: pa.array([value] * rows) for name, value in columns.items()})


def rows_of(table: pa.Table, data: Data | None = None) -> pa.Table:
    return DPO.fit({"train": table}, data or Data()).rows(table, data or Data())


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    texts = texts_and_labels(100, 0, labels=3)[0]
    return tokenizer.train(texts, Tokenizer(vocab_size=320), tokenizer.DECODER, chat=True)


@pytest.fixture(scope="module")
def model(encoder: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        **TINY_BERT | {"model_type": "llama"}, vocab_size=len(encoder), pad_token_id=encoder.pad_token_id
    )
    found: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return found


def batch_of(
    table: pa.Table, model: PreTrainedModel, encoder: PreTrainedTokenizerFast, said: dict[str, np.ndarray]
) -> Batch:
    store = Store(DPO().encode(rows_of(table), encoder, SETTINGS, False), said)
    return DPO().collate(store.examples(np.arange(len(store))), Collation(model.config, encoder))


@torch.no_grad()
def log_probability(model: PreTrainedModel, encoder: PreTrainedTokenizerFast, asked: str, reply: str) -> float:
    """Of a reply with the sign that ends it, by transformers alone, token by token."""
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    before = encoder.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=False)
    text = before + reply + encoder.eos_token
    ids = encoder(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    first = len(encoder(before, add_special_tokens=False)["input_ids"])
    found = model(input_ids=ids).logits[0].log_softmax(dim=-1)
    return sum(float(found[place - 1, ids[0, place]]) for place in range(first, ids.shape[1]))


def test_the_loss_is_the_formula_of_the_paper(model: PreTrainedModel, encoder: PreTrainedTokenizerFast) -> None:
    table = pa.concat_tables([raw(), raw("calm", "plain", "even flat calm good")])
    said = {"reference": np.array([1.5, -0.5], np.float32), "beta": np.full(2, 0.3, np.float32)}
    batch = batch_of(table, model, encoder, said)
    with torch.no_grad():
        loss = DPO().loss(model(**batch.inputs), batch, Train(beta=0.3)).item()
        found = DPO().predict(model(**batch.inputs), batch)
        before = DPO().reference_columns(model(**batch.inputs), batch, Train(beta=0.3))
    plain = 0.0
    for row, (asked, better, worse) in enumerate(
        zip(*(table[n].to_pylist() for n in table.column_names[1:]), strict=True)
    ):
        ours = log_probability(model, encoder, asked, better) - log_probability(model, encoder, asked, worse)
        margin = 0.3 * (ours - float(said["reference"][row]))
        plain += float(np.log1p(np.exp(-margin)))
        assert found["margin"][row].item() == pytest.approx(margin, abs=1e-4)
        assert found["right"][row].item() == (margin > 0)
        assert before["reference"][row].item() == pytest.approx(ours, abs=1e-4)
    assert loss == pytest.approx(plain, abs=1e-4)
    assert before["beta"].tolist() == pytest.approx([0.3, 0.3])
    scores = DPO().scores({name: values.numpy() for name, values in found.items()})
    assert scores["loss"] == pytest.approx(plain / 2, abs=1e-4)


def test_only_the_reply_is_a_target(encoder: PreTrainedTokenizerFast) -> None:
    earlier = [
        {"role": "user", "content": "good"},
        {"role": "assistant", "content": "sad awful"},
        {"role": "user", "content": "calm"},
    ]
    for prompt in (ASKED, earlier):
        examples = Store(DPO().encode(rows_of(raw(prompt)), encoder, SETTINGS, True)).examples([0])
        labels = np.split(examples["labels"][0], np.cumsum(examples["sizes"][0])[:-1])
        said = [encoder.decode(values[values != NO_TARGET]) for values in labels]
        assert said == [f"{reply}{encoder.eos_token}" for reply in (BETTER, WORSE)]


@pytest.mark.parametrize(
    ("columns", "data"),
    [
        ({"prompt": [{"role": "user", "content": ASKED}], "chosen": {"role": "assistant", "content": BETTER}}, None),
        ({"rejected": [{"from": "gpt", "value": WORSE}]}, None),
        # The prompt again before each reply, as in ultrafeedback_binarized.
        (
            {
                name: [{"role": "user", "content": ASKED}, {"role": "assistant", "content": reply}]
                for name, reply in (("chosen", BETTER), ("rejected", WORSE))
            },
            None,
        ),
        ({"question": ASKED}, Data(text_column_names=["question", "chosen", "rejected"])),
    ],
)
def test_texts_and_messages_are_the_same_rows(columns: dict[str, Any], data: Data | None) -> None:
    assert rows_of(raw(**columns), data).equals(rows_of(raw()))


def test_conversations_of_sharegpt_are_read() -> None:
    turns = [{"from": "human", "value": ASKED}]
    table = raw(chosen={"from": "gpt", "value": BETTER}, conversations=turns).drop_columns("prompt")
    assert rows_of(table).equals(rows_of(raw()))


def test_what_is_cut_off_is_counted_and_without_a_reply_nothing_is_learned(encoder: PreTrainedTokenizerFast) -> None:
    table = pa.concat_tables([raw(), raw(chosen=" ".join([BETTER] * 30)), raw(prompt=" ".join([ASKED] * 30))])
    rows = rows_of(table)
    whole = DPO().encode(rows, encoder, SETTINGS.model_copy(update={"max_seq_length": 2000}), False)
    assert whole["lost_targets"].to_pylist() == [0, 0, 0]
    cut = DPO().encode(rows, encoder, SETTINGS, False)
    assert cut["length"].to_pylist()[1:] == [128, 128]
    lost = cut["lost_targets"].to_pylist()
    assert lost[0] == 0 < lost[1]
    kept = [int((np.array(labels) != NO_TARGET).sum()) for labels in cut["labels"].to_pylist()]
    total = [int((np.array(labels) != NO_TARGET).sum()) for labels in whole["labels"].to_pylist()]
    assert [one + other for one, other in zip(kept, lost, strict=True)] == total
    assert kept[2] == 0
    assert DPO().encode(rows, encoder, SETTINGS, True)["row"].to_pylist() == [0, 1]
    drop = SETTINGS.model_copy(update={"over_length": "drop"})
    assert DPO().encode(rows, encoder, drop, True)["row"].to_pylist() == [0]
    stop = SETTINGS.model_copy(update={"over_length": "raise"})
    with pytest.raises(UserError, match=r"^train\.jsonl:1: prompt and reply have .* more than tokenizer\.max_seq"):
        DPO().encode(rows, encoder, stop, True)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (raw(chosen=" "), "the assistant says nothing"),
        (raw(rejected=5), "5 is neither a text nor a list of messages"),
        (raw(prompt=[{"role": "usher", "content": "x"}]), "Did you mean 'user'"),
    ],
)
def test_rows_without_two_replies_are_refused(table: pa.Table, told: str) -> None:
    with pytest.raises(UserError, match=told):
        DPO.check_columns(table, Data())


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


def run(params: Params, kill_at: int | None = None) -> None:
    def log(step: int, _: dict[str, float]) -> None:
        if step == kill_at:
            raise Killed

    world = World.start(params.hardware, params.train.precision)
    with checkpoint.hold("test", params.hardware.save_total_limit) as checkpoints:
        train(params, world, checkpoints, log)
        checkpoints.clear()


def test_a_resumed_training_compares_with_the_first_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.task == "dpo")
    make(case, folder)
    params = case.whole_params()
    asked: list[reference.Reference] = []
    ask = reference.ask
    monkeypatch.setattr(reference, "ask", lambda *values: asked.append(ask(*values)) or asked[-1])
    run(params)
    whole = digest.of_folder(project.BEST_MODEL)
    (first,) = asked
    kept = reference.kept(project.BEST_MODEL)
    assert set(kept) == {f"{split}.{name}" for split in ("validation", "test") for name in ("reference", "beta")}
    assert all(np.array_equal(values, first[name]) for name, values in kept.items())
    with pytest.raises(Killed):
        run(params, kill_at=8)
    run(params)
    assert len(asked) == 2, "not asked again by the training that went on"
    assert digest.of_folder(project.BEST_MODEL) == whole
