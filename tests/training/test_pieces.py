"""Pieces in files are the whole again, bit for bit, whatever the cut they were written and are read at."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.training.pieces import Piece, Pieces, write

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Any bits, NaNs among them."""
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    width = dtype.itemsize
    content = torch.randint(0, 256, (*shape[:-1], shape[-1] * width), generator=generator, dtype=torch.uint8)
    return content.view(dtype)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(bits(left), bits(right))


def chunks(tensor: torch.Tensor, ways: int) -> list[Piece]:
    """Cut as FSDP2 does: equal chunks, rounded up, so that the last ones may be short or empty."""
    rows = len(tensor)
    size = -(-rows // ways)
    return [Piece(tensor[rank * size : (rank + 1) * size], rank * size, rows) for rank in range(ways)]


def write_all(folder: Path, whole: dict[str, torch.Tensor], ways: int) -> Pieces:
    """Every tensor in chunks, one file each; scalars in every file."""
    for rank in range(ways):
        pieces = {
            name: Piece(tensor) if not tensor.ndim else chunks(tensor, ways)[rank] for name, tensor in whole.items()
        }
        write(folder / f"rank-{rank:05d}.safetensors", pieces)
    return Pieces(folder)


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_any_cut_is_read_at_any_other_bit_for_bit(tmp_path: Path, written: int) -> None:
    whole = {
        **{f"{dtype}": random(7, 3, dtype=dtype) for dtype in DTYPES},
        "vector": random(5),
        "row": random(1, 4),
        "step": torch.tensor(3.0),
        "none": torch.empty(0, 6, dtype=torch.bfloat16),
        "narrow": torch.empty(4, 0),
    }
    pieces = write_all(tmp_path, whole, written)
    assert pieces.names() == sorted(whole)
    for name, tensor in whole.items():
        assert pieces.shape(name) == tuple(tensor.shape)
        assert pieces.rows(name) == (len(tensor) if tensor.ndim else 1)
        assert same(pieces.read(name), tensor), name
        for ways in (1, 2, 3, 4) if tensor.ndim else ():
            for piece in chunks(tensor, ways):
                read = pieces.read(name, piece.start, piece.start + len(piece.tensor))
                assert same(read, piece.tensor), (name, ways, piece.start)


def test_the_files_are_safetensors_for_everybody(tmp_path: Path) -> None:
    tensors = {"b": random(3, 5, dtype=torch.bfloat16), "a": random(3, dtype=torch.int64), "odd": random(3).bool()}
    file = tmp_path / "rank-00000.safetensors"
    told = write(file, {name: Piece(tensor) for name, tensor in tensors.items()})
    assert told == hashlib.sha256(file.read_bytes()).hexdigest()
    read = load_file(file)
    assert all(same(read[name], tensor) for name, tensor in tensors.items())
    with safe_open(file, "pt") as opened:
        assert same(opened.get_slice("b")[1:], tensors["b"][1:])


def test_the_same_pieces_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    pieces = {"a": Piece(random(2, 2)), "b": Piece(random(2, 2, dtype=torch.float64))}
    first = write(tmp_path / "1", pieces)
    assert write(tmp_path / "2", dict(reversed(pieces.items()))) == first


def test_tensors_may_be_views_of_others_and_need_gradients(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(random(6, 4))
    views = {"transposed": weight.t(), "every second": weight[::2], "tied": weight, "column": weight[:, 1]}
    write(tmp_path / "rank-00000.safetensors", {name: Piece(tensor) for name, tensor in views.items()})
    pieces = Pieces(tmp_path)
    for name, tensor in views.items():
        read = pieces.read(name)
        assert same(read, tensor.detach())
        assert not read.requires_grad


def test_only_the_rows_asked_for_are_read_and_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = random(1000, 100)
    pieces = write_all(tmp_path, {"weight": whole}, 4)
    asked: list[int] = []
    opened: list[str] = []

    class Watched(io.BufferedReader):
        def readinto(self, buffer: Any) -> int:
            asked.append(len(buffer))
            return super().readinto(buffer)

    def watch(path: Path, mode: str) -> Watched:
        opened.append(path.name)
        return Watched(io.FileIO(path, mode))

    monkeypatch.setattr(Path, "open", watch)
    read = pieces.read("weight", 240, 260)
    assert same(read, whole[240:260])
    assert asked == [10 * 400, 10 * 400]
    assert opened == ["rank-00000.safetensors", "rank-00001.safetensors"]
    assert read.untyped_storage().nbytes() == 20 * 400


def test_what_is_read_stays_when_the_files_go(tmp_path: Path) -> None:
    whole = random(10, 3)
    pieces = write_all(tmp_path, {"weight": whole}, 2)
    read = pieces.read("weight")
    read[0, 0] = 1  # and it is nobody else's
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    assert same(read[1:], whole[1:])
    with pytest.raises(AssertionError, match=r"rank-00000\.safetensors ends within weight"):
        pieces.read("weight", 0, 1)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_file_is_a_gap(tmp_path: Path, lost: int) -> None:
    write_all(tmp_path, {"weight": random(6, 2)}, 3)
    (tmp_path / f"rank-{lost:05d}.safetensors").unlink()
    with pytest.raises(AssertionError, match="pieces of weight have gaps"):
        Pieces(tmp_path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Piece(torch.zeros(3, 2), 1, 4), "gaps"),  # overlap
        (Piece(torch.zeros(2, 2), 2, 5), "differs"),
        (Piece(torch.zeros(2, 3), 2, 4), "differs"),
        (Piece(torch.zeros(2, 2).half(), 2, 4), "differs"),
    ],
)
def test_pieces_that_are_not_of_one_tensor_are_refused(tmp_path: Path, other: Piece, message: str) -> None:
    write(tmp_path / "rank-00000.safetensors", {"weight": Piece(torch.zeros(2, 2), 0, 4)})
    write(tmp_path / "rank-00001.safetensors", {"weight": other})
    with pytest.raises(AssertionError, match=message):
        Pieces(tmp_path)


def test_rows_outside_and_pieces_outside_are_refused(tmp_path: Path) -> None:
    pieces = write_all(tmp_path, {"weight": random(6, 2)}, 2)
    assert pieces.read("weight", 9, 9).shape == (0, 2)  # a rank that holds no row
    for start, stop in ((0, 7), (-1, 2), (4, 3)):
        with pytest.raises(AssertionError, match="weight has 6 rows"):
            pieces.read("weight", start, stop)
    with pytest.raises(AssertionError):
        Piece(torch.zeros(3), 4, 6)
    with pytest.raises(AssertionError, match="scalar"):
        Piece(torch.tensor(1.0), 0, 1)
    with pytest.raises(AssertionError, match="first row"):
        Piece(torch.zeros(3), 1)
