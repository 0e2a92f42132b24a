"""Output embeddings that give the loss in place of logits, which for a large vocabulary fill most of the memory.

The logits of a few positions at a time are made, judged and forgotten, in the forward pass, together with the gradient
that they lead to: the backward only scales it (as in Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM
Training", 2024, https://arxiv.org/abs/2410.10989, section 3.2). Positions without a target have none at all.

torch.nn.functional.linear_cross_entropy does the same; its loss of 16-bit states has 16 bits itself.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from pipeline.data.packing import NO_TARGET

_POSITIONS = 256
_ROWS = 64

KINDS = frozenset(
    (
        "albert",
        "bert",
        "bloom",
        "camembert",
        "deberta-v2",
        "distilbert",
        "electra",
        "gemma",
        "gemma3_text",
        "gpt2",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "llama",
        "mistral",
        "modernbert",
        "mpnet",
        "mt5",
        "olmo2",
        "opt",
        "phi3",
        "qwen2",
        "qwen3",
        "roberta",
        "smollm3",
        "t5",
        "xlm-roberta",
    )
)
"""Models whose logits are those of their output embeddings; a test looks at each of them."""


@contextlib.contextmanager
def summed_loss(model: PreTrainedModel, labels: Tensor, label_smoothing: float) -> Iterator[None]:
    """Within, the `logits` of the model's forward are the cross-entropy of `labels`, summed: a scalar in nats and fp32.

    It is computed within the forward, so that whatever wraps the model (DDP, FSDP) finds its weights where it expects
    them.

    Args:
        model: one that `gives_loss`.
        labels: (examples, tokens), aligned with the logits, NO_TARGET where there is none; on the host, where targets
            are found without waiting for a device.
    """
    head = cast(nn.Linear, model.get_output_embeddings())
    places = (labels != NO_TARGET).flatten().nonzero().squeeze(1)
    targets = labels.flatten()[places]

    def forward(states: Tensor) -> Tensor:
        kept, wanted = (tensor.to(states.device, non_blocking=True) for tensor in (places, targets))
        if torch.is_autocast_enabled(states.device.type):
            states = states.to(torch.get_autocast_dtype(states.device.type))
        found: Tensor = _Summed.apply(  # type: ignore[no-untyped-call]
            states.flatten(0, 1)[kept], head.weight, head.bias, wanted, label_smoothing
        )
        return found

    head.__dict__["forward"] = forward  # before the one of its class
    try:
        yield
    finally:
        del head.__dict__["forward"]


def gives_loss(model: PreTrainedModel) -> bool:
    """Whether the logits of a model are what its output embeddings say, and nothing is done with them after."""
    return (
        model.config.model_type in KINDS
        and type(model.get_output_embeddings()) is nn.Linear
        and getattr(model.config, "final_logit_softcapping", None) is None
    )


class _Summed(torch.autograd.Function):
    """The summed cross-entropy of states (positions, hidden) whose labels are (positions,)."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float
    ) -> Tensor:
        words = weight.to(states.dtype)
        loss = torch.zeros((), device=states.device)
        # Rows of zeros, which add nothing, make the last chunk of a size that oneDNN has met before.
        filled = functional.pad(states, (0, 0, 0, -len(states) % _ROWS))
        by_states = torch.empty_like(filled)
        by_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        by_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(filled), _POSITIONS):
            here = slice(start, start + _POSITIONS)
            real = slice(len(labels[here]))
            wanted = (torch.arange(len(labels[here]), device=labels.device), labels[here])
            logits = functional.linear(filled[here], words, None if bias is None else bias.to(states.dtype))
            logs = torch.log_softmax(logits, dim=1, dtype=torch.float32)
            loss -= (1 - smoothing) * logs[wanted].sum()
            if smoothing:
                loss -= smoothing * logs[real].mean(dim=1).sum()
            # In the memory of the logarithms: the probabilities, less what they should be.
            gradient = logs.exp_()
            gradient[wanted] -= 1 - smoothing
            if smoothing:
                gradient -= smoothing / gradient.shape[1]
            gradient = gradient.to(states.dtype)
            by_states[here] = gradient @ words
            if by_weight is not None:
                by_weight += gradient.T @ filled[here]
            if by_bias is not None:
                by_bias += gradient[real].sum(dim=0)
        ctx.save_for_backward(by_states[: len(states)], by_weight, by_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return *(None if found is None else found * gradients[0] for found in ctx.saved_tensors), None, None
