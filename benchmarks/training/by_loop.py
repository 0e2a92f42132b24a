"""A training loop as a tutorial has it, on the work of this folder: plain PyTorch, or by Accelerate.

The plain one pads to the longest example of all, as `padding="max_length"` does; with Accelerate, to the longest of a
batch.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.training import work


def steps(todo: work.Work, batches: Any, model: Any, optimizer: Any, backward: Any) -> Iterator[int]:
    """Train; each step says how many real tokens it had."""
    for batch in batches:
        tokens = int(batch["attention_mask"].sum())
        backward(model(**batch).loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield tokens


def main(accelerated: bool) -> None:
    """Train."""
    todo, examples = work.read()
    torch.set_num_threads(todo.threads)
    rows = examples.select([name for name in examples.column_names if name != "pieces"]).to_pylist()
    batches = DataLoader(
        rows,  # type: ignore[arg-type]
        todo.global_batch_size,
        shuffle=True,
        collate_fn=lambda some: work.padded(some, None if accelerated else todo.longest),
    )
    model = work.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    if accelerated:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model, optimizer, loaded = accelerator.prepare(model, optimizer, batches)
        work.timed(todo, steps(todo, loaded, model, optimizer, accelerator.backward))
    else:
        work.timed(todo, steps(todo, batches, model, optimizer, torch.Tensor.backward))


if __name__ == "__main__":
    main(accelerated="accelerate" in sys.argv)
