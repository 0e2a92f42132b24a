"""What the report shows of answers that are numbers."""

from collections.abc import Sequence

import numpy as np

from pipeline.views import Column, Diagonal, Table

_CELLS = 40


def against_actual(target: np.ndarray, prediction: np.ndarray) -> Diagonal:
    """Predicted against actual numbers, on a grid, so that a picture of very many rows stays small.

    Args:
        target: (rows,) float.
        prediction: likewise.
    """
    both = np.stack([target, prediction], axis=1).astype(np.float64)
    width = max(float(np.ptp(both)), 1e-9) / _CELLS
    cells, counts = np.unique(np.round(both / width), axis=0, return_counts=True)
    return Diagonal(
        "predicted",
        "Predicted and actual",
        "Rows with like numbers are one dot, the larger the more rows it stands for. On the diagonal the prediction "
        "is exact; a cloud that is flatter than the diagonal shuns high and low numbers.",
        "actual",
        "predicted",
        [(x, y, rows) for (x, y), rows in zip((cells * width).tolist(), counts.tolist(), strict=True)],
    )


def largest_errors(
    ids: Sequence[str], texts: Sequence[tuple[str, ...]], target: np.ndarray, prediction: np.ndarray
) -> Table:
    """The rows on which the prediction is farthest off, the worst first."""
    numbers = zip(target.tolist(), prediction.tolist(), (prediction - target).tolist(), strict=True)
    return Table(
        "errors",
        "Largest errors",
        "The rows whose predicted number is farthest from the actual one. Look here for wrong numbers, and for what "
        "the model cannot know.",
        (Column("Row"), Column("Text", is_text=True), *map(Column, ("Actual", "Predicted", "Error"))),
        [(id_, " | ".join(parts), *of_row) for id_, parts, of_row in zip(ids, texts, numbers, strict=True)],
    )
