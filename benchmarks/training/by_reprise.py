"""Reprise on the work of this folder: its own loop, on its own store."""

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.training import work
from pipeline.data.batches import BatchPlan
from pipeline.data.packing import NO_TARGET
from pipeline.data.store import Store
from pipeline.model.activations import fuse
from pipeline.params import Hardware, Train
from pipeline.tasks.base import Collation, Task
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.text_classification import TextClassification
from pipeline.training.arrange import arrange
from pipeline.training.learner import Learner
from pipeline.training.loop import steps
from pipeline.training.optimizer import adamw
from pipeline.world import World


def store(examples: pa.Table) -> Store:
    """The examples as the stage tokenize writes them."""
    ids = examples["input_ids"].to_pylist()
    lengths = pa.array(map(len, ids), pa.int32())
    if "label" in examples.column_names:
        return Store(examples.append_column("length", lengths).append_column("full_length", lengths))
    labels = []
    for block, pieces in zip(ids, examples["pieces"].to_pylist(), strict=True):
        label = np.append(np.array(block[1:], np.int32), np.int32(NO_TARGET))
        label[np.cumsum(pieces) - 1] = NO_TARGET
        labels.append(label)
    table = examples.append_column("labels", pa.array(labels)).append_column("length", lengths)
    targets = pa.array([int((label != NO_TARGET).sum()) for label in labels], pa.int32())
    for name in ("row", "full_length"):
        table = table.append_column(name, examples["pieces"])
    return Store(table.append_column("targets", targets))


def main() -> None:
    """Train."""
    todo, examples = work.read()
    task: Task = CausalLM() if todo.kind == "causal-lm" else TextClassification(tuple("abcd"))
    train = Train(global_batch_size=todo.global_batch_size, max_steps=todo.all_steps, learning_rate=5e-5)
    hardware = Hardware(num_threads=todo.threads, use_cpu=True)
    model = work.model()
    fuse(model)
    model.config.pad_token_id = 0
    if todo.kind == "causal-lm":
        model.config.update(task.head()[1])
    held = store(examples)
    plan = BatchPlan(len(held), train.global_batch_size, train.seed)
    collation = Collation(model.config, PreTrainedTokenizerFast.__new__(PreTrainedTokenizerFast))
    with World.join(hardware, todo.precision) as world:
        parallel = arrange(model, world, hardware, lambda: False)
        learner = Learner(model, adamw(model, train), torch.amp.GradScaler("cpu", enabled=False))
        taken = steps(learner, parallel, task, held, plan, train, collation, hardware.forward_tokens, 0, todo.all_steps)
        work.timed(todo, (step.tokens for step in taken), shared=True)


if __name__ == "__main__":
    main()
