"""What every task promises the loop and the stages; no task is known by its name here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from pipeline import project
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.model.build import build
from pipeline.params import Data, Params
from pipeline.tasks import find, names
from pipeline.tasks.base import Task


@pytest.fixture(params=names())
def task(request: pytest.FixtureRequest, tokenized: Path) -> Task:
    return find(request.param).load(project.PREPARED)


@pytest.fixture
def model(task: Task, tiny_params: Params) -> "transformers.PreTrainedModel":
    torch.manual_seed(0)
    return build(tiny_params, task, transformers.AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")).eval()


def store(split: str = "validation") -> Store:
    return Store(project.TOKENIZED / f"{split}.arrow")


def test_the_loss_is_what_the_hugging_face_model_computes(task: Task, model: "transformers.PreTrainedModel") -> None:
    for index in range(8):
        examples = store().examples([index])
        batch = task.collate(examples, model.config.pad_token_id)
        with torch.no_grad():
            theirs = model(**batch.inputs, labels=batch.labels).loss
            ours = task.loss(model(**batch.inputs).logits, batch.labels) / task.count_targets(examples)
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_padding_changes_no_prediction(task: Task, model: "transformers.PreTrainedModel") -> None:
    some = np.arange(12)
    together = task.collate(store().examples(some), model.config.pad_token_id)
    assert len(set(store().lengths[some])) > 1, "the batch is padded"
    with torch.no_grad():
        joint = task.predict(model(**together.inputs).logits, together.labels)
        for index in some:
            alone = task.collate(store().examples([index]), model.config.pad_token_id)
            single = task.predict(model(**alone.inputs).logits, alone.labels)
            for name, values in single.items():
                torch.testing.assert_close(values[0], joint[name][index], atol=1e-5, rtol=1e-5)


def test_the_loss_is_a_sum_over_targets(task: Task, model: "transformers.PreTrainedModel") -> None:
    examples = store().examples(np.arange(10))
    batch = task.collate(examples, model.config.pad_token_id)
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        for smoothing in (0.0, 0.1):
            parts = sum(task.loss(logits[[i]], batch.labels[[i]], smoothing).item() for i in range(10))
            assert task.loss(logits, batch.labels, smoothing).item() == pytest.approx(parts, rel=1e-5)


def test_predictions_have_the_columns_that_the_report_reads(task: Task, model: "transformers.PreTrainedModel") -> None:
    batch = task.collate(store().examples(np.arange(10)), model.config.pad_token_id)
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        columns = {name: values.numpy() for name, values in task.predict(logits, batch.labels).items()}
    assert {"target", "prediction", "score", "loss"} <= set(columns)
    assert all(len(values) == 10 for values in columns.values())
    scores = task.scores(columns)
    assert tuple(scores) == (*task.score_names, "loss")
    answers = task.answers(logits)
    assert len(answers) == 10
    assert json.dumps(answers)


def test_perfect_predictions_score_best(task: Task, model: "transformers.PreTrainedModel") -> None:
    batch = task.collate(store().examples(np.arange(50)), model.config.pad_token_id)
    with torch.no_grad():
        columns = {k: v.numpy() for k, v in task.predict(model(**batch.inputs).logits, batch.labels).items()}
    perfect = task.scores(columns | {"prediction": columns["target"]})
    assert [perfect[name] for name in task.score_names] == [1.0] * len(task.score_names)


def test_baselines_answer_every_row_in_order(task: Task) -> None:
    train, test = (pq.read_table(project.PREPARED / f"{split}.parquet") for split in ("train", "test"))
    found = task.baselines(train, test)
    assert len(found) >= 2
    for predictions in found.values():
        assert np.array_equal(predictions["target"], test["label"].to_numpy())
        assert set(task.scores(predictions)) == {*task.score_names, "loss"}
    first, *_, strongest = found.values()
    assert task.scores(strongest)[task.score_names[0]] > task.scores(first)[task.score_names[0]]


def test_encoding_keeps_order_and_counts_what_it_cuts(task: Task, tiny_params: Params) -> None:
    rows = pq.read_table(project.PREPARED / "train.parquet")
    tokenizer = transformers.AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    whole, cut = task.encode(rows, tokenizer, 1000), task.encode(rows, tokenizer, 8)
    lengths = np.array([len(ids) for ids in whole["input_ids"].to_pylist()])
    assert np.array_equal(whole["length"].to_numpy(), lengths)
    assert np.array_equal(cut["full_length"].to_numpy(), lengths)
    assert np.array_equal(cut["length"].to_numpy(), np.minimum(lengths, 8))
    for text_ids, cut_ids, full in zip(whole["input_ids"], cut["input_ids"], lengths, strict=True):
        if full <= 8:
            assert text_ids == cut_ids


def test_a_saved_task_loads_as_it_was(task: Task, tmp_path: Path) -> None:
    odd = replace(task, labels=('"quoted"', "naïve ☃", "a\nb"))
    odd.save(tmp_path)
    assert type(task).load(tmp_path) == odd


def test_texts_without_words_leave_a_baseline_out(task: Task) -> None:
    rows = pq.read_table(project.PREPARED / "train.parquet")
    signs = rows.set_column(1, "text", [["☃"] * len(rows)])
    assert 1 <= len(task.baselines(signs, signs)) < len(task.baselines(rows, rows))


def test_a_label_that_decontamination_empties_is_an_error(folder: Path) -> None:
    def table(split: str, texts: list[str], labels: list[str]) -> pa.Table:
        return pa.table({"id": [f"{split}#{n}" for n in range(len(texts))], "text": texts, "label": labels})

    splits = {
        "train": table("train", ["one", "two", "three"], ["a", "a", "b"]),
        "validation": table("validation", ["four"], ["a"]),
        "test": table("test", ["THREE"], ["b"]),
    }
    with pytest.raises(UserError, match="training rows of the label 'b' stand in validation or test"):
        find("text-classification").prepare(splits, Data())
    _, before, after = find("text-classification").prepare(splits, Data(decontaminate_train=False))
    assert before is after


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'text-classification'"):
        find("text-clasification")
