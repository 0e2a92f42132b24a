"""How a model is laid out over the ranks: whole on each, or in shards where it does not fit."""

import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import UserError
from pipeline.model.build import build, skeleton
from pipeline.model.four_bits import check_four_bits
from pipeline.model.trained import count
from pipeline.model.weights import stored_weights
from pipeline.params import Hardware, Params
from pipeline.tasks.base import Task
from pipeline.training.learner import fill
from pipeline.training.memory import USABLE, estimate
from pipeline.training.parallel import Parallel, Replicas, Shards, Tree
from pipeline.world import World


def place(params: Params, task: Task, tokenizer: PreTrainedTokenizerBase, world: World) -> PreTrainedModel:
    """The model to train, on this rank's device: whole, or in shards as `hardware.parallel` says.

    Its numbers do not depend on the world. Pretrained shards are read from the files, each rank its own rows, so that
    no rank ever holds the whole; a model from scratch, or with adapters, is made whole on the host, and then cut.

    Raises:
        UserError: tokenizer and model do not fit, the weights are none of this model's, or weights of 4 bits cannot be
            held here.
    """
    model = _placed(params, task, tokenizer, world)
    if world.rank == 0:
        trained, parameters = count(model)
        print(f"train: {trained:,} of {parameters:,} parameters train")
    return model


def _placed(params: Params, task: Task, tokenizer: PreTrainedTokenizerBase, world: World) -> PreTrainedModel:
    empty = skeleton(params, task, tokenizer)
    if params.model.load_in_4bit:
        check_four_bits(params)
        return build(params, task, tokenizer, quantized=True)
    if not is_sharded(empty, world, params):
        model = build(params, task, tokenizer)
        model.to(world.device)  # type: ignore[arg-type]
        return model
    if params.model.model_name_or_path is None or params.model.lora is not None:
        return shard(build(params, task, tokenizer), world)
    weights = stored_weights(params, empty)
    if weights is None:
        if world.rank == 0:
            print("train: every rank reads the whole model: its weights are merged, split or tied while they are read")
        return shard(build(params, task, tokenizer), world)
    model = shard(empty, world).to_empty(device=world.device)
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        fill(tensor, weights, name)
    return model


def arrange(model: PreTrainedModel, world: World, hardware: Hardware, stopping: Callable[[], bool]) -> Parallel:
    """How the ranks compute with the model of `place`, as `hardware.reduce` says.

    Raises:
        UserError: exact sums over a number of ranks that is no power of two.
    """
    if hardware.reduce == "exact":
        if world.size & (world.size - 1):
            raise UserError(
                f"hardware.reduce: exact sums in a binary tree, over 1, 2, 4, 8, ... processes, not {world.size}.\n"
                "Change hardware.devices, or set hardware.reduce: fast."
            )
        return Tree(model, model, world, stopping)
    if world.size == 1:
        return Replicas(model, model, world, stopping)
    if isinstance(model, FSDPModule):
        return Shards(model, model, world, stopping)
    replica = DistributedDataParallel(
        model,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
        # Else DDP regroups its buckets after the first step, and sums in another order after a resume.
        find_unused_parameters=True,
    )
    return Replicas(model, replica, world, stopping)


def is_sharded(model: PreTrainedModel, world: World, params: Params) -> bool:
    """Whether the parameters are cut over the ranks; `auto` cuts them where training does not fit a device."""
    hardware = params.hardware
    if world.size == 1 or hardware.reduce == "exact":
        return False
    if hardware.parallel != "auto":
        return hardware.parallel == "fsdp"
    if world.device.type != "cuda":
        return False
    trained, parameters = count(model)
    tokens = hardware.micro_batch_tokens
    tokens = params.tokenizer.max_seq_length if tokens == "auto" else tokens  # auto can do with one example
    needed = estimate(model.config, trained, parameters - trained, tokens, params)
    there = torch.cuda.get_device_properties(world.device).total_memory
    fits = not world.any(needed > there * USABLE)  # the ranks' devices may differ
    if world.rank == 0:
        print(
            f"train: {parameters:,} parameters, of which {trained:,} train, need about {needed / 2**30:.1f} GiB with "
            f"gradients, optimizer state and the activations of {tokens:,} tokens; "
            f"a device has {there / 2**30:.1f} GiB: " + ("every rank holds all (ddp)" if fits else "sharded (fsdp)")
        )
    return not fits


def shard(model: PreTrainedModel, world: World) -> PreTrainedModel:
    """Cut every parameter's rows over the ranks' devices, in place: layer by layer, so that one at a time is whole."""
    mesh = init_device_mesh(world.device.type, (world.size,))
    # Under autocast alone, autograd would keep a 16-bit copy of every whole weight until the backward.
    dtype = None if world.dtype == torch.float32 else world.dtype
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # By default the root stays whole between forward and backward, and an evaluation has no backward.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    return model


def _layers(module: nn.Module) -> list[nn.Module]:
    """The repeated blocks: what stands in the outermost lists of modules."""
    if isinstance(module, nn.ModuleList):
        return [child for child in module if any(True for _ in child.parameters())]
    return [layer for child in module.children() for layer in _layers(child)]
