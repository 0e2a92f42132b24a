from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import LabelSmoother

from pipeline.data import tokenizer as tokenizers
from pipeline.data.rows import with_source
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.metrics import generated
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import Collation
from pipeline.tasks.seq2seq import Seq2Seq
from tests.tasks.cases import TINY_T5

SETTINGS = Tokenizer(
    vocab_size=300, max_seq_length=40, max_target_length=6, over_length="truncate", do_lower_case=False
)
SOURCES = ["one two three four", "a dog runs", "no more of it"]
TARGETS = ["four three two one and so on", "runs", "it of more"]
ROWS = pa.table({"id": ["x#1", "x#2", "x#3"], "text": SOURCES, "target": TARGETS})


def data(**named: object) -> Data:
    return Data(dataset_name=None, train_file="data/raw/x.jsonl", **named)  # type: ignore[arg-type]


def raw(**columns: list[object]) -> pa.Table:
    ids = [f"x.jsonl:{row + 1}" for row in range(len(next(iter(columns.values()))))]
    return with_source(pa.table({"id": ids, **columns}), "data/raw/x.jsonl")


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerBase:
    return tokenizers.train([*SOURCES, *TARGETS] * 5, SETTINGS, tokenizers.ENCODER_DECODER)


SPOKEN = [{"en": "A dog.", "de": "Ein Hund.", "fr": "Un chien."}, {"en": "Two.", "de": "Zwei.", "fr": "Deux."}]


@pytest.mark.parametrize(
    ("named", "source", "target"),
    [
        ({}, "en", "de"),
        ({"text_column_names": "fr"}, "fr", "en"),
        ({"label_column_name": "fr"}, "en", "fr"),
        ({"text_column_names": "de", "label_column_name": "en"}, "de", "en"),
    ],
)
def test_translations_are_taken_apart_by_language(named: dict[str, str], source: str, target: str) -> None:
    rows = Seq2Seq().rows(raw(translation=SPOKEN), data(**named))
    assert rows["text"].to_pylist() == [row[source] for row in SPOKEN]
    assert rows["target"].to_pylist() == [row[target] for row in SPOKEN]


def test_columns_of_their_own_are_two_texts() -> None:
    table = raw(de=["Ein Hund."], en=["A dog."])
    rows = Seq2Seq().rows(table, data(text_column_names="de", label_column_name="en"))
    assert (rows["text"].to_pylist(), rows["target"].to_pylist()) == (["Ein Hund."], ["A dog."])


