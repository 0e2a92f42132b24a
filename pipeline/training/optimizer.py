"""AdamW without decay on biases and norms, and the learning rate as a pure function of the step."""

import math

import torch

from pipeline.params import Train


def adamw(model: torch.nn.Module, train: Train) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101).

    Vectors (biases, norm weights) are spared the decay. A fused step reads `found_inf` on the device and leaves
    parameters and state alone where it is not zero.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=train.learning_rate,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_epsilon,
        fused=True,
    )


def warmup_steps(train: Train, steps: int) -> int:
    """Steps of warm-up: a fraction of all steps below 1, a number from 1 on, as transformers reads it."""
    if train.warmup_steps < 1:
        return math.ceil(steps * train.warmup_steps)
    return int(train.warmup_steps)


def learning_rate(train: Train, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 0) of `steps`."""
    warmup = warmup_steps(train, steps)
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match train.lr_scheduler_type:
        case "linear":
            return train.learning_rate * (1 - done)
        case "cosine":
            return train.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        case "constant":
            return train.learning_rate
