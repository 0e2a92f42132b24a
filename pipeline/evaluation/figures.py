"""The figures of the report: what was learned, and how sure the scores are; data_figures.py and matrix.py have more."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

from pipeline.evaluation.look import (
    BLUE,
    INK,
    MUTED,
    NARROW,
    SERIES,
    TICK_STEPS,
    Drawing,
    axes_in,
    canvas,
    finish,
    in_rows,
    points,
    quiet,
    readable,
    style,
)
from pipeline.scores import decimals, ends_at_one, fitting, number

Curves = Mapping[tuple[str, str], tuple[Sequence[int], Sequence[float]]]
"""(split, score) -> steps and values."""
Bounds = Mapping[str, float | None]
"""value (or difference), low and high."""
Scores = Mapping[str, Bounds]
"""By the name of the score."""

MODEL = "this model"
# Of the range of an axis, so that equal scores do not blow up their last digits.
_LEAST_RANGE = 0.05


def loss_curve(curves: Curves, best_step: int, minimised: str = "") -> Drawing:
    """Training and validation loss over the steps; the best step marked.

    Args:
        minimised: what the training loss was taken with, such as `smoothed labels`; the validation loss never is.
    """
    title = f"Loss (training: with {minimised})" if minimised else "Loss"
    shown = {split: curves[split, "loss"] for split in ("train", "validation") if (split, "loss") in curves}
    return _over_steps("loss", title, shown, [MUTED, BLUE], best_step)


def score_curves(curves: Curves, best_step: int) -> Drawing:
    """The validation scores over the steps; the best step marked."""
    shown = {score: curve for (split, score), curve in curves.items() if split == "validation" and ends_at_one(score)}
    colours = [SERIES[place % len(SERIES)] for place in range(len(shown))]
    return _over_steps("validation_scores", "Validation scores", shown, colours, best_step)


def scores(ours: Scores, baselines: Mapping[str, Scores]) -> Drawing:
    """Every test score of the model and of the baselines, a dot with its interval.

    What lies far below the rest stands at the edge as a number, so that the intervals of the others can be seen.
    """
    parties = {MODEL: ours} | {name: baselines[name] for name in reversed(list(baselines))}
    names = [name for name in ours if ends_at_one(name)]
    rows = [(name, party, found[name]) for name in names for party, found in parties.items() if name in found]
    with style():
        figure = canvas(NARROW, 68 + 24 * (len(rows) + len(names)), "Test scores")
        axes = axes_in(figure, 196, 32, 24, 34)
        left, right = _near([found for _, _, found in rows], [found for _, party, found in rows if party == MODEL])
        axes.set_xlim(left, right)
        place, places, labels = 0, [], []
        for name in names:
            axes.text(-0.784, place, readable(name), transform=axes.get_yaxis_transform(), color=MUTED, va="center")
            for _, party, found in (row for row in rows if row[0] == name):
                place += 1
                places.append(place)
                labels.append(readable(party, 30))
                value = found["value"]
                if value is None or value < left:
                    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                    words = "not defined" if value is None else f"◂ {fitting(name, value)}"
                    axes.text(left, place, words, color=MUTED, size=points(11), va="center", bbox=behind)
                else:
                    _whisker(axes, place, value, found, BLUE if party == MODEL else MUTED)
            place += 1
        in_rows(axes, places, labels, place)
        axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        alt = "; ".join(f"{name} of {party} {_spoken(found['value'], found)}" for name, party, found in rows)
        return finish(figure, "scores", f"Test scores with their intervals. {alt}.")


def differences(found: Scores, baseline: str, model: str = MODEL) -> Drawing:
    """By how much the model beats one baseline, for every score, with the interval of the paired difference."""
    names = [name for name in found if ends_at_one(name)]
    with style():
        figure = canvas(NARROW, 110 + 34 * len(names), "Difference on the same rows")
        axes = axes_in(figure, 96, 60, 24, 34)
        axes.axvline(0, color=INK, linewidth=1)
        bounds = [bound for name in names for bound in found[name].values() if bound is not None]
        widest = 1.15 * max(_LEAST_RANGE / 2, *map(abs, bounds))
        axes.set_xlim(-widest, widest)
        for place, name in enumerate(names):
            _whisker(axes, place, found[name]["difference"], found[name], BLUE)
        in_rows(axes, range(len(names)), [readable(name, 14) for name in names], len(names))
        axes.xaxis.set_major_formatter(lambda value, _: _signed(value))
        left, right = f"← {readable(baseline, 30)} is better", f"{readable(model, 30)} is better →"
        across = axes.get_yaxis_transform()
        axes.text(-0.02, -0.8, left, transform=across, color=MUTED, size=points(11))
        axes.text(1.02, -0.8, right, transform=across, color=MUTED, size=points(11), ha="right")
        alt = "; ".join(f"{name} {_spoken(found[name]['difference'], found[name])}" for name in names)
        return finish(
            figure, "differences", f"{model[:1].upper()}{model[1:]} minus {baseline}, paired, with intervals. {alt}."
        )


def _over_steps(
    name: str,
    title: str,
    shown: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    colours: Sequence[str],
    best_step: int,
) -> Drawing:
    """Lines over the steps, each named at its end; with dots where there are few points, thin where there are many."""
    with style():
        figure = canvas(NARROW, 310, title)
        axes = axes_in(figure, 46, 50, 106, 44)
        for place, ((steps, values), colour) in enumerate(zip(shown.values(), colours, strict=False)):
            few = len(steps) <= 40
            marker, width = ("o", 1.6) if few else ("", 1.0)
            # Single points of equal height lie on each other: the later ones are smaller, so that all are seen.
            size = 5 if len(steps) > 1 else max(12 - 3 * place, 4)
            axes.plot(steps, values, color=colour, marker=marker, markersize=points(size), linewidth=width)
        quiet(axes, "y")
        across, up = axes.get_yaxis_transform(), axes.get_xaxis_transform()
        axes.axvline(best_step, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
        axes.text(best_step, 1.03, f"best: step {best_step:,}", transform=up, ha="center", size=points(11))
        ends = [values[-1] for _, values in shown.values()]
        finite = [value for _, values in shown.values() for value in values if math.isfinite(value)]
        low, high = axes.set_ylim(*_span(finite, 0.06))
        for series, height, colour in zip(shown, _apart(ends, (high - low) * 0.08), colours, strict=False):
            axes.text(1.02, height, readable(series, 14), transform=across, color=colour, va="center", weight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        axes.set_xlabel("step")
        last = ", ".join(f"{series} {number(value, decimals(ends))}" for series, value in zip(shown, ends, strict=True))
        return finish(figure, name, f"{title} over the steps; at the end: {last}. The best step is {best_step:,}.")


def _near(found: Sequence[Bounds], ours: Sequence[Bounds]) -> tuple[float, float]:
    """The range of a score axis: all of the model's intervals, and of the others what is not far below them."""
    bounds = [bound for row in ours for bound in row.values() if bound is not None] or [0.0, 1.0]
    low, high = min(bounds), max(bounds)
    floor = low - max(4 * (high - low), 0.05)
    others = [bound for row in found for bound in row.values() if bound is not None and bound >= floor]
    return _span([low, high, *others], 0.12)