@pytest.mark.parametrize(
    ("table", "named", "said"),
    [
        (raw(translation=SPOKEN), {"text_column_names": "enn"}, r"'enn' is no language .* Did you mean 'en'"),
        (raw(translation=SPOKEN), {"label_column_name": "frr"}, r"data.label_column_name: 'frr' is no language"),
        (raw(translation=["A dog.", "Two."]), {}, r"x.jsonl, line 1: the column 'translation' \(string\) is no"),
        (raw(text=["a", "b"], target=["c", " "]), {}, r"x.jsonl, line 2: the text to write, 'target', is empty"),
        (raw(text=["a", "b"], target=["c", None]), {}, r"line 2: the text to write, 'target', is empty"),
        (raw(a=["a"], b=["b"], target=["c"]), {"text_column_names": ["a", "b"]}, "2 columns; this task reads one"),
    ],
)
def test_what_is_no_pair_of_texts_is_told(table: pa.Table, named: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Seq2Seq.check_columns(table, data(**named))


def test_a_target_that_is_cut_off_is_counted(encoder: PreTrainedTokenizerBase) -> None:
    whole = [len(ids) for ids in encoder(TARGETS)["input_ids"]]
    assert whole[0] > 6 > whole[1]
    found = Seq2Seq().encode(ROWS, encoder, SETTINGS, training=True)
    assert found["targets"].to_pylist() == [min(length, 6) for length in whole]
    assert found["lost_targets"].to_pylist() == [max(length - 6, 0) for length in whole]
    assert found["labels"].to_pylist()[0][-1] == encoder.eos_token_id, "a text that was cut off ends all the same"
    sources = [len(ids) for ids in found["input_ids"].to_pylist()]
    assert found["length"].to_pylist() == (np.array(sources) + found["targets"].to_numpy()).tolist()
    assert Store(found).truncation(3)["lost_targets"] == sum(found["lost_targets"].to_pylist()) > 0


def test_a_target_that_is_too_long_is_dropped_from_training_or_refused(encoder: PreTrainedTokenizerBase) -> None:
    drop, refuse = (SETTINGS.model_copy(update={"over_length": how}) for how in ("drop", "raise"))
    kept = [row for row, ids in enumerate(encoder(TARGETS)["input_ids"]) if len(ids) <= 6]
    assert 0 < len(kept) < 3
    assert Seq2Seq().encode(ROWS, encoder, drop, training=True)["row"].to_pylist() == kept
    assert len(Seq2Seq().encode(ROWS, encoder, drop, training=False)) == 3
    with pytest.raises(UserError, match=r"x#1: the text to write has \d+ tokens, more than tokenizer.max_target_"):
        Seq2Seq().encode(ROWS, encoder, refuse, training=True)


def test_the_prefix_stands_before_every_source(encoder: PreTrainedTokenizerBase) -> None:
    task = Seq2Seq.fit({"train": raw(text=SOURCES, target=TARGETS)}, data(source_prefix="reverse: "))
    assert Seq2Seq.of_state(task.state()) == task
    prefixed = [f"reverse: {text}" for text in SOURCES]
    assert list(task.vocabulary(ROWS)) == [*prefixed, *TARGETS]
    wanted = encoder(prefixed)["input_ids"]
    assert task.encode(ROWS, encoder, SETTINGS, training=True)["input_ids"].to_pylist() == wanted
    assert task.prompts(ROWS, encoder, SETTINGS) == wanted


def test_smoothing_is_that_of_transformers(encoder: PreTrainedTokenizerBase) -> None:
    task = Seq2Seq()
    tokens = {name: getattr(encoder, name) for name in ("pad_token_id", "eos_token_id")}
    config = AutoConfig.for_model(
        **TINY_T5, vocab_size=len(encoder), decoder_start_token_id=encoder.pad_token_id, **tokens
    )
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    examples = Store(task.encode(ROWS, encoder, SETTINGS, training=True)).examples([0, 1, 2])
    batch = task.collate(examples, Collation(config, encoder))
    start, *shifted = batch.inputs["decoder_input_ids"][0].tolist()
    assert (start, shifted) == (encoder.pad_token_id, examples["labels"][0][:-1].tolist())
    settings = Train(label_smoothing_factor=0.2)
    with torch.no_grad():
        outputs = model(**batch.inputs)
        theirs = LabelSmoother(epsilon=0.2)(outputs, batch.labels)
        ours = task.loss(outputs, batch, settings) / task.count_targets(examples, settings)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_baselines_are_judged_as_the_model_is() -> None:
    train = pa.table({"text": ["a dog walks", "more of the same", "seven"], "target": ["walks", "same", "7"]})
    found = Seq2Seq().baselines(train, ROWS)
    texts = {
        "the source itself": SOURCES,
        "first 1 words of the source": ["one", "a", "no"],
        "target of the most alike source in training": ["walks", "walks", "same"],
    }
    assert list(found) == list(texts)
    for name, said in texts.items():
        assert Seq2Seq().scores(found[name]) == generated.scores(generated.statistics(said, TARGETS))
    signs = train.set_column(0, "text", [["☃"] * 3])
    assert list(Seq2Seq().baselines(signs, ROWS)) == list(texts)[:2], "nothing is alike where there are no words"


def test_the_report_shows_texts_from_the_worst_to_the_best() -> None:
    written = ROWS.append_column("generated", pa.array(["four three two one and so on", "", "it of much"]))
    predictions = Seq2Seq().with_texts({}, written)
    (view,) = replace(Seq2Seq(), source_prefix="> ").views(written, predictions, 2)
    assert [(row[0], *row[2:]) for row in view.rows] == [
        ("x#2", "runs", "", "> a dog runs"),
        ("x#1", TARGETS[0], TARGETS[0], "> one two three four"),
    ]
    assert [column.title for column in view.columns if column.is_text] == ["Reference", "Generated", "Source"]
    assert [row[1] for row in view.rows] == [0.0, 100.0]
