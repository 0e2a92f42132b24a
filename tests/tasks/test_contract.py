"""What every task promises the loop and the stages; no task is known by its name here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline import project
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.evaluation.generate import generate
from pipeline.evaluation.predict import predict
from pipeline.evaluation.reference import open_store
from pipeline.params import Data, Params, Train
from pipeline.tasks import find
from pipeline.tasks.base import Collation, Predictions, Task, metric_for_best_model, rows_of
from pipeline.training.loop import loss_of
from pipeline.training.parallel import Part, Replicas
from pipeline.world import World
from tests.tasks.cases import Case
from tests.tasks.conftest import REFERENCE


def store(split: str = "validation") -> Store:
    return open_store(split, load_file(REFERENCE))


def rows(split: str = "validation") -> pa.Table:
    return pq.read_table(project.PREPARED / f"{split}.parquet")


@pytest.fixture
def predictions(task: Task, model: PreTrainedModel, collation: Collation, params: Params) -> Predictions:
    world = World.start(params.hardware, "fp32")
    found = predict(model, task, store(), rows(), collation, world, 64, "predict")
    if task.generates != "all":
        return found
    return task.with_texts(found, written(task, model, collation, params, rows()))


def written(task: Task, model: PreTrainedModel, collation: Collation, params: Params, asked: pa.Table) -> pa.Table:
    """Rows with what the model writes to them."""
    world, encoding = World.start(params.hardware, "fp32"), task.settled(params.tokenizer)
    return generate(model, task, asked, collation, world, encoding, params.evaluate, 64, "write")


def test_the_loss_is_what_the_hugging_face_model_computes(
    case: Case, task: Task, model: PreTrainedModel, collation: Collation
) -> None:
    if case.their_loss is None:
        pytest.skip("Hugging Face's model has no loss of this kind; the task's own tests check it")
    for index in range(8):
        examples = store().examples([index])
        batch = task.collate(examples, collation)
        with torch.no_grad():
            theirs = case.their_loss(model, batch)
            ours = task.loss(model(**batch.inputs), batch, plain(Train())) / task.count_targets(
                examples, plain(Train())
            )
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def plain(settings: Train) -> Train:
    """Without what Hugging Face's models do not know."""
    return settings.model_copy(update={"label_smoothing_factor": 0.0})


def test_padding_changes_no_prediction(task: Task, model: PreTrainedModel, collation: Collation) -> None:
    some = np.arange(12)
    assert len(set(store().lengths[some])) > 1, "the batch is padded"
    together = task.collate(store().examples(some), collation)
    with torch.no_grad():
        joint = task.predict(model(**together.inputs), together)
        for index in some:
            alone = task.collate(store().examples([index]), collation)
            single = task.predict(model(**alone.inputs), alone)
            for name, values in single.items():
                torch.testing.assert_close(
                    torch.as_tensor(values[0]), torch.as_tensor(joint[name][index]), atol=1e-5, rtol=1e-5
                )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_does_not_depend_on_how_a_step_is_cut(
    task: Task, model: PreTrainedModel, collation: Collation, params: Params, smoothing: float
) -> None:
    settings = Train(label_smoothing_factor=smoothing)
    step = np.arange(16)
    batch = task.collate(store("train").examples(step), collation)
    targets = task.count_targets(store("train").examples(step), settings)
    loss = task.loss(model(**batch.inputs), batch, settings) / targets
    loss.backward()
    gradient = parameters_to_vector([p.grad for p in model.parameters() if p.grad is not None])
    alone = Replicas(model, model, World.start(params.hardware, "fp32"), lambda: False)
    for cut in (np.split(step, 4), np.split(step, [1, 4, 9])):
        model.zero_grad()
        parts = [Part(place, part) for place, part in enumerate(cut)]
        share = loss_of(alone, task, store("train"), settings, collation, 0, step, parts)
        whole = alone.backward(parts, share, torch.amp.GradScaler("cpu", enabled=False))
        assert whole.item() == pytest.approx(loss.item(), rel=1e-5)
        summed = parameters_to_vector([p.grad for p in model.parameters() if p.grad is not None])
        assert (summed - gradient).norm() <= 1e-5 * gradient.norm() + 1e-7, "but for rounding"


def test_random_choices_hang_on_seed_epoch_and_example_alone(task: Task, collation: Collation) -> None:
    together = task.collate(store("train").examples([5, 7]), collation)
    alone = [task.collate(store("train").examples([index]), collation) for index in (5, 7)]
    longest = max(range(2), key=lambda place: store("train").lengths[[5, 7][place]])
    for name, values in alone[longest].inputs.items():
        assert torch.equal(values[0], together.inputs[name][longest])


