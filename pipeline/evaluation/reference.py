"""What the model says of all examples before it is trained, for a task that compares with it.

It is asked once, at the start of a training. Every checkpoint holds the answers, since the weights that a resumed
training finds are others; so does the folder of the exported model, where evaluate finds them when the first weights
are long gone, and where DVC brings them back together with the model.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save
from transformers import PreTrainedModel

from pipeline import project
from pipeline.data.store import Store
from pipeline.evaluation.predict import predict_examples
from pipeline.params import Params
from pipeline.tasks.base import Collation, Task
from pipeline.world import World

Reference = dict[str, np.ndarray]
"""By `SPLIT.COLUMN`, a number for each example of the split; empty for a task that needs none."""

_FILE = "reference.safetensors"


def ask(
    model: PreTrainedModel,
    task: Task,
    params: Params,
    collation: Collation,
    world: World,
    go_on: Callable[[], None] = lambda: None,
) -> Reference:
    """The answers of a model to all splits, the same on every rank.

    Args:
        go_on: called before every forward pass; ends the work by raising.
    """
    found = {}
    for split in project.SPLITS:
        columns = predict_examples(
            model,
            task,
            Store(path_of(split)),
            collation,
            world,
            params.hardware.forward_tokens,
            f"reference {split}",
            lambda outputs, batch: task.reference_columns(outputs, batch, params.train),
            go_on,
        )
        found.update({f"{split}.{name}": values for name, values in columns.items()})
    return found


def open_store(split: str, reference: Reference) -> Store:
    """The examples of a split, with what the reference says of them."""
    own = {name.removeprefix(f"{split}."): values for name, values in reference.items() if name.startswith(f"{split}.")}
    return Store(path_of(split), own)


def keep(folder: Path, reference: Reference) -> None:
    """Put what evaluate needs into the folder of the exported model; nothing if there is nothing.

    Raises:
        OSError: for instance on a full disk.
    """
    needed = {name: values for name, values in reference.items() if not name.startswith("train.")}
    if needed:
        (folder / _FILE).write_bytes(save(needed))


def kept(folder: Path) -> Reference:
    """What `keep` put there."""
    file = folder / _FILE
    return load_file(file) if file.exists() else {}


def path_of(split: str) -> Path:
    """The file of a split's examples."""
    return project.TOKENIZED / f"{split}.arrow"
