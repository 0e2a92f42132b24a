"""Texts that a model writes, greedily or by beam search: nothing is drawn, so the same model writes the same texts."""

import copy
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from transformers import GenerationConfig, PreTrainedModel

from pipeline.data.batches import micro_batches
from pipeline.data.rows import spread
from pipeline.model.config import positions
from pipeline.params import Evaluate, Tokenizer
from pipeline.progress import bar
from pipeline.tasks.base import GENERATED, Collation, Task
from pipeline.world import World

# Tokens whose keys and values fit where one fits forward and backward. Of a token's layer a cache keeps 2 numbers a
# hidden unit, where training keeps 17 (Korthikanti et al., 2022, https://arxiv.org/abs/2205.05198, table 2: 34 bytes).
_CACHED_TOKENS = 8


def generate(
    model: PreTrainedModel,
    task: Task,
    rows: pa.Table,
    collation: Collation,
    world: World,
    encoding: Tokenizer,
    settings: Evaluate,
    micro_batch_tokens: int,
    title: str,
    most: int | None = None,
) -> pa.Table:
    """Rows with what the model writes to each, in the column `generated` (string).

    Prompts of like lengths go through the model together. What it writes to one does not hang on those beside it, but
    for rounding, which may decide between two tokens that are as likely as each other.

    Args:
        rows: prepared rows, of which the task makes prompts.
        encoding: how texts become tokens.
        micro_batch_tokens: padded tokens that a forward and backward of training may have.
        title: what the progress is called.
        most: so many rows, spread evenly; the others have null. None: all rows.
    """
    chosen = np.arange(len(rows)) if most is None else spread(len(rows), most)
    if not len(chosen):
        return rows.append_column(GENERATED, pa.nulls(len(rows), pa.string()))
    prompts = _fitting(task.prompts(rows.take(chosen), collation.tokenizer, encoding), model, settings)
    config = _decoding(model, collation, settings)
    texts: list[str | None] = [None] * len(rows)
    costs = settings.num_beams * (np.array([len(prompt) for prompt in prompts], np.int64) + settings.max_new_tokens)
    was_training = model.training
    model.train(False)
    try:
        with bar(title, len(prompts)) as progress, torch.no_grad():
            for places in micro_batches(costs, np.arange(len(prompts)), micro_batch_tokens * _CACHED_TOKENS):
                written = _written(model, [prompts[place] for place in places], collation, world, config)
                for place, text in zip(places, written, strict=True):
                    texts[chosen[place]] = text
                progress.advance(len(places))
    finally:
        model.train(was_training)
    return rows.append_column(GENERATED, pa.array(texts, pa.string()))


def _fitting(prompts: Sequence[Sequence[int]], model: PreTrainedModel, settings: Evaluate) -> list[Sequence[int]]:
    """Prompts that leave room for what is written behind them, where both share the positions of the model.

    They lose their beginning, each by what it alone is too long.
    """
    limit = None if model.config.is_encoder_decoder else positions(model.config)
    return list(prompts) if limit is None else [prompt[-(limit - settings.max_new_tokens) :] for prompt in prompts]


def _decoding(model: PreTrainedModel, collation: Collation, settings: Evaluate) -> GenerationConfig:
    """How the model writes: as its own files say, but for what the params say, and never at random."""
    config: GenerationConfig = copy.deepcopy(model.generation_config)
    own = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    ends = [token for token in dict.fromkeys([*own, collation.tokenizer.eos_token_id]) if token is not None]
    config.update(
        do_sample=False,
        temperature=None,
        top_k=None,
        top_p=None,
        num_beams=settings.num_beams,
        max_new_tokens=settings.max_new_tokens,
        max_length=None,
        use_cache=True,
        pad_token_id=collation.pad_token_id,
        eos_token_id=ends or None,
    )
    return config


def _written(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    collation: Collation,
    world: World,
    config: GenerationConfig,
) -> list[str]:
    """What the model writes to prompts, in one go."""
    is_decoder = not model.config.is_encoder_decoder
    longest = max(map(len, prompts))
    ids = np.full((len(prompts), longest), collation.pad_token_id)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        # What a decoder writes stands right behind the prompt, so that its padding comes before.
        place = slice(longest - len(prompt), None) if is_decoder else slice(len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    with world.autocast():
        made = model.generate(  # type: ignore[operator]
            **{name: tensor.to(world.device) for name, tensor in inputs.items()}, generation_config=config
        )
    new = made[:, longest:] if is_decoder else made
    texts = collation.tokenizer.batch_decode(new.cpu(), skip_special_tokens=True)
    return [text.strip() for text in texts]
