"""The picture of points against the diagonal: how reliable probabilities are, or how near predicted numbers come."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.look import BLUE, MUTED, NARROW, TICK_STEPS, Drawing, axes_in, canvas, finish, points, style
from pipeline.views import Diagonal

_LARGEST, _SMALLEST = 18.0, 4.0
_MARGIN = 0.04
# With so many dots a whole one would hide its neighbours.
_MANY = 60


def diagonal(view: Diagonal) -> Drawing:
    """The points of a view; the area of a dot is its share of the rows, and both axes have the same scale."""
    places = np.array([point[:2] for point in view.points], np.float64)
    rows = np.array([point[2] for point in view.points], np.float64)
    diameters = np.maximum(_LARGEST * np.sqrt(rows / rows.max()), _SMALLEST)
    low, high = float(places.min()), float(places.max())
    margin = _MARGIN * (high - low) or _MARGIN
    with style():
        figure = canvas(NARROW, NARROW, view.title)
        axes = axes_in(figure, 60, 40, 24, 54)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        axes.axline((low, low), slope=1, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        alpha = 0.5 if len(rows) > _MANY else 0.9
        areas = [points(diameter) ** 2 for diameter in diameters.tolist()]
        axes.scatter(places[:, 0], places[:, 1], s=areas, color=BLUE, alpha=alpha, linewidths=0, clip_on=False)
        axes.grid(axis="both")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
        axes.set_xlabel(view.across)
        axes.set_ylabel(view.up)
        return finish(figure, view.name, _spoken(view))


def _spoken(view: Diagonal) -> str:
    """In words: every point if there are few, else where the rows lie."""
    if len(view.points) <= _MANY:
        listed = "; ".join(f"{x:.3g}: {y:.3g} ({rows:,} rows)" for x, y, rows in view.points)
        return f"{view.up[:1].upper()}{view.up[1:]} by {view.across}. {listed}."
    x, y, rows = np.array(view.points, np.float64).T
    off = float(np.average(np.abs(y - x), weights=rows))
    return (
        f"{view.up[:1].upper()}{view.up[1:]} by {view.across}: {int(rows.sum()):,} rows, on average {off:.3g} from the "
        f"diagonal; {view.across} from {x.min():.3g} to {x.max():.3g}, {view.up} from {y.min():.3g} to {y.max():.3g}."
    )
