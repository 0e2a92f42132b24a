import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import project
from pipeline.data.tokenizer import ENCODER_DECODER
from pipeline.data.tokenizer import train as train_tokenizer
from pipeline.errors import UserError
from pipeline.metrics import generated
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Evaluate, Hardware, Model, Params, Tokenizer
from pipeline.serving.predictor import Predictor
from pipeline.tasks.seq2seq import Seq2Seq
from pipeline.tasks.text_classification import MultiLabelClassification
from tests.conftest import texts_and_labels
from tests.serving.exported import LABELS, asked, export_tiny_model
from tests.tasks.cases import TINY_T5

SMALL = Hardware(use_cpu=True, num_threads=1, micro_batch_tokens=64)
TEXTS = texts_and_labels(40, seed=9, labels=3)[0]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny_model(tmp_path_factory.mktemp("single") / "best")


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny_model(tmp_path_factory.mktemp("double") / "best", text_columns=2)


def by_hand(folder: Path, *columns: list[str]) -> Iterator[tuple[str, float]]:
    """The answers of plain transformers, one text or pair at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for texts in zip(*columns, strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(*texts, truncation=True, max_length=16, return_tensors="pt")).logits
        probabilities = logits.softmax(-1)[0]
        best = int(probabilities.argmax())
        yield model.config.id2label[best], float(probabilities[best])


def test_answers_are_those_of_the_plain_model_in_the_order_of_the_texts(single: Path):
    answers = Predictor.load(single, SMALL).answer(asked(TEXTS))
    assert len({answer["label"] for answer in answers}) > 2, "the test needs texts that differ"
    for (label, probability), answer in zip(by_hand(single, TEXTS), answers, strict=True):
        assert answer["label"] == label
        assert answer["probability"] == pytest.approx(probability, abs=1e-5)


def test_answers_do_not_depend_on_the_micro_batches(single: Path):
    together = Predictor.load(single, SMALL.model_copy(update={"micro_batch_tokens": 4096})).answer(asked(TEXTS))
    for one, other in zip(Predictor.load(single, SMALL).answer(asked(TEXTS)), together, strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_labels_are_in_the_order_of_their_ids(single: Path):
    # Twelve labels: as strings, the keys of id2label would sort 10 before 2.
    assert Predictor.load(single, SMALL).task.labels == LABELS


def test_pairs(double: Path):
    texts, pairs = TEXTS[:5], TEXTS[5:10]
    answers = Predictor.load(double, SMALL).answer(asked(texts, pairs))
    for (label, probability), answer in zip(by_hand(double, texts, pairs), answers, strict=True):
        assert (answer["label"], answer["probability"]) == (label, pytest.approx(probability, abs=1e-5))


def test_an_empty_text_is_answered_and_no_text_is_not(single: Path):
    predictor = Predictor.load(single, SMALL)
    assert predictor.answer(asked([""]))[0]["label"] in LABELS
    assert predictor.answer(asked([])) == []


def test_a_column_that_is_missing_is_named(double: Path):
    predictor = Predictor.load(double, SMALL)
    with pytest.raises(UserError, match=r"reads text, text_pair; 'text_pair' is missing"):
        predictor.answer(asked(["a"]))


def test_an_unknown_task_names_the_nearest(tmp_path: Path):
    folder = export_tiny_model(tmp_path / "best")
    card = json.loads((folder / project.MODEL_CARD).read_text())
    (folder / project.MODEL_CARD).write_text(json.dumps(card | {"task": "text-clasification"}))
    with pytest.raises(
        UserError,
        match=r"reprise.json: there is no task 'text-clasification'; .*Did you mean 'text-classification'\?",
    ):
        Predictor.load(folder, SMALL)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x00garbage"])
def test_a_damaged_model_is_no_traceback(single: Path, tmp_path: Path, name: str, content: bytes | None):
    folder = tmp_path / "best"
    folder.mkdir()
    for file in single.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=r"holds no model|missing or damaged"):
        Predictor.load(folder, SMALL)


def test_rows_with_labels_that_the_model_never_heard_of_are_judged(single: Path, tmp_path: Path) -> None:
    sets = export_tiny_model(tmp_path / "best", kind=MultiLabelClassification)
    labels = ("new", *LABELS[::-1])
    for folder, ids, kind in (
        (single, [1, 0, 12], pa.int32()),
        (sets, [[1], [0, 3], []], pa.list_(pa.int32())),
    ):
        predictor = Predictor.load(folder, SMALL)
        rows = pa.table({"id": list("abc"), "text": TEXTS[:3], "label": pa.array(ids, kind)})
        task, found = predictor.judged(rows, labels)
        assert task.labels == (*LABELS, "new")
        assert np.isinf(found["loss"]).tolist() == [False, True, False], "a label that it cannot give"
        targets = task.columns(found)["target"].to_pylist()
        named = [sorted(labels[place] for place in of_row) if kind != pa.int32() else labels[of_row] for of_row in ids]
        assert [sorted(target) if isinstance(target, list) else target for target in targets] == named
        assert not task.right(found)[1]


def test_a_model_that_writes_answers_with_the_texts_of_plain_transformers(tmp_path: Path):
    params = Params(task="seq2seq", model=Model(config=TINY_T5), tokenizer=Tokenizer(vocab_size=400, max_seq_length=16))
    tokenizer = train_tokenizer(TEXTS, params.tokenizer, ENCODER_DECODER)
    task = Seq2Seq(source_prefix="write: ")
    torch.manual_seed(0)
    model = build(params, task, tokenizer)
    for weights in (weights for weights in model.parameters() if weights.ndim > 1):
        torch.nn.init.normal_(weights, std=0.5)  # small ones write one token again and again
    export(model, tokenizer, task, params, tmp_path / "best")
    asked_of_it = TEXTS[:6]
    wanted = []
    for text in asked_of_it:
        prompt = tokenizer(f"write: {text}", truncation=True, max_length=16, return_tensors="pt")
        made = model.eval().generate(prompt["input_ids"], num_beams=2, do_sample=False, max_new_tokens=5)
        wanted.append({"generated_text": tokenizer.decode(made[0], skip_special_tokens=True).strip()})
    assert len({answer["generated_text"] for answer in wanted}) > 1, "the test needs texts that differ"
    predictor = Predictor.load(tmp_path / "best", SMALL, Evaluate(num_beams=2, max_new_tokens=5))
    assert predictor.answer(asked(asked_of_it)) == wanted
    rows = pa.table({"id": [f"x#{row}" for row in range(6)], "text": asked_of_it, "target": TEXTS[1:7]})
    judged = predictor.judged(rows, ())[1]
    texts = [answer["generated_text"] for answer in wanted]
    assert task.scores(judged)["chrf"] == generated.scores(generated.statistics(texts, TEXTS[1:7]))["chrf"]