def test_predictions_give_every_score(task: Task, predictions: Predictions) -> None:
    assert rows_of(predictions) == len(rows())
    assert all(len(values) == len(rows()) for values in predictions.values())
    scores = task.scores(predictions)
    assert tuple(scores) == (*task.score_names, "loss")
    every = task.all_scores(predictions)
    assert set(every) == {*task.all_score_names, "loss"}
    assert all(np.isfinite(value) for value in every.values())
    some = task.scores({name: values[:5] for name, values in predictions.items()})
    assert tuple(some) == tuple(scores), "any rows can be scored on their own"
    right = task.right(predictions)
    if task.share_of_rows is not None:
        assert right is not None
        assert scores[task.share_of_rows] == pytest.approx(right.mean())


def test_while_training_all_scores_are_known_but_those_of_texts(
    task: Task, model: PreTrainedModel, collation: Collation, params: Params
) -> None:
    world = World.start(params.hardware, "fp32")
    found = task.scores(predict(model, task, store(), rows(), collation, world, 64, "validate"))
    assert set(found) == {*task.score_names, "loss"} - set(task.generated_scores)
    assert metric_for_best_model(task, Train()) in found


def test_predictions_come_back_from_a_table(task: Task, predictions: Predictions, tmp_path: Path) -> None:
    pq.write_table(pa.table(task.columns(predictions)), tmp_path / "x.parquet")
    again = task.from_columns(pq.read_table(tmp_path / "x.parquet"))
    assert set(again) == set(predictions)
    assert task.scores(again) == task.scores(predictions)


def test_predictions_do_not_depend_on_the_micro_batches(
    task: Task, model: PreTrainedModel, collation: Collation, params: Params, predictions: Predictions
) -> None:
    world = World.start(params.hardware, "fp32")
    other = predict(model, task, store(), rows(), collation, world, 1024, "predict")
    np.testing.assert_allclose(other["loss"], predictions["loss"], rtol=1e-4)


def test_baselines_answer_every_row(task: Task, collation: Collation) -> None:
    train, test = rows("train"), rows("test")
    found = task.baselines(train, test) | task.baselines_on_tokens(store("train"), store("test"), test, collation)
    assert found
    for predicted in found.values():
        assert rows_of(predicted) == len(test)
        assert set(task.scores(predicted)) <= {*task.score_names, "loss"}
        assert task.score_names[0] in task.scores(predicted)


def test_encoding_counts_what_it_keeps(task: Task, tokenizer: PreTrainedTokenizerBase, params: Params) -> None:
    for split in ("train", "test"):
        examples = task.encode(rows(split), tokenizer, task.settled(params.tokenizer), split == "train")
        assert (examples["length"].to_numpy() <= examples["full_length"].to_numpy()).all()
        places = examples["row"].to_numpy() if "row" in examples.column_names else np.arange(len(examples))
        assert (np.diff(places) >= 0).all(), "examples are in the order of their rows"
        if split == "test":
            assert set(places) == set(range(len(rows(split)))), "every row that is judged has an example"


def test_what_is_asked_is_answered(
    task: Task, model: PreTrainedModel, collation: Collation, params: Params, tokenizer: PreTrainedTokenizerBase
) -> None:
    asked = rows("test").select(["id", *task.inputs]).slice(0, 5)
    if task.generates != "none":
        answers = task.answers({}, written(task, model, collation, params, asked))
        assert len(answers) == 5
        assert json.dumps(answers)
        return
    with_target = task.unanswered(asked)
    encoded = Store(task.encode(with_target, tokenizer, task.settled(params.tokenizer), False))
    world = World.start(params.hardware, "fp32")
    found = predict(model, task, encoded, with_target, collation, world, 64, "answer")
    answers = task.answers(task.spelled(found, tokenizer), asked)
    assert len(answers) == 5
    assert json.dumps(answers, allow_nan=False)


def test_a_saved_task_loads_as_it_was(task: Task, tmp_path: Path) -> None:
    odd = replace(task, labels=('"quoted"', "naïve ☃", "a\nb")) if task.labels else task
    odd.save(tmp_path)
    assert type(task).load(tmp_path) == odd


def test_a_missing_column_names_the_nearest(case: Case) -> None:
    kind = find(case.task)
    table = case.tables()["train"]
    ids = pa.array([f"x.csv:{row}" for row in range(len(table))])
    first, *_ = kind.layout(table.column_names, Data()).columns
    wrong = table.rename_columns([f"{name}x" if name == first else name for name in table.column_names])
    with pytest.raises(UserError, match=rf"Did you mean '{first}x'"):
        kind.check_columns(wrong.append_column("id", ids), Data(text_column_names=[first]))


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'text-classification'"):
        find("text-clasification")


def test_a_task_of_ones_own_is_found_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine_of_this_test"
    package.mkdir()
    (package / "__init__.py").touch()
    own = "from pipeline.tasks.text_classification import TextClassification\n\nTASK = TextClassification\n"
    (package / "intent.py").write_text(own)
    (package / "none.py").write_text("TASK = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert issubclass(find("mine_of_this_test.intent"), Task)
    with pytest.raises(UserError, match="names no task: set TASK"):
        find("mine_of_this_test.none")
    with pytest.raises(UserError, match="cannot be imported"):
        find("mine_of_this_test.gone")
