"""What a model and a loss are given of some examples, padded to the longest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.data import groups
from pipeline.params import Train

if TYPE_CHECKING:
    # More than a second of imports, which prepare does not need.
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Collation:
    """What examples need to become a batch.

    Attributes:
        config: the model's; its padding id is the one that the model knows.
        train: how it is trained; the defaults where examples are not trained on, so that scores stay comparable.
        training: whether they are trained on.
        epoch: of the training, counted from 0.
    """

    config: "PreTrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    epoch: int = 0
    train: Train = field(default_factory=Train)
    training: bool = False

    @property
    def seed(self) -> int:
        """Together with `epoch` and an example's index, what random choices hang on.

        Examples that are judged have one of their own, so that trainings with other seeds are judged on the same.
        """
        return self.train.seed if self.training else 0

    @property
    def pad_token_id(self) -> int:
        """The id of padding."""
        return int(self.config.pad_token_id)


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the device.

    Attributes:
        inputs: what the model's forward takes, each (examples, tokens); never `labels`.
        targets: what the loss compares with; `labels` are aligned with the logits, -100 where there is none.
    """

    inputs: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]

    @property
    def labels(self) -> torch.Tensor:
        """The targets of a task that has one kind of them."""
        return self.targets["labels"]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        inputs, targets = (
            {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
            for tensors in (self.inputs, self.targets)
        )
        return Batch(inputs, targets)


def padded(arrays: Sequence[np.ndarray], value: int, dtype: type = np.int64) -> torch.Tensor:
    """Arrays of several lengths as one tensor, (arrays, longest)."""
    lengths = np.array([len(array) for array in arrays])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    whole: np.ndarray = np.full(mask.shape, value, dtype)
    whole[mask] = np.concatenate(arrays)
    return torch.from_numpy(whole)


def padded_inputs(examples: Mapping[str, Any], collation: Collation) -> dict[str, torch.Tensor]:
    """The inputs of a model that reads one sequence an example: ids, mask and, if there are some, token types."""
    lengths = examples["length"]
    inputs = {"attention_mask": torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))}
    for name, value in (("input_ids", collation.pad_token_id), ("token_type_ids", 0)):
        if name in examples:
            inputs[name] = padded(examples[name], value)
    return inputs


def grouped_inputs(examples: Mapping[str, Any], collation: Collation) -> dict[str, torch.Tensor]:
    """Likewise of several sequences an example: the first of each example, then the second of each, and so on."""
    names = [name for name in ("input_ids", "token_type_ids") if name in examples]
    found: dict[str, Any] = {name: groups.sequences(examples, name) for name in names}
    return padded_inputs({**found, "length": np.array([len(tokens) for tokens in found["input_ids"]])}, collation)
