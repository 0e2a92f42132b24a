"""Pretrained weights in 4 bits (QLoRA; Dettmers et al., 2023, https://arxiv.org/abs/2305.14314), with bitsandbytes.

They do not train: adapters do. What is exported is the model in full precision, with the adapters merged into it.
"""

import importlib.util
from typing import TYPE_CHECKING

import torch
from transformers import BitsAndBytesConfig

from pipeline.errors import UserError
from pipeline.model.lora import head_modules
from pipeline.params import Params

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_four_bits(params: Params) -> None:
    """Raise a UserError if the params ask for weights of 4 bits and this machine cannot compute with them."""
    if not params.model.load_in_4bit:
        return
    if params.hardware.use_cpu or not torch.cuda.is_available():
        why = "hardware.use_cpu keeps off the GPU" if params.hardware.use_cpu else "this machine has none"
        raise UserError(f"model.load_in_4bit: weights of 4 bits need an NVIDIA GPU, and {why}.\nSet it to false.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "model.load_in_4bit: bitsandbytes is not installed.\nRun pip install bitsandbytes, or set it to false."
        )
    if params.hardware.parallel == "fsdp":
        raise UserError(
            "model.load_in_4bit: weights of 4 bits are packed, and cannot be cut over processes by their rows.\n"
            "Set hardware.parallel: ddp, or load_in_4bit to false."
        )


def quantization(empty: "PreTrainedModel", params: Params) -> BitsAndBytesConfig:
    """How transformers is to load the model: all but what trains whole, and what gives words, in 4 bits (NF4).

    Args:
        empty: the model without adapters, as its configuration makes it; on the meta device.
    """
    assert params.model.lora is not None, "params are validated: weights of 4 bits cannot be trained"
    words = empty.get_output_embeddings()
    kept = [*head_modules(empty), *(params.model.lora.modules_to_save or ())]
    kept += [name for name, module in empty.named_modules() if module is words]
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=_DTYPES[params.train.precision],
        llm_int8_skip_modules=[*kept, "pooler"],  # which many files do not have, so that it is drawn, and trains
    )
