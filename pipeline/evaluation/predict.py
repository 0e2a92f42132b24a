"""Streamed predictions: a few numbers a row are kept, never logits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from pipeline.data.batches import micro_batches
from pipeline.data.store import Store
from pipeline.progress import bar
from pipeline.tasks.base import Batch, Collation, Predictions, Task
from pipeline.tasks.base.predictions import listed
from pipeline.world import World


def predict(
    model: PreTrainedModel,
    task: Task,
    store: Store,
    rows: pa.Table,
    collation: Collation,
    world: World,
    micro_batch_tokens: int,
    title: str,
    go_on: Callable[[], None] = lambda: None,
) -> Predictions:
    """Predictions for every row of a split, in its order, on every rank.

    The micro-batches are those of one process, dealt to the ranks in turn, so that no prediction depends on how many
    ranks there are.

    Args:
        store: the examples of the rows.
        rows: the prepared rows.
        micro_batch_tokens: tokens of one forward pass, with padding.
        title: what the progress is called.
        go_on: called before every forward pass; ends the work by raising.
    """
    by_example = predict_examples(model, task, store, collation, world, micro_batch_tokens, title, task.predict, go_on)
    return task.merge(by_example, store, rows)


def predict_examples(
    model: PreTrainedModel,
    task: Task,
    store: Store,
    collation: Collation,
    world: World,
    micro_batch_tokens: int,
    title: str,
    columns_of: Callable[[Any, Batch], Mapping[str, Any]],
    go_on: Callable[[], None] = lambda: None,
) -> Predictions:
    """What is kept of the model's outputs for every example, on every rank; the arguments are those of `predict`.

    Args:
        columns_of: the columns to keep of the outputs for a micro-batch.
    """
    was_training = model.training
    model.train(False)
    cut = micro_batches(store.lengths, np.arange(len(store)), micro_batch_tokens)
    found: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    try:
        with bar(title, len(store)) as progress, torch.no_grad():
            for start in range(0, len(cut), world.size):
                go_on()
                place = start + world.rank
                # A sharded model needs every rank in every forward: one without work of its own repeats another's.
                indices = cut[place] if place < len(cut) else cut[start]
                batch = task.collate(store.examples(indices), collation).to(world.device)
                with world.autocast():
                    outputs = model(**batch.inputs)
                columns = {name: _on_host(values) for name, values in columns_of(outputs, batch).items()}
                if place < len(cut):
                    found.append((indices, columns))
                progress.advance(sum(map(len, cut[start : start + world.size])))
    finally:
        model.train(was_training)
    return _in_order([part for parts in world.gather(found) for part in parts], len(store))


def _on_host(values: Any) -> np.ndarray:
    """A tensor or an array as it is, lists of several lengths as an array of lists."""
    if isinstance(values, torch.Tensor):
        return values.cpu().numpy()
    if isinstance(values, np.ndarray):
        return values
    return listed(values)


def _in_order(found: list[tuple[np.ndarray, dict[str, np.ndarray]]], examples: int) -> Predictions:
    """All ranks' predictions, one for each example."""
    counts = np.zeros(examples, dtype=np.int64)
    whole = {name: np.empty((examples, *values.shape[1:]), values.dtype) for name, values in found[0][1].items()}
    for indices, columns in found:
        counts[indices] += 1
        for name, values in columns.items():
            whole[name][indices] = values
    assert (counts == 1).all(), "every example is predicted once"
    return whole
