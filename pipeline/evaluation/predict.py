"""Streamed predictions: a few numbers an example are kept, never logits."""

import numpy as np
import torch
from transformers import PreTrainedModel

from pipeline.data.batches import micro_batches
from pipeline.data.store import Store
from pipeline.progress import bar
from pipeline.tasks.base import Predictions, Task
from pipeline.world import World


def predict(
    model: PreTrainedModel, task: Task, store: Store, world: World, micro_batch_tokens: int, title: str
) -> Predictions:
    """Predictions for every example of a store, in its order.

    Args:
        micro_batch_tokens: padded tokens of one forward pass.
        title: what the progress is called.
    """
    was_training = model.training
    model.train(False)
    columns: dict[str, np.ndarray] = {}
    cut = micro_batches(store.lengths, np.arange(len(store)), micro_batch_tokens)
    with bar(title, len(store)) as progress, torch.inference_mode():
        for indices in cut:
            batch = task.collate(store.examples(indices), model.config.pad_token_id).to(world.device)
            with world.autocast():
                logits = model(**batch.inputs).logits
            for name, column in task.predict(logits, batch.labels).items():
                values = column.cpu().numpy()
                if name not in columns:
                    columns[name] = np.empty((len(store), *values.shape[1:]), values.dtype)
                columns[name][indices] = values
            progress.advance(len(indices))
    model.train(was_training)
    return columns
