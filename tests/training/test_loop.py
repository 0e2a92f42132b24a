"""The gradient is that of the mean loss over the global batch, however the batch is cut."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from pipeline import project
from pipeline.data.batches import BatchPlan
from pipeline.data.store import Store
from pipeline.model.build import build, fresh
from pipeline.params import Params
from pipeline.tasks.base import Collation, Task
from pipeline.tasks.dpo import DPO
from pipeline.tasks.masked_lm import MaskedLM
from pipeline.tasks.text_classification import TextClassification
from pipeline.training.arrange import arrange
from pipeline.training.learner import Learner
from pipeline.training.loop import counts_real_tokens, steps
from pipeline.training.optimizer import adamw
from pipeline.world import World


def learner_of(params: Params) -> Learner:
    task = TextClassification.load(project.PREPARED)
    torch.manual_seed(params.train.seed)
    model = build(params, task, AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")).train()
    return Learner(model, adamw(model, params.train), torch.amp.GradScaler("cpu", enabled=False))


def collation_of(learner: Learner) -> Collation:
    tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    return Collation(learner.model.config, tokenizer)


def run(params: Params, learner: Learner, done: int, total: int, stop: int | None = None) -> list:
    task, store = TextClassification.load(project.PREPARED), Store(project.TOKENIZED / "train.arrow")
    plan = BatchPlan(len(store), params.train.global_batch_size, params.train.seed)
    world = World.start(params.hardware, params.train.precision)
    parallel = arrange(learner.model, world, params.hardware, lambda: False)
    taken = []
    tokens, collation = params.hardware.forward_tokens, collation_of(learner)
    for step in steps(learner, parallel, task, store, plan, params.train, collation, tokens, done, total):
        taken.append(step)
        if step.number == stop:
            break
    return taken


def without_dropout(params: Params) -> Params:
    config = {**(params.model.config or {}), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return params.model_copy(update={"model": params.model.model_copy(update={"config": config})})


def with_budget(params: Params, tokens: int) -> Params:
    return params.model_copy(update={"hardware": params.hardware.model_copy(update={"micro_batch_tokens": tokens})})


@pytest.mark.parametrize("budget", [16, 48, 100])
def test_weights_do_not_depend_on_how_the_batch_is_cut(tokenized: Path, tiny_params: Params, budget: int) -> None:
    whole, cut = (with_budget(without_dropout(tiny_params), tokens) for tokens in (100_000, budget))
    learners = learner_of(whole), learner_of(cut)
    for params, learner in zip((whole, cut), learners, strict=True):
        taken = run(params, learner, 0, 39, stop=3)
    assert taken[-1].loss.item() == pytest.approx(
        run(whole, learner_of(whole), 0, 39, stop=3)[-1].loss.item(), rel=1e-5
    )
    one, other = (torch.cat([p.flatten() for p in learner.model.parameters()]) for learner in learners)
    assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(one)


def test_gradient_is_that_of_the_hugging_face_loss_over_the_whole_batch(tokenized: Path, tiny_params: Params) -> None:
    params = without_dropout(tiny_params)
    plain = {"max_grad_norm": None, "label_smoothing_factor": 0.0}
    params = params.model_copy(update={"train": params.train.model_copy(update=plain)})
    ours, theirs = learner_of(params), learner_of(params)
    # The norm is all that a step tells of its gradient.
    norm = run(params, ours, 0, 39, stop=1)[0].grad_norm
    store = Store(project.TOKENIZED / "train.arrow")
    indices = BatchPlan(len(store), 16, params.train.seed).indices(0)
    total = torch.zeros(())
    for index in indices:
        batch = TextClassification(("bad", "good")).collate(store.examples([index]), collation_of(theirs))
        total = total + theirs.model(**batch.inputs, labels=batch.labels).loss
    (total / len(indices)).backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in theirs.model.parameters()])
    assert gradient.norm().item() == pytest.approx(norm.item(), rel=1e-5)


def test_clipping_cuts_the_whole_gradient_to_the_norm(tokenized: Path, tiny_params: Params) -> None:
    learner = learner_of(tiny_params)
    parallel = arrange(learner.model, World.start(tiny_params.hardware, "fp32"), tiny_params.hardware, lambda: False)
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    before = parallel.norm()
    assert before.item() == pytest.approx(2 * math.sqrt(sum(p.numel() for p in learner.model.parameters())))
    parallel.clip(1.0, before)
    assert parallel.norm().item() == pytest.approx(1.0, rel=1e-5)


def test_a_gradient_that_is_not_finite_changes_nothing(tokenized: Path, tiny_params: Params) -> None:
    learner = learner_of(tiny_params)
    run(tiny_params, learner, 0, 39, stop=2)
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    state = {
        key: {name: value.clone() for name, value in values.items()}
        for key, values in learner.optimizer.state_dict()["state"].items()
    }
    learner.model.register_forward_hook(
        lambda module, inputs, output: setattr(output, "logits", output.logits * math.nan)
    )
    (step,) = run(tiny_params, learner, 2, 39, stop=3)
    assert not torch.isfinite(step.loss)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.model.state_dict().items())
    for key, values in learner.optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[key][name], value) for name, value in values.items())


def test_the_model_is_never_handed_labels(tokenized: Path, tiny_params: Params) -> None:
    learner = learner_of(tiny_params)
    seen: list[set[str]] = []
    learner.model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(set(kwargs)), with_kwargs=True)
    run(tiny_params, learner, 0, 39, stop=1)
    assert seen and all("labels" not in names for names in seen)


def test_a_step_counts_its_tokens_without_padding(tokenized: Path, tiny_params: Params) -> None:
    (step,) = run(tiny_params, learner_of(tiny_params), 0, 39, stop=1)
    store = Store(project.TOKENIZED / "train.arrow")
    assert step.tokens == int(store.lengths[BatchPlan(len(store), 16, 42).indices(0)].sum())


@pytest.mark.parametrize("reduce", ["fast", "exact"])
def test_a_weight_that_nobody_uses_stays_as_it_is(tokenized: Path, tiny_params: Params, reduce: str) -> None:
    params = tiny_params.model_copy(update={"hardware": tiny_params.hardware.model_copy(update={"reduce": reduce})})
    learner = learner_of(params)
    learner.model.register_parameter("unused", torch.nn.Parameter(torch.ones(2, 2)))
    learner = Learner(learner.model, adamw(learner.model, params.train), learner.scaler)
    run(params, learner, 0, 39, stop=3)
    assert torch.equal(learner.model.unused, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("task", "kind", "expected"),
    [
        (TextClassification(("a", "b")), "bert", True),
        (TextClassification(("a", "b")), "deberta-v2", False),  # its layers compute with padding
        (MaskedLM(), "bert", True),
        (DPO(), "llama", False),  # makes logits of every token
    ],
)
def test_padding_counts_where_something_large_is_made_of_it(task: Task, kind: str, expected: bool) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = fresh(task, AutoConfig.for_model(kind, **sizes, num_hidden_layers=1, pad_token_id=0))
    assert counts_real_tokens(task, model) is expected