def _span(values: Sequence[float], margin: float) -> tuple[float, float]:
    """The range of an axis: the values, a margin of this share on both sides, and never too narrow.

    A narrow one grows downwards, as scores end at 1, but not below 0 for values that do not.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    least = high - _LEAST_RANGE
    low = min(low, max(least, 0.0) if low >= 0 else least)
    high = max(high, low + _LEAST_RANGE)
    return low - margin * (high - low), high + margin * (high - low)


def _whisker(axes: Axes, place: float, value: float | None, bounds: Bounds, colour: str) -> None:
    if value is None:
        return
    low, high = bounds["low"], bounds["high"]
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
    else:
        start, end = axes.get_xlim()
        side = -1 if value > (start + end) / 2 else 1
        aside, ha = (side * points(9), 0), "right" if side < 0 else "left"
        axes.annotate(
            "no interval",
            (value, place),
            aside,
            textcoords="offset points",
            color=MUTED,
            size=points(11),
            va="center",
            ha=ha,
        )
    axes.plot([value], [place], color=colour, marker="o", markersize=points(8), markeredgecolor="white")


def _apart(ends: Sequence[float], least: float) -> list[float]:
    """The same places, in the same order, but none closer to the next than `least`."""
    order = sorted(range(len(ends)), key=lambda place: ends[place])
    placed = [ends[place] for place in order]
    for _ in range(100):
        for upper in range(1, len(placed)):
            if (overlap := least - (placed[upper] - placed[upper - 1])) > 1e-9 * least:
                placed[upper] += overlap / 2
                placed[upper - 1] -= overlap / 2
    return [placed[order.index(place)] for place in range(len(ends))]


def _spoken(value: float | None, bounds: Bounds) -> str:
    if value is None:
        return "is not defined"
    low, high = (number(bounds[name], decimals([value])) for name in ("low", "high"))
    return f"{number(value, decimals([value]))} " + ("(no interval)" if bounds["low"] is None else f"({low} to {high})")


def _signed(value: float) -> str:
    return "0" if abs(value) < 1e-12 else f"{value:+.3g}".replace("-", "−")
