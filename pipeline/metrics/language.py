"""How well a model predicts tokens: cross-entropies, and the scores that are made of them."""

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data.packing import NO_TARGET
from pipeline.views import Column, Table

_MOST_CHARACTERS = 400


def summed(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """The cross-entropy summed over all labels but NO_TARGET, a scalar in nats and fp32.

    Args:
        logits: (examples, tokens, vocabulary); or a scalar, the sum itself, of a model whose head makes no logits.
        labels: (examples, tokens), aligned with the logits.
    """
    if logits.ndim == 0:
        return logits
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=NO_TARGET,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def by_example(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """`loss` (nats), `targets` and how many of them are the most probable token (`right`), each (examples,)."""
    losses = functional.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=NO_TARGET, reduction="none")
    return {
        "loss": losses.sum(dim=1),
        "targets": (labels != NO_TARGET).sum(dim=1),
        "right": (logits.argmax(dim=-1) == labels).sum(dim=1),
    }


def by_row(found: Mapping[str, np.ndarray], rows: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Numbers of examples summed over those of each row, (rows,).

    Args:
        rows: the row of each example.
        count: how many rows there are.
    """
    return {
        name: np.bincount(rows, values, count).astype(np.int64 if values.dtype.kind in "iu" else np.float64)
        for name, values in found.items()
    }


def utf8_bytes(texts: Sequence[str]) -> np.ndarray:
    """The bytes of each text in UTF-8, (texts,)."""
    return np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))


def perplexity(loss: float) -> float:
    """Of a mean loss in nats a token; infinite where a float cannot hold it, no number where the loss is none."""
    return math.inf if loss >= 709 else math.exp(loss)


def bits_per_byte(nats: float, size: int) -> float:
    """Of a loss summed over texts of so many bytes: comparable whatever the tokens."""
    return nats / math.log(2) / max(size, 1)


def surprise(predictions: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mean loss of each row's targets in nats, (rows,); no number for a row without any."""
    targets = predictions["targets"]
    found: np.ndarray = np.where(targets > 0, predictions["loss"] / np.maximum(targets, 1), np.nan)
    return found


def mean(values: np.ndarray, targets: np.ndarray) -> float:
    """Of sums by row over all targets; no number without any."""
    count = int(targets.sum())
    return float(values.sum(dtype=np.float64)) / count if count else math.nan


def scores(predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Perplexity, bits per byte and mean loss of rows with `loss` (nats), `targets` and `bytes`."""
    nats, targets = predictions["loss"], predictions["targets"]
    loss = mean(nats, targets)
    # Of what holds no target, no byte was predicted either.
    size = int(predictions["bytes"][targets > 0].sum())
    bits = bits_per_byte(float(nats.sum(dtype=np.float64)), size) if targets.any() else math.nan
    return {"perplexity": perplexity(loss), "bits_per_byte": bits, "loss": loss}


def most_surprising(rows: pa.Table, texts: Sequence[str], predictions: Mapping[str, np.ndarray], most: int) -> Table:
    """The rows that were predicted worst, for the report.

    Args:
        rows: with their `id`.
        texts: one a row.
        most: how many to list.
    """
    found = surprise(predictions)
    worst = [row for row in np.argsort(-found, kind="stable").tolist() if predictions["targets"][row]][:most]
    return Table(
        name="surprising",
        title="What surprised the model most",
        lead="The test rows with the highest loss a token. Noise and rows that do not belong often stand here.",
        columns=(Column("Row"), Column("Perplexity"), Column("Tokens"), Column("Text", is_text=True)),
        rows=[
            (
                str(rows["id"][row].as_py()),
                perplexity(float(found[row])),
                int(predictions["targets"][row]),
                shorten(texts[row], _MOST_CHARACTERS),
            )
            for row in worst
        ],
    )
