"""Layers without padding: from the first layer to the last, a micro-batch is one flat row of its real tokens.

The model is handed padded tensors and returns them, so that embeddings, heads and tasks know nothing of it. Before the
first layer its tokens are gathered, after the last one they are put back; attention, the only part of a layer in which
tokens see each other, runs over groups of sequences of like lengths. The model's code stays as transformers has it: it
finds its attention by name, and a layer takes hooks. ModernBERT does the same within its own code (Warner et al., 2024,
https://arxiv.org/abs/2412.13663).
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from pipeline.model.ragged import Group, groups_of

KINDS = frozenset(
    (
        "bert",
        "camembert",
        "distilbert",
        "electra",
        "gemma",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "llama",
        "mistral",
        "modernbert",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "roberta",
        "smollm3",
        "xlm-roberta",
    )
)
"""Models whose layers look at other tokens in their attention alone, by the interface; a test looks at each of them."""

_NAME = "unpadded"
# The flat row is filled up to a multiple: oneDNN prepares its products anew for every number of rows that it meets, and
# that takes longer than some of the products.
_ROWS = 64


@dataclass(frozen=True)
class _Flat:
    """Where the tokens of a micro-batch stand in its padded tensors.

    Attributes:
        places: (tokens and more,) int64, in tensors (sequences, longest) read row by row; the longest sequence comes
            first. What fills the row up is copies of a token that nobody sees.
        tokens: how many are real.
        groups: what attention takes at once.
        shape: (sequences, longest) of the padded tensors.
    """

    places: Tensor
    tokens: int
    groups: Sequence[Group]
    shape: tuple[int, int]
    _made: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def of(self, value: Any) -> Any:
        """As one row: (1, tokens and more, ...) of a tensor (sequences or 1, longest, ...); all else as it is."""
        if isinstance(value, tuple):
            return tuple(self.of(part) for part in value)
        if not isinstance(value, Tensor) or value.shape[:2] not in (self.shape, (1, self.shape[1])):
            return value
        whole = value.expand(*self.shape, *value.shape[2:])
        return whole.flatten(0, 1).index_select(0, self.places)[None]

    def shared(self, value: Any) -> Any:
        """`of` what every layer is handed, made once."""
        if id(value) not in self._made:
            self._made[id(value)] = value, self.of(value)  # the value, too, lest another one takes its id
        return self._made[id(value)][1]

    def padded(self, row: Tensor) -> Tensor:
        """The opposite of `of`, with zeros for the padding: (sequences, longest, ...)."""
        whole = row.new_zeros(self.shape[0] * self.shape[1], *row.shape[2:])
        return whole.index_copy(0, self.places[: self.tokens], row[0, : self.tokens]).view(*self.shape, *row.shape[2:])

    def enter_first(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The hook before the first layer, whose first argument is the states of the tokens."""
        return self.enter(layer, (self.of(args[0]), *args[1:]), kwargs)

    def enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The hook before any layer."""
        return (args[0], *map(self.shared, args[1:])), {name: self.shared(value) for name, value in kwargs.items()}

    def leave(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """The hook after the last layer."""
        return (self.padded(output[0]), *output[1:]) if isinstance(output, tuple) else self.padded(output)


_current: ContextVar[_Flat] = ContextVar("_current")


def _flat(inputs: Mapping[str, Tensor]) -> _Flat | None:
    """Of a micro-batch, by its mask; None where there is nothing to be gained: in blocks of packed pieces, too.

    None, too, where the mask is none of rows of tokens: a task of the user's own may say which tokens see which, or
    leave holes in a row.
    """
    tokens, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if tokens is None or mask is None or tokens.shape != mask.shape or "position_ids" in inputs:
        return None
    real = mask.numpy().reshape(-1, mask.shape[-1]) != 0
    begins = np.diff(real, axis=1, prepend=False) & real
    if real.all() or (begins.sum(axis=1) > 1).any():
        return None
    lengths = real.sum(axis=1)
    order = np.argsort(-lengths, kind="stable")
    places = np.concatenate([np.flatnonzero(real[row]) + row * real.shape[1] for row in order])
    filled = np.append(places, np.full(-len(places) % _ROWS, places[0]))
    shape = (real.shape[0], real.shape[1])
    return _Flat(torch.from_numpy(filled), len(places), groups_of(lengths[order]), shape)


def unpads(model: PreTrainedModel) -> bool:
    """Whether `without_padding` has an effect: on a CPU, on models of `KINDS` in transformers' own code.

    Not on shards, whose layers have hooks of their own, nor on layers that are computed again in the backward: they
    would not find theirs.
    """
    return (
        type(model).__module__.startswith("transformers.models.")
        and model.config.model_type in KINDS
        and model.device.type == "cpu"
        and not isinstance(model, FSDPModule)
        and model.config._attn_implementation == "sdpa"
        and not model.is_activation_checkpointing
    )


@contextlib.contextmanager
def without_padding(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Compute the forward of a micro-batch without padding, if the model `unpads`.

    Args:
        inputs: of the batch; the last axis of each is the tokens.
    """
    flat = _flat(inputs) if unpads(model) else None
    if flat is None:
        yield
        return
    first, *others = all_layers = layers(model)
    hooks = [first.register_forward_pre_hook(flat.enter_first, with_kwargs=True)]
    hooks += [layer.register_forward_pre_hook(flat.enter, with_kwargs=True) for layer in others]
    hooks.append(all_layers[-1].register_forward_hook(flat.leave))
    before, token = model.config._attn_implementation, _current.set(flat)
    model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        _current.reset(token)
        for hook in hooks:
            hook.remove()


def layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers, which a model of `KINDS` keeps in its first list of modules."""
    return next(list(child) for child in model.base_model.modules() if isinstance(child, nn.ModuleList))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of flat rows: (1, heads, tokens, size) of query, key and value make (1, tokens, heads, size)."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    found = []
    for group in _current.get().groups:
        mask = _mask(group, causal, sliding_window)
        queries, keys, values = map(group.apart, rows)
        states = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=causal and mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        found.append(group.together(states))
    filling = states.new_zeros(query.shape[2] - group.tokens.stop, found[0].shape[1])
    return torch.cat([*found, filling]).view(1, query.shape[2], query.shape[1], value.shape[3]), None


def _mask(group: Group, causal: bool, window: int | None) -> Tensor | None:
    """Which tokens of a sequence see which, broadcast over (sequences, heads, longest, longest), if not all of them.

    None for what is causal and no more: padding comes after all that is real, and nobody looks at what it sees.
    """
    longest = group.shape[1]
    seen = None if causal or group.even else group.real
    if window is None or longest <= window:
        return seen
    apart = torch.arange(longest)[:, None] - torch.arange(longest)
    near = (apart >= 0) & (apart < window) if causal else apart.abs() < window
    return near if seen is None else near & seen


AttentionInterface.register(_NAME, _attend)
# The model makes no mask of its own: it would be of padded tensors.
AttentionMaskInterface.register(_NAME, lambda *args, **kwargs: None)
