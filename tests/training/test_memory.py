"""Memory: an estimate that is near, a measurement that fits, and a training that goes on when it runs out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForSequenceClassification

from pipeline import dag, params_file, project
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.params import Hardware, Params
from pipeline.tasks.text_classification import TextClassification
from pipeline.training import checkpoint
from pipeline.training.arrange import arrange
from pipeline.training.fingerprint import fingerprint
from pipeline.training.memory import estimate, fitting_examples, fitting_tokens, rehearse
from pipeline.training.worker import AGAIN
from pipeline.world import World
from tests.training.ranks import ends, start, with_memory
from tests.training.ranks import run as run_ranks
from tests.training.test_loop import collation_of, learner_of
from tests.training.test_train import changed, run

LARGER = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}


def with_hardware(params: Params, **hardware: object) -> Params:
    return params.model_copy(update={"hardware": Hardware(**{**params.hardware.model_dump(), **hardware})})


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_the_estimate_of_activations_is_near_what_a_forward_keeps(kind: str, tiny: Params) -> None:
    config = AutoConfig.for_model(kind, vocab_size=1000, pad_token_id=0, num_labels=2, **LARGER)
    model = AutoModelForSequenceClassification.from_config(config)
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(5, 1000, (16, 64))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    activations = estimate(config, 0, 0, ids.numel(), tiny)
    assert 0.8 < sum(kept.values()) / activations < 1.25
    assert estimate(config, 1_000, 0, ids.numel(), tiny) == activations + 16_000
    # What does not train has neither gradient nor moments.
    assert estimate(config, 0, 1_000, ids.numel(), tiny) == activations + 4_000


def test_less_is_estimated_for_16_bits_and_for_gradient_checkpointing(tiny: Params) -> None:
    config = AutoConfig.for_model("bert", **LARGER)
    whole = estimate(config, 0, 0, 1024, tiny)
    assert estimate(config, 0, 0, 1024, changed(tiny, precision="bf16")) == whole / 2
    assert estimate(config, 0, 0, 1024, with_hardware(tiny, gradient_checkpointing=True)) < whole / 3


@pytest.mark.parametrize(
    ("fixed", "each", "usable", "most", "fitting"),
    [
        (100, 10, 1_000, 500, 90),
        (100, 10, 1_000, 20, 20),
        (100, 10, 129, 500, 2),
        (100, 10, 50, 500, 1),
        (0, 1, 10**9, 64, 64),
    ],
)
def test_as_many_examples_as_the_memory_has_room_for(
    fixed: int, each: int, usable: int, most: int, fitting: int
) -> None:
    asked: list[int] = []

    def peak(examples: int) -> int:
        asked.append(examples)
        return fixed + each * examples

    assert fitting_examples(peak, lambda: fixed, most, usable, lambda examples: examples) == fitting
    assert all(fixed + each * examples <= usable for examples in asked if examples > 1), "measuring must not overflow"


def test_a_rehearsal_changes_nothing(tokenized: Path, tiny_params: Params) -> None:
    learner, untouched = learner_of(tiny_params), learner_of(tiny_params)
    task, store = TextClassification.load(project.PREPARED), Store(project.TOKENIZED / "train.arrow")
    world = World.start(tiny_params.hardware, "fp32")
    parallel = arrange(learner.model, world, tiny_params.hardware, lambda: False)
    collation = collation_of(learner)
    rehearse(learner, parallel, task, store, tiny_params, collation, np.arange(8))
    weights = zip(learner.model.parameters(), untouched.model.parameters(), strict=True)
    assert all(torch.equal(one, other) and one.grad is None for one, other in weights)
    for state in learner.optimizer.state.values():
        assert not state["step"].any() and not state["exp_avg"].any() and not state["exp_avg_sq"].any()
    asked = with_hardware(tiny_params, micro_batch_tokens="auto")
    assert fitting_tokens(learner, parallel, task, store, asked, collation) == 1024


def test_moments_that_were_being_made_when_memory_ran_out_are_made_again(tokenized: Path, tiny_params: Params) -> None:
    learner = learner_of(tiny_params)
    whole, half, *_ = learner.model.parameters()
    learner.optimizer.state[whole] = {"step": torch.ones(()), "exp_avg": whole * 0, "exp_avg_sq": whole * 0}
    learner.optimizer.state[half] = {"step": torch.ones(()), "exp_avg": half * 0}
    learner.drop_unfinished_state()
    assert list(learner.optimizer.state) == [whole]


def test_training_goes_on_with_smaller_micro_batches_when_memory_runs_out(
    tokenized: Path, tiny_params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = with_hardware(tiny_params, micro_batch_tokens=150)
    longest = int(Store(project.TOKENIZED / "train.arrow").lengths.max())
    collate = TextClassification.collate
    monkeypatch.setattr(TextClassification, "collate", with_memory(collate, 80))
    logged = run(params)
    said = capsys.readouterr().err
    assert "no memory left; going on with micro-batches of 75 tokens" in said
    assert said.count("no memory left") == 1
    assert max(step for step, _ in logged) == 39

    monkeypatch.setattr(TextClassification, "collate", with_memory(collate, longest - 1))
    with pytest.raises(UserError, match=f"the longest example has {longest}.\nLower tokenizer.max_seq_length"):
        run(params)
    # What was found to fit is used again.
    mark = checkpoint.folder_of(fingerprint(params, dag.inputs("train")))
    assert checkpoint.Checkpoints(mark, 2).notes.kept_tokens(150) == longest
    with pytest.raises(UserError, match=r"micro-batches of 150 tokens;.*\nLower hardware.micro_batch_tokens"):
        run(with_hardware(params, reduce="exact"))


def test_several_processes_start_again_with_smaller_micro_batches(tokenized: Path, tiny_params: Params) -> None:
    short = tiny_params.train.model_copy(update={"max_steps": 8})
    project.PARAMS.write_text(params_file.render(tiny_params.model_copy(update={"train": short})))
    arguments = {"hardware": {"micro_batch_tokens": 100}, "memory": 64}
    first, second = ends(start(2, "training", tokenized, arguments))
    assert second == AGAIN, (tokenized / "rank-1.log").read_text()
    assert first, "it must not train on alone"
    assert "8 train/loss" in run_ranks(2, "training", tokenized, arguments)
    shutil.rmtree(project.state())
