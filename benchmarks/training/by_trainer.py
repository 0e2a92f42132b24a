"""transformers' Trainer on the work of this folder: as it comes, or with all that makes it fast."""

import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmarks.training import work


class Timed(TrainerCallback):  # type: ignore[misc]
    """Ticks after every step, with the tokens of the batch that was collated for it."""

    def __init__(self, clock: work.Clock) -> None:
        self.clock, self.collated = clock, list[int]()

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch, whose tokens are counted."""
        batch = work.padded(rows)
        self.collated.append(int(batch["attention_mask"].sum()))
        return batch

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        self.clock.tick(self.collated.pop(0))


def main(best: bool) -> None:
    """Train."""
    todo, examples = work.read()
    torch.set_num_threads(todo.threads)
    timed = Timed(work.Clock(todo))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=todo.global_batch_size // todo.processes,
            ddp_backend="gloo" if todo.processes > 1 else None,
            max_steps=todo.all_steps,
            learning_rate=5e-5,
            bf16=todo.precision == "bf16",
            train_sampling_strategy="group_by_length" if best else "random",
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model=work.model(),
            args=arguments,
            train_dataset=Dataset(examples.select([n for n in examples.column_names if n != "pieces"])),
            data_collator=timed.collate,
            callbacks=[timed],
        )
        trainer.remove_callback(PrinterCallback)  # the last line that is printed is the clock's
        trainer.train()


if __name__ == "__main__":
    main(best="best" in sys.argv)
