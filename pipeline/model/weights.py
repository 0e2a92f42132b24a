"""The weights of a pretrained model while they are still in their files, where any rows of them can be read."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from pipeline.model.build import from_weights
from pipeline.model.origin import located
from pipeline.params import Params

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Weights:
    """The tensors that `build`'s model starts from, bit for bit, by the model's names for them.

    The matrices of the checkpoint stay in its files, which are mapped, and only the rows that are asked for are read.
    The rest (vectors, a fresh head, buffers that are computed) is small, and in memory.
    """

    def __init__(self, stored: dict[str, Any], there: dict[str, Tensor]) -> None:
        """Take safetensors slices for what is in the files, and tensors for what is in memory."""
        self._stored = stored
        self._there = there

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the whole tensor."""
        return tuple(self._stored[name].get_shape() if name in self._stored else self._there[name].shape)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows [start, stop) of a tensor, on the CPU, in the type of the file; a scalar is read whole."""
        if name in self._stored:
            rows: Tensor = self._stored[name][start:stop]
            return rows
        tensor = self._there[name]
        return tensor[start:stop] if tensor.ndim else tensor


def stored_weights(params: Params, empty: "PreTrainedModel") -> Weights | None:
    """The weights of `build`'s model, without reading them.

    Which tensor of the files becomes which of the model is for transformers to say, as only it knows what was renamed
    since the files were written, what is tied, and how a missing head is drawn. So it loads the model from stand-ins:
    tensors of the files' shapes that take no memory, and whose place in the model shows where the true ones belong.

    Fresh weights are drawn as in `build`, which can still be called after it: torch's generator is left as it was.

    Args:
        empty: the model's skeleton.

    Returns:
        None if some tensor of the files is not simply one of the model, but merged, split or turned when it is loaded.

    Raises:
        UserError: the weights are none of this model's.
    """
    slices = {name: part for file in _files(params, empty.config) for name, part in _slices(file)}
    if not slices:
        return None
    stand_ins = {name: _stand_in(part.get_shape()) for name, part in slices.items() if _is_matrix(part)}
    content = {name: stand_ins[name] if name in stand_ins else part[...] for name, part in slices.items()}
    try:
        with torch.random.fork_rng(devices=[]):
            outline, _ = from_weights(type(empty), params, empty.config, content)
    except RuntimeError:  # of a conversion that cannot be done to stand-ins
        return None
    sources = {tensor.untyped_storage().data_ptr(): name for name, tensor in stand_ins.items()}
    stored, there = {}, {}
    for name, tensor in _tensors(outline):
        source = sources.get(tensor.untyped_storage().data_ptr())
        if source is not None and _layout(tensor) == _layout(stand_ins[source]):
            stored[name] = slices[source]
        elif source is None and not tensor.isnan().any():
            there[name] = tensor
        else:
            return None
    # Tied to what, transformers decides by the numbers where the files hold both: the stand-ins' tell nothing.
    return Weights(stored, there) if _ties(outline) == _ties(empty) else None


def _files(params: Params, config: PreTrainedConfig) -> list[str]:
    """The files that transformers would read; none where it would not find the usual ones."""
    if getattr(config, "transformers_weights", None) or config.extra_files:
        return []
    assert params.model.model_name_or_path is not None, "only a pretrained model has weights"
    name = located(params.model.model_name_or_path, "model.model_name_or_path")
    revision = params.model.model_revision
    for wanted in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        with contextlib.suppress(OSError):
            file = cached_file(name, wanted, revision=revision)
            assert file is not None, "it raises where there is none"
            files: list[str] = [file]
            if wanted == SAFE_WEIGHTS_INDEX_NAME:
                files, _ = get_checkpoint_shard_files(name, file, revision=revision)
            return files
    return []


def _slices(file: str) -> Iterator[tuple[str, Any]]:
    """Every tensor of a file by its name, as what reads it when it is indexed. The file stays mapped as long."""
    content: Any = safe_open(file, "pt")
    for name in content.keys():  # noqa: SIM118 -- it is no mapping
        yield name, content.get_slice(name)


def _is_matrix(part: Any) -> bool:
    """Whether a tensor of the files is worth reading by rows; vectors are not."""
    shape = part.get_shape()
    return len(shape) > 1 and 0 not in shape and "F" in part.get_dtype()


def _stand_in(shape: list[int]) -> Tensor:
    """A matrix of this shape that takes no memory, for it is made of so few numbers that they overlap.

    Each dimension has a stride of its own, so that whoever turns, cuts or reshapes the matrix makes another layout or a
    copy: that shows. The numbers are NaN: what is computed from them shows, too.
    """
    strides = tuple(reversed(range(len(shape))))
    size = 1 + sum(stride * (length - 1) for stride, length in zip(strides, shape, strict=True))
    return torch.full((size,), torch.nan).as_strided(shape, strides)


def _tensors(model: "PreTrainedModel") -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _layout(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset()


def _ties(model: "PreTrainedModel") -> dict[str, str]:
    """By the name of each parameter, the first name of the same one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in model.named_parameters(remove_duplicate=False)}
