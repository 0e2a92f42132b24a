"""What is kept of every evaluated row: who it is, what was right, what was said, and how sure; never its text.

Two evaluations are compared row by row, so a row is known by its content: `key` is a digest of its texts and target,
whatever file or line it stands in.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import digest, tasks
from pipeline.errors import UserError
from pipeline.tasks.base import Predictions, Task

_TASK, _STATE = b"task", b"state"
_ID, _KEY, _SLICE = "id", "key", "slice:"
_KEY_LENGTH = 32


@dataclass(frozen=True)
class Examples:
    """One split, as one model answered it.

    Attributes:
        task: what was asked, with its labels.
        ids: where each row stands, such as `test.csv:17`.
        keys: digest of each row's texts and target; the second of two equal rows has `#2` behind it.
        predictions: what the model said, in the same order.
        slices: the value of each row by the name of the slice, such as `length`: `17-24`.
    """

    task: Task
    ids: np.ndarray
    keys: np.ndarray
    predictions: Predictions
    slices: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def digest(self) -> str:
        """What names this set of rows, in whatever order they stand."""
        return digest.of_value(sorted(self.keys.tolist()))

    def take(self, places: np.ndarray) -> Self:
        """The examples at these places, in this order."""
        return type(self)(
            self.task,
            self.ids[places],
            self.keys[places],
            {name: column[places] for name, column in self.predictions.items()},
            {name: column[places] for name, column in self.slices.items()},
        )


def keys_of(rows: pa.Table, labels: Sequence[str]) -> np.ndarray:
    """The keys of prepared rows.

    Args:
        labels: the names behind the column `label`, by which it is known whatever other labels there are.
    """
    seen: Counter[str] = Counter()
    keys = []
    for row in rows.select([name for name in rows.column_names if name != _ID]).to_pylist():
        content = json.dumps(
            [_named(value, labels) if labels and name == "label" else value for name, value in row.items()],
            ensure_ascii=False,
        ).encode()
        key = hashlib.sha256(content).hexdigest()[:_KEY_LENGTH]
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return np.array(keys, dtype=object)


def _named(value: int | list[int], labels: Sequence[str]) -> str | list[str]:
    """The name of a label, or the names of all that a row has, in an order that hangs on no other label."""
    return sorted(labels[place] for place in value) if isinstance(value, list) else labels[value]


def write(path: Path, task_name: str, examples: Examples) -> None:
    """Write the examples as Parquet: the same bytes for the same examples."""
    columns = {_ID: pa.array(examples.ids, pa.string()), _KEY: pa.array(examples.keys, pa.string())}
    columns |= examples.task.columns(examples.predictions)
    columns |= {f"{_SLICE}{name}": pa.array(values, pa.string()) for name, values in examples.slices.items()}
    state = json.dumps(examples.task.state(), ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, metadata={_TASK: task_name.encode(), _STATE: state.encode()}), path)


def read(path: Path) -> Examples:
    """The examples of a file.

    Raises:
        UserError: it is none of ours, or of a task that this version does not have.
    """
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        task = tasks.find(metadata[_TASK].decode()).of_state(json.loads(metadata[_STATE]))
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{path} is no file of evaluated examples ({error}). Evaluate again: dvc repro") from error
    slices = [name for name in table.column_names if name.startswith(_SLICE)]
    return Examples(
        task,
        np.array(table[_ID].to_pylist(), dtype=object),
        np.array(table[_KEY].to_pylist(), dtype=object),
        task.from_columns(table.drop_columns([_ID, _KEY, *slices])),
        {name.removeprefix(_SLICE): np.array(table[name].to_pylist(), dtype=object) for name in slices},
    )
