"""Dropout whose masks hang on (seed, step, micro-batch), and on a CPU cost a tenth of what torch's own do.

torch draws a number a value, one after the other. Here numpy's SFC64 fills whole words with random bits, of which a
value takes 16. It is the same dropout (Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html) from
another generator; every model that calls torch's functions gets it, without a change of its code.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

_LEVELS = 2**16
_DRAWS_A_WORD = 4
_INTEGERS: dict[int, tuple[Any, torch.dtype]] = {
    2: (np.int16, torch.int16),
    4: (np.int32, torch.int32),
    8: (np.int64, torch.int64),
}
_attention = functional.scaled_dot_product_attention


def seeded(model: PreTrainedModel, device: torch.device, *seed: int) -> contextlib.AbstractContextManager[object]:
    """The forward of a micro-batch, which draws its dropout from these numbers: a resume needs no generator state.

    A layer that is computed again in the backward draws from torch's generator, whose state torch puts back for it.
    """
    drawn = np.random.SeedSequence(seed)
    number = int(drawn.generate_state(1, np.uint64)[0] >> np.uint64(1))
    # Not torch.manual_seed: it queues a call, with its caller's stack, for every kind of device that is not in use.
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
    if device.type != "cpu" or model.is_activation_checkpointing:
        return contextlib.nullcontext()
    return _Dropout(np.random.SFC64(drawn))


class _Dropout(TorchFunctionMode):
    """Takes the place of torch's dropout, and of its attention where that drops out probabilities."""

    def __init__(self, bits: np.random.SFC64) -> None:
        super().__init__()
        self._bits = bits

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.dropout:
            return self._drop(*args, **kwargs)
        if function is _attention and kwargs.get("dropout_p"):
            return self._attend(*args, **kwargs)
        return function(*args, **kwargs)

    def _drop(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0 or p == 1:
            return functional.dropout(values, p, training, inplace)
        kept = self._kept(values, p)
        return values.mul_(kept) if inplace else values * kept

    def _kept(self, values: Tensor, p: float) -> Tensor:
        """What each value is multiplied with, in its shape and type: 0, or the inverse of the share that is kept."""
        dropped = min(round(p * _LEVELS), _LEVELS - 1)
        integer, same = _INTEGERS[values.element_size()]
        # numpy knows no bfloat16, but the bits of a number times 0 or 1 are those of 0 or of the number.
        scale = torch.tensor(_LEVELS / (_LEVELS - dropped), dtype=values.dtype).view(same).item()
        words = self._bits.random_raw(math.ceil(values.numel() / _DRAWS_A_WORD))
        kept = (words.view(np.uint16)[: values.numel()] >= dropped) * integer(scale)
        return torch.from_numpy(kept).view(values.dtype).view(values.shape)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attention with its probabilities as a tensor, which is how torch computes it on a CPU with dropout, too."""
        if enable_gqa:
            heads = query.shape[-3] // key.shape[-3]
            key, value = (states.repeat_interleave(heads, -3) for states in (key, value))
        with torch.autocast(query.device.type, enabled=False):
            scores = (query * (scale or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
            if is_causal:
                attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            if attn_mask is not None and attn_mask.dtype == torch.bool:
                scores.masked_fill_(~attn_mask, torch.finfo(scores.dtype).min)
            elif attn_mask is not None:
                scores += attn_mask
            return self._drop(scores.softmax(-1), dropout_p) @ value
