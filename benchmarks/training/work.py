"""The work that the contestants of a training comparison share: examples, a model's configuration, the settings.

Every contestant reads the same folder: `work.json`, `examples.parquet` (input_ids and, to classify, a label; for a
language model blocks of `length` tokens with their `pieces`), and `model/`, which has fresh weights.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

VOCABULARY = 30_522
LABELS = 4
BLOCK = 256


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        kind: `classification`, or `causal-lm`.
        global_batch_size: examples a step.
        steps: that are timed.
        warm_up: steps before those.
        longest: tokens of the longest example.
        precision: fp32 or bf16.
        threads: of each process.
        processes: that share a step.
    """

    kind: str
    global_batch_size: int
    steps: int
    warm_up: int
    longest: int
    precision: str
    threads: int
    processes: int = 1

    @property
    def all_steps(self) -> int:
        """Those of the warm-up, too."""
        return self.warm_up + self.steps


def read() -> tuple[Work, pa.Table]:
    """The work in this folder, and its examples."""
    work = Work(**json.loads(Path("work.json").read_text(encoding="utf-8")))
    return work, pq.read_table("examples.parquet")


def model() -> Any:
    """The model to train."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    work, _ = read()
    kind = AutoModelForCausalLM if work.kind == "causal-lm" else AutoModelForSequenceClassification
    return kind.from_pretrained("model", dtype="float32").train()


def padded(rows: list[dict[str, Any]], longest: int | None = None) -> dict[str, Any]:
    """A batch as transformers' collators make it: padded to its longest example, or to a number of tokens."""
    import torch

    width = longest or max(len(row["input_ids"]) for row in rows)
    ids, mask = torch.zeros((len(rows), width), dtype=torch.int64), torch.zeros((len(rows), width), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[place, : len(row["input_ids"])] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    if "label" in rows[0]:
        return batch | {"labels": torch.tensor([row["label"] for row in rows])}
    return batch | {"labels": ids.masked_fill(mask == 0, -100)}


def timed(work: Work, steps: Iterator[int], shared: bool = False) -> None:
    """Go through the steps, each of which says how many real tokens it had, and print what was measured as JSON.

    Args:
        shared: the tokens are those of all processes rather than of this one.
    """
    clock = Clock(work, shared)
    for tokens in steps:
        if clock.tick(tokens):
            return
    raise AssertionError("the work has more steps than examples")


@dataclass
class Clock:
    """Real tokens a second from the end of the warm-up to the end of the last step, of all processes."""

    work: Work
    shared: bool = False
    done: int = 0
    tokens: int = 0
    begun: float = 0.0

    def tick(self, tokens: int) -> bool:
        """Count a step; whether it was the last one, whose end is told."""
        self.done += 1
        if self.done > self.work.warm_up:
            self.tokens += tokens
        if self.done == self.work.warm_up:
            self.begun = time.perf_counter()
        if self.done < self.work.all_steps:
            return False
        seconds = time.perf_counter() - self.begun
        tokens = self.tokens if self.shared or self.work.processes == 1 else _sum(self.tokens)
        if int(os.environ.get("RANK", "0")):
            return True
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        print(json.dumps({"tokens/s": tokens / seconds, "peak MiB": peak}), flush=True)
        return True


def _sum(tokens: int) -> int:
    """Over all processes."""
    import torch

    summed = torch.tensor([tokens])
    torch.distributed.all_reduce(summed)
    return int(summed)


def make(folder: Path, work: Work, lengths: Callable[[np.random.Generator, int], np.ndarray]) -> None:
    """Write the folder of a work.

    Args:
        lengths: draws the tokens of so many examples (documents, for a language model).
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BertConfig, GPT2Config

    draw = np.random.Generator(np.random.PCG64(0))
    torch.manual_seed(0)
    if work.kind == "causal-lm":
        config: Any = GPT2Config(vocab_size=32_000, n_positions=BLOCK, n_embd=256, n_layer=12, n_head=4)
        made = AutoModelForCausalLM.from_config(config)
        examples = _blocks(draw, work, lengths)
    else:  # of the size of all-MiniLM-L6-v2
        config = BertConfig(
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            vocab_size=VOCABULARY,
            num_labels=LABELS,
        )
        made = AutoModelForSequenceClassification.from_config(config)
        count = work.all_steps * work.global_batch_size
        examples = pa.table(
            {
                "input_ids": [draw.integers(1000, VOCABULARY, size, np.int32) for size in lengths(draw, count)],
                "label": draw.integers(0, LABELS, count, np.int32),
            }
        )
    folder.mkdir(parents=True)
    made.save_pretrained(folder / "model")
    pq.write_table(examples, folder / "examples.parquet")
    (folder / "work.json").write_text(json.dumps(asdict(work)), encoding="utf-8")


def _blocks(draw: np.random.Generator, work: Work, lengths: Callable[[np.random.Generator, int], np.ndarray]) -> Any:
    """Blocks of whole documents, cut at their end, as many as the steps need."""
    count = work.all_steps * work.global_batch_size
    sizes = lengths(draw, count * BLOCK)  # one token a document would still be enough
    ends = np.cumsum(sizes)
    ids = draw.integers(1000, 32_000, (count, BLOCK), np.int32)
    cuts = [ends[(ends > block * BLOCK) & (ends < (block + 1) * BLOCK)] - block * BLOCK for block in range(count)]
    pieces = [np.diff([0, *cut, BLOCK]).astype(np.int32) for cut in cuts]
    return pa.table({"input_ids": list(ids), "pieces": pieces})
