"""The same training as transformers' Trainer: with its weights, rows and dropout masks, the losses are its losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from pipeline import project
from pipeline.data.batches import BatchPlan, micro_batches
from pipeline.data.store import Store
from pipeline.model.unpadded import without_padding
from pipeline.params import Params
from pipeline.tasks.text_classification import TextClassification
from pipeline.training import dropout
from tests.training.test_loop import collation_of, learner_of, run, with_budget

WHOLE = 100_000  # padded tokens: no step is cut, as the Trainer's are not


class Followed(Trainer):
    """Takes the examples of each step and the seed of its dropout from the batch plan, and notes the losses."""

    def follow(self, batches: Sequence[Sequence[int]], seed: int) -> list[float]:
        self.batches, self.seed, self.losses = batches, seed, list[float]()
        self.train()
        return self.losses

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator
        )

    def compute_loss(self, *arguments: Any, **options: Any) -> torch.Tensor:
        drawn = dropout.seeded(self.model, torch.device("cpu"), self.seed, len(self.losses), 0)
        # Masks are drawn in the shapes of what they are drawn for.
        with drawn, without_padding(self.model, arguments[1]):
            loss = super().compute_loss(*arguments, **options)
        self.losses.append(loss.item())
        return loss


def test_two_epochs_are_those_of_the_trainer(tokenized: Path, tiny_params: Params) -> None:
    # From its first step of warm-up on, whose rate is zero, the Trainer is a step behind: without any they are even.
    settings = tiny_params.train.model_copy(update={"warmup_steps": 0, "num_train_epochs": 2.0, "weight_decay": 0.1})
    params = with_budget(tiny_params.model_copy(update={"train": settings}), WHOLE)
    task, store = TextClassification.load(project.PREPARED), Store(project.TOKENIZED / "train.arrow")
    plan = BatchPlan(len(store), settings.global_batch_size, settings.seed)
    total = plan.steps(settings.num_train_epochs, None)
    ours, theirs = learner_of(params), learner_of(params)
    assert ours.model.config.hidden_dropout_prob > 0

    def collate(indices: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = task.collate(store.examples(list(indices)), collation_of(theirs))
        return {**batch.inputs, "labels": batch.labels}

    arguments = TrainingArguments(
        output_dir="beside",
        max_steps=total,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing_factor,
        per_device_train_batch_size=settings.global_batch_size,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Followed(theirs.model, arguments, data_collator=collate, train_dataset=list(range(len(store))))
    cut = [micro_batches(store.lengths, plan.indices(step), WHOLE)[0].tolist() for step in range(total)]
    found = trainer.follow(cut, settings.seed)
    assert len(found) == total > 2 * settings.logging_steps
    assert [step.loss.item() for step in run(params, ours, 0, total)] == pytest.approx(found, rel=1e-4)
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
