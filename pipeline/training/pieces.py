"""Training state in pieces: what a process holds of each tensor, in files that any number of processes can read.

The files are plain safetensors, written and read here in a few lines rather than by that package, for three reasons:
a full disk comes out as the OSError that it is, the checksum is taken in the same pass, and rows are read straight
into their tensor. The package maps the file instead, and its mapped pages count as memory of the process.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNED = 8
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Piece:
    """What one process holds of a tensor.

    Attributes:
        tensor: (rows held, ...); or the whole tensor, which may be a scalar.
        start: the first of these rows in the whole tensor; of no meaning where no row is held.
        rows: rows of the whole tensor; None: `tensor` is the whole.
    """

    tensor: torch.Tensor
    start: int = 0
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is None:
            assert self.start == 0, "a whole tensor starts at its first row"
        else:
            assert self.tensor.ndim, "a scalar has no rows to hold a piece of"
            held = len(self.tensor)
            assert not held or 0 <= self.start <= self.rows - held, (self.start, held, self.rows)


def write(path: Path, pieces: Mapping[str, Piece]) -> str:
    """Write pieces to one safetensors file, which is on the disk when this returns.

    Where each piece lies in its whole tensor is written to the file's metadata.

    Returns:
        The SHA-256 of what was written, taken from memory: what the disk makes of it can be held against it.

    Raises:
        OSError: the file could not be written, for instance on a full disk.
    """
    # The widest numbers first, so that each tensor starts at a multiple of its own width, as readers expect.
    order = sorted(pieces, key=lambda name: (-pieces[name].tensor.element_size(), name))
    places = {name: (pieces[name].start, pieces[name].rows) for name in order}
    header: dict[str, Any] = {"__metadata__": {"pieces": json.dumps(places)}}
    end = 0
    for name in order:
        tensor = pieces[name].tensor
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNED)
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            file.write(part)
            sha256.update(part)
        for name in order:
            content = _bytes_of(pieces[name].tensor.detach().cpu().contiguous())
            file.write(content)
            sha256.update(content)
        file.flush()
        os.fsync(file.fileno())
    return sha256.hexdigest()


@dataclass(frozen=True)
class _Part:
    """A piece in a file; `offset` is the byte at which its rows begin. A scalar is one row."""

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    rows: int

    @property
    def stop(self) -> int:
        return self.start + self.shape[0]


class Pieces:
    """The tensors of a folder of piece files, whole again: read by rows, whatever the pieces.

    Any number of processes may read, each the rows that it needs; none ever holds more than those. A piece that
    several files hold, such as the step of the optimizer, is read from the first.
    """

    def __init__(self, folder: Path) -> None:
        """Read what the files hold, not yet the tensors; the pieces of every tensor must make up the whole."""
        self._parts: dict[str, list[_Part]] = {}
        self._scalars: set[str] = set()
        for file in sorted(folder.glob(f"*{SUFFIX}")):
            self._add(file)
        for name, parts in self._parts.items():
            self._parts[name] = _whole(name, parts)

    def names(self) -> list[str]:
        """All tensors, sorted."""
        return sorted(self._parts)

    def rows(self, name: str) -> int:
        """Rows of the whole tensor; 1 for a scalar."""
        return self._parts[name][0].rows

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the whole tensor."""
        return () if name in self._scalars else (self.rows(name), *self._parts[name][0].shape[1:])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows [start, stop) of a tensor, on the CPU, in memory of their own; a scalar is read whole.

        Raises:
            OSError: a file cannot be read.
        """
        parts = self._parts[name]
        rows, rest, dtype = parts[0].rows, parts[0].shape[1:], parts[0].dtype
        stop = rows if stop is None else stop
        assert start == stop or 0 <= start < stop <= rows, f"{name} has {rows} rows, not [{start}, {stop})"
        result = torch.empty((stop - start, *rest), dtype=dtype)
        content = _bytes_of(result)
        width = math.prod(rest) * dtype.itemsize
        for part in parts:
            first, last = max(start, part.start), min(stop, part.stop)
            if first < last:
                target = content[(first - start) * width : (last - start) * width]
                with part.file.open("rb") as file:
                    file.seek(part.offset + (first - part.start) * width)
                    count = file.readinto(target)
                assert count == len(target), f"{part.file} ends within {name}"
        return result.reshape(()) if name in self._scalars else result

    def _add(self, file: Path) -> None:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
        places = json.loads(header.pop("__metadata__")["pieces"])
        for name, entry in header.items():
            start, rows = places[name]
            if not entry["shape"]:
                self._scalars.add(name)
            shape = tuple(entry["shape"]) or (1,)
            offset = 8 + length + entry["data_offsets"][0]
            part = _Part(file, offset, _DTYPES[entry["dtype"]], shape, start, shape[0] if rows is None else rows)
            self._parts.setdefault(name, []).append(part)


def _whole(name: str, parts: list[_Part]) -> list[_Part]:
    """The parts in order, each once, those without a row left out (unless there is no row at all)."""
    assert len({(part.dtype, part.shape[1:], part.rows) for part in parts}) == 1, f"{name} differs between the files"
    rows = parts[0].rows
    distinct: dict[tuple[int, int], _Part] = {}
    for part in parts:
        if part.shape[0]:
            distinct.setdefault((part.start, part.stop), part)
    ordered = [distinct[place] for place in sorted(distinct)]
    bounds = [0, *(part.stop for part in ordered)]
    assert [part.start for part in ordered] == bounds[:-1] and bounds[-1] == rows, f"the pieces of {name} have gaps"
    return ordered or parts[:1]


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU, byte by byte."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
