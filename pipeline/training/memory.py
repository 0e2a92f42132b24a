"""How much memory training takes: an estimate before there is a model on a device, and a measurement after."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PretrainedConfig

from pipeline.data.store import Store
from pipeline.params import Params
from pipeline.tasks.base import Collation, Task
from pipeline.training.learner import Learner
from pipeline.training.loop import loss_of
from pipeline.training.parallel import Parallel, Part

# Of a device's memory, what training may fill; the rest is the allocator's, whose blocks never fit quite.
USABLE = 0.85
# fp32 weight and gradient, and AdamW's two moments; of what does not train, the weight alone.
_BYTES_A_TRAINED, _BYTES_A_FROZEN = 16, 4
# What a layer keeps for the backward, by token and hidden unit, in 16-bit numbers (fp32 takes twice that): 34 bytes
# (Korthikanti et al., 2022, https://arxiv.org/abs/2205.05198, table 2, without the attention scores, which fused
# attention never keeps), and half as much again with a gated feed-forward and rotary positions.
_BYTES_A_UNIT = 51
_FEW = 4


def estimate(config: PretrainedConfig, trained: int, frozen: int, tokens: int, params: Params) -> int:
    """Bytes that one device needs to train a whole model: weights, gradients, optimizer state and activations.

    Args:
        trained: parameters that train.
        frozen: those that do not.
        tokens: padded tokens of a micro-batch.
    """
    text = config.get_text_config()
    layers, hidden = getattr(text, "num_hidden_layers", 0), getattr(text, "hidden_size", 0)
    width = 2 if params.train.precision == "fp32" else 1
    unit = _BYTES_A_UNIT * width
    if params.hardware.gradient_checkpointing:  # a layer's input is kept, and the layer that is recomputed
        activations = tokens * hidden * (layers * 2 * width + unit)
    else:
        activations = tokens * hidden * layers * unit
    return trained * _BYTES_A_TRAINED + frozen * _BYTES_A_FROZEN + activations


def fitting_tokens(
    learner: Learner, parallel: Parallel, task: Task, store: Store, params: Params, collation: Collation
) -> int:
    """Padded tokens of a micro-batch that fill a GPU, by measuring the longest examples; the same on every rank.

    Forward, backward (twice, since gradients of the first stay) and the optimizer's step run as in training, but the
    step changes nothing. On a CPU, whose memory is everybody's, it is the number that stands for no choice.
    """
    device = parallel.world.device
    if device.type != "cuda":
        return params.hardware.forward_tokens
    longest = np.lexsort((np.arange(len(store)), -store.lengths))
    free, _ = torch.cuda.mem_get_info(device)
    usable = int((free + torch.cuda.memory_reserved(device)) * USABLE)

    def agreed(examples: int) -> int:  # every rank must take part in every rehearsal
        return int(min(parallel.world.gather(examples)))

    def peak(examples: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        rehearse(learner, parallel, task, store, params, collation, longest[:examples])
        return int(torch.cuda.max_memory_allocated(device))

    most = min(len(store), params.train.global_batch_size)
    examples = fitting_examples(peak, lambda: torch.cuda.memory_allocated(device), most, usable, agreed)
    return examples * int(store.lengths[longest[0]])


def fitting_examples(
    peak: Callable[[int], int], held: Callable[[], int], most: int, usable: int, agreed: Callable[[int], int]
) -> int:
    """How many examples fit: at equal lengths, the peak is a straight line in their number.

    Args:
        peak: bytes at the peak of a micro-batch of so many examples.
        held: bytes that stay between micro-batches.
        most: examples that a micro-batch can have.
        usable: bytes.
        agreed: the fewest of what the ranks say.
    """
    peak(1)  # makes what stays: the optimizer's state, workspaces of libraries
    one = peak(1)
    slope = one - held()  # at most so much an example: a part of it does not grow
    few = agreed(min(most, _FEW, (usable - held()) // max(slope, 1)))
    if few < 2:
        return 1
    slope = (peak(few) - one) // (few - 1)
    return agreed(max(1, min(most, 1 + (usable - one) // max(slope, 1))))


def rehearse(
    learner: Learner,
    parallel: Parallel,
    task: Task,
    store: Store,
    params: Params,
    collation: Collation,
    indices: np.ndarray,
) -> None:
    """A step of two equal micro-batches that changes neither weights nor optimizer state."""
    parts = [Part(0, indices), Part(1, indices)]
    loss = loss_of(parallel, task, store, params.train, collation, 0, indices, parts)
    parallel.backward(parts, loss, learner.scaler)
    learner.optimizer.found_inf = torch.ones((), device=parallel.world.device)  # type: ignore[attr-defined]
    learner.optimizer.step()
    learner.optimizer.zero_grad()
