"""The confusion matrix: with numbers for few labels, without for many, and none for very many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from rich.cells import cell_len

from pipeline.evaluation.look import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    ORANGE,
    Drawing,
    axes_in,
    canvas,
    finish,
    points,
    readable,
    style,
    written,
)

MOST_LABELS = 150
_MOST_LABELS_WITH_NUMBERS = 20


def confusion_matrix(counts: np.ndarray, labels: Sequence[str]) -> Drawing:
    """Actual labels down, predicted ones across: right in blue, wrong in orange, shaded by the share of the row.

    Args:
        counts: (labels, labels) examples by actual and predicted label.
    """
    size = len(labels)
    few = size <= _MOST_LABELS_WITH_NUMBERS
    cell = min(54.0, 660 / size) if few else max(5.0, 740 / size)
    type_size = 12.0 if few else min(11.0, cell * 0.92)
    names = [readable(label, 22 if few else 36) for label in labels]
    longest = max(map(cell_len, names)) * type_size * 0.6
    margin, above = max(130, 24 + longest), 34 + longest * (0.72 if few else 1.0)
    beside = max(64.0, longest * 0.72 if few else 0.0)
    with style():
        figure = canvas(round(margin + cell * size + beside), round(above + cell * size + 12))
        axes = axes_in(figure, margin, above, beside, 12)
        axes.set_facecolor(FAINT)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(size - 0.5, -0.5)
        axes.xaxis.tick_top()
        leaning: dict[str, Any] = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if few else {"rotation": 90}
        axes.set_xticks(range(size), names, fontsize=points(type_size), color=INK, **leaning)
        axes.set_yticks(range(size), names, fontsize=points(type_size), color=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        _cells(axes, counts, few, type_size)
        axes.annotate(
            "actual ↓  predicted →",
            (0, 1),
            (-points(8), points(8)),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            size=points(11),
            color=MUTED,
        )
        right = int(np.trace(counts))
        alt = f"Confusion matrix of {size} labels: {right:,} of {int(counts.sum()):,} examples are on the diagonal."
        in_png = [written(name, number) for number, name in enumerate(names)]
        return finish(figure, "confusion_matrix", alt, {axes.xaxis: in_png, axes.yaxis: in_png})


def _cells(axes: Axes, counts: np.ndarray, numbers: bool, type_size: float) -> None:
    """A square for every pair that occurs, and at the end of each row the share of it that is right."""
    totals = counts.sum(axis=1)
    actual, predicted = np.nonzero(counts)
    shares = counts[actual, predicted] / totals[actual]
    half = 0.47 if numbers else 0.5
    faintest = 0.07 if numbers else 0.25
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    squares = np.stack([predicted, actual], axis=1)[:, None, :] + corners
    colours = [
        _shade(share, row == column, faintest) for share, row, column in zip(shares, actual, predicted, strict=True)
    ]
    axes.add_collection(PolyCollection(list(squares), facecolors=colours, linewidths=0), autolim=False)
    if numbers:
        for row, column, share in zip(actual.tolist(), predicted.tolist(), shares, strict=True):
            colour = "white" if row == column and share > 0.75 else INK
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour)
    edge = len(counts) - 0.5 + 0.01 * len(counts)
    axes.text(edge, -0.75, "recall", size=points(min(type_size, 11)), color=MUTED, va="bottom")
    for row in np.flatnonzero(totals).tolist():
        recall = f"{counts[row, row] / totals[row]:.0%}"
        axes.text(edge, row, recall, size=points(min(type_size, 11)), color=MUTED, va="center")


def _shade(share: float, right: bool, faintest: float) -> tuple[float, float, float]:
    """From nearly white to full colour. Errors are shaded by the root, so that rare ones are seen, too."""
    strength = 0.1 + 0.9 * share if right else faintest + (1 - faintest) * share**0.5
    full = to_rgb(BLUE if right else ORANGE)
    return tuple(1 - strength * (1 - part) for part in full)  # type: ignore[return-value]
