"""Lightning on the work of this folder, as its documentation has it."""

from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from benchmarks.training import work


class Module(lightning.LightningModule):  # type: ignore[misc]
    """The model, its loss and its optimizer."""

    def __init__(self, clock: work.Clock) -> None:
        super().__init__()
        self.model, self.clock = work.model(), clock

    def training_step(self, batch: dict[str, Any], place: int) -> Any:
        """The loss of a batch."""
        self.tokens = int(batch["attention_mask"].sum())
        return self.model(**batch).loss

    def on_train_batch_end(self, *arguments: Any) -> None:
        """A step is done."""
        self.clock.tick(self.tokens)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=5e-5)


def main() -> None:
    """Train."""
    todo, examples = work.read()
    torch.set_num_threads(todo.threads)
    rows = examples.select([name for name in examples.column_names if name != "pieces"]).to_pylist()
    batches = DataLoader(rows, todo.global_batch_size, shuffle=True, collate_fn=work.padded)  # type: ignore[arg-type]
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=todo.all_steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(work.Clock(todo)), batches)


if __name__ == "__main__":
    main()
