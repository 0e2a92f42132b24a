"""What training changes: the model, the optimizer's state and the loss scale; what a rank holds of them, and back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from pipeline.evaluation.reference import Reference
from pipeline.model.weights import Weights
from pipeline.training.pieces import Piece, Pieces

_MODEL, _OPTIMIZER, _REFERENCE = "model.", "optimizer.", "reference."
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Learner:
    """What a step changes, and so what a checkpoint holds.

    Attributes:
        reference: what the model said before it was trained, which a resumed training cannot ask it again.
    """

    model: PreTrainedModel
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    reference: Reference = field(default_factory=dict)

    def pieces(self) -> dict[str, Piece]:
        """What this rank holds of every tensor, by name."""
        found = {f"{_MODEL}{name}": _piece(tensor) for name, tensor in _weights(self.model)}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{_OPTIMIZER}{name}.{key}"] = _piece(value)
        return found | {f"{_REFERENCE}{name}": Piece(torch.from_numpy(said)) for name, said in self.reference.items()}

    def scale(self) -> dict[str, Any]:
        """The loss scale, as JSON values; empty unless training in fp16."""
        state: dict[str, Any] = self.scaler.state_dict()
        return state

    def drop_unfinished_state(self) -> None:
        """Forget moments that were being made, before the first step, when memory ran out."""
        for parameter in [p for p, state in self.optimizer.state.items() if not {*_MOMENTS} <= state.keys()]:
            del self.optimizer.state[parameter]

    @torch.no_grad()
    def restore(self, saved: Pieces, scale: dict[str, Any]) -> None:
        """Take up a checkpoint that any number of ranks wrote."""
        restore_model(self.model, saved)
        stored_names = set(saved.names())
        for name, parameter in self.model.named_parameters():
            moments = {key: f"{_OPTIMIZER}{name}.{key}" for key in _MOMENTS}
            if moments["exp_avg"] in stored_names:
                state: dict[str, Tensor] = {key: torch.empty_like(parameter) for key in moments}
                for key, stored in moments.items():
                    fill(state[key], saved, stored)
                step = saved.read(f"{_OPTIMIZER}{name}.step").to(parameter.device)
                self.optimizer.state[parameter] = {"step": step, **state}
        self.scaler.load_state_dict(scale)
        for name in stored_names:
            if name.startswith(_REFERENCE):
                self.reference[name.removeprefix(_REFERENCE)] = saved.read(name).numpy()


@torch.no_grad()
def restore_model(model: PreTrainedModel, saved: Pieces) -> None:
    """Give a model the weights of a checkpoint, which has none of those that do not train."""
    for name, tensor in _weights(model):
        fill(tensor, saved, f"{_MODEL}{name}")


def _weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Parameters that train, tied ones once, and the buffers that belong to the weights."""
    # This first: it also puts what an evaluation left whole back into shards, and frees the whole.
    kept = model.state_dict().keys()
    yield from ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name in kept)


def _piece(tensor: Tensor) -> Piece:
    if not isinstance(tensor, DTensor):
        return Piece(tensor.detach())
    return Piece(tensor.to_local().detach(), _first_row(tensor), tensor.shape[0])


@torch.no_grad()
def fill(tensor: Tensor, saved: Pieces | Weights, name: str) -> None:
    """Read what this rank holds of a tensor: all of it, or its rows."""
    assert saved.shape(name) == tuple(tensor.shape), f"{name}: {saved.shape(name)} saved, {tuple(tensor.shape)} here"
    if isinstance(tensor, DTensor):
        local, first = tensor.to_local(), _first_row(tensor)
        local.copy_(saved.read(name, first, first + len(local)))
    else:
        tensor.copy_(saved.read(name))


def _first_row(tensor: DTensor) -> int:
    """Where this rank's rows begin: FSDP2 cuts as torch.chunk does, so the last ranks may have fewer or none."""
    each = -(-tensor.shape[0] // tensor.device_mesh.size())
    return int(min(tensor.device_mesh.get_local_rank() * each, tensor.shape[0]))
