"""The token store: encoded examples in memory-mapped Arrow files, read by index without loading them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_OF_PIECES = ("pieces", "row", "full_length")


def write(path: Path, tables: Iterable[pa.Table]) -> int:
    """Write examples to an Arrow IPC file, table by table, and return how many there are."""
    rows = 0
    writer = None
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file:
        for table in tables:
            writer = writer or pa.ipc.new_file(file, table.schema)
            writer.write_table(table.combine_chunks())
            rows += len(table)
        assert writer is not None, f"{path}: no examples to write"
        writer.close()
    return rows


class Store:
    """Examples by index. Token lists stay in the memory map; numbers (a few bytes an example) are held.

    An example holds one piece of a row, or several where `packing.pack` made it.

    Attributes:
        lengths: (examples,) int32, tokens of each example.
        full_lengths: (pieces,) int32, tokens of each before max_seq_length cut it.
        rows: (pieces,) the row of the split that each comes from.
        is_row_by_row: whether each row is one example.
    """

    def __init__(self, source: Path | pa.Table, numbers: Mapping[str, np.ndarray] | None = None) -> None:
        """Open a file that `write` made, or take the encoded examples themselves.

        Args:
            numbers: more columns, (examples,) each.
        """
        table = source if isinstance(source, pa.Table) else pa.ipc.open_file(pa.memory_map(str(source))).read_all()
        self._numbers: dict[str, np.ndarray] = {}
        self._lists: dict[str, _Lists] = {}
        for name in table.column_names:
            column = table[name]
            if pa.types.is_list(column.type):
                self._lists[name] = _Lists(column)
            else:
                self._numbers[name] = column.to_numpy()
        self._numbers |= numbers or {}
        self.lengths: np.ndarray = self._numbers["length"]
        self.is_row_by_row = "row" not in table.column_names
        pieces = {name: table[name] for name in _OF_PIECES if name in table.column_names}
        self._pieces = np.ones(len(self), np.int64)
        if "pieces" in pieces:
            self._pieces = pc.list_value_length(pieces["pieces"]).to_numpy().astype(np.int64)
            pieces = {name: pc.list_flatten(column) for name, column in pieces.items()}
        held = {name: column.to_numpy() for name, column in pieces.items()}
        self.full_lengths: np.ndarray = held["full_length"]
        self.rows: np.ndarray = held.get("row", np.arange(len(self)))
        self._kept = held.get("pieces", self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def truncation(self, rows: int) -> dict[str, int]:
        """What max_seq_length cut off: rows and tokens in all, those cut, the longest, and what else was lost.

        Args:
            rows: how many there were before any was dropped.
        """
        whole = self.full_lengths.astype(np.int64)
        kept = self._kept.astype(np.int64)
        lost = {name: int(column.sum()) for name, column in self._numbers.items() if name.startswith("lost_")}
        return {
            "rows": rows,
            "rows_dropped": rows - len(np.unique(self.rows)),
            "rows_cut": len(np.unique(self.rows[whole > kept])),
            "tokens": int(whole.sum()),
            "tokens_cut": int((whole - kept).sum()),
            "longest": int(whole.max(initial=0)),
        } | lost

    def row_lengths(self, rows: int) -> np.ndarray:
        """Tokens of each of the rows before any was cut off, (rows,), over all examples of a row."""
        return np.bincount(self.rows, self.full_lengths, rows)

    def rows_in(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows that these examples come from, each once, in their order."""
        is_in = np.zeros(len(self), bool)
        is_in[indices] = True
        return np.unique(self.rows[np.repeat(is_in, self._pieces)])

    def examples(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """The columns of these examples: a list of arrays for lists, an array for numbers; `index` are the places."""
        chosen: dict[str, Any] = {name: column[indices] for name, column in self._numbers.items()}
        chosen["index"] = np.asarray(indices)
        return chosen | {name: [column[index] for index in indices] for name, column in self._lists.items()}


class _Lists:
    """A list column whose chunks stay where they are mapped."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._values: list[np.ndarray] = [chunk.values.to_numpy(zero_copy_only=True) for chunk in chunks]
        self._offsets: list[np.ndarray] = [chunk.offsets.to_numpy() for chunk in chunks]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    def __getitem__(self, index: int) -> np.ndarray:
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        offsets, row = self._offsets[chunk], index - self._starts[chunk]
        return self._values[chunk][offsets[row] : offsets[row + 1]]
