"""The figures of the report that show what the data is like."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from pipeline.evaluation.look import (
    BLUE,
    INK,
    NARROW,
    ORANGE,
    Drawing,
    axes_in,
    canvas,
    finish,
    in_rows,
    points,
    quiet,
    readable,
    style,
    written,
)

_MOST_LABELS_IN_ROWS = 30
# Marker, size and colour: the smaller ones stand in front, so that equal shares are seen as three.
_OF_SPLIT = {"train": ("o", 10, BLUE), "validation": ("s", 6.5, "#ffffff"), "test": ("D", 4, INK)}


def lengths(full_lengths: np.ndarray, most_tokens: int) -> Drawing:
    """How long the texts are, in tokens, and where they are cut off.

    Args:
        full_lengths: (examples,) tokens before truncation.
    """
    cut = int((full_lengths > most_tokens).sum())
    limit = max(min(float(np.quantile(full_lengths, 0.995)), 2.0 * most_tokens), 1.15 * most_tokens)
    width = max(1, round(limit / 45))
    # One edge lies where the texts are cut, so that no bar holds both kinds.
    edges = np.arange((most_tokens + 1) % width - width, limit + width, width)
    kept, over = (full_lengths[chosen] for chosen in (full_lengths <= most_tokens, full_lengths > most_tokens))
    with style():
        figure = canvas(NARROW, 300, "Lengths")
        axes = axes_in(figure, 56, 42, 14, 46)
        stacked = [kept, np.minimum(over, edges[-1])]
        axes.hist(stacked, bins=list(edges), stacked=True, color=[BLUE, ORANGE], edgecolor="white", linewidth=0.5)
        axes.axvline(most_tokens, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        words = f"at most {most_tokens:,} tokens\n{cut / len(full_lengths):.1%} of examples are longer"
        near_right = most_tokens > limit * 0.55
        axes.text(
            most_tokens + limit * (-0.015 if near_right else 0.015),
            0.98,
            words,
            transform=axes.get_xaxis_transform(),
            ha="right" if near_right else "left",
            va="top",
            size=points(11),
        )
        quiet(axes, "y")
        axes.set_xlim(min(0, edges[0]), edges[-1])
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        beyond = full_lengths.max() > edges[-1]
        axes.set_xlabel("tokens of an example" + (" (the last bar holds all longer ones)" if beyond else ""))
        longest, median = int(full_lengths.max()), int(np.median(full_lengths))
        alt = f"Tokens of an example: median {median:,}, longest {longest:,}; {cut:,} are over {most_tokens:,}."
        return finish(figure, "lengths", alt)


def label_balance(counts: Mapping[str, np.ndarray], labels: Sequence[str]) -> Drawing:
    """The share of every label in each split, the most frequent in training first.

    Args:
        counts: split -> rows of each label, (labels,).
    """
    first = next(iter(counts.values()))
    order = np.argsort(-first, kind="stable")
    named = len(labels) <= _MOST_LABELS_IN_ROWS
    with style():
        figure = canvas(NARROW, max(300, 96 + 20 * len(labels)) if named else 300, "Label balance")
        axes = axes_in(figure, 150, 42, 24, 46) if named else axes_in(figure, 56, 42, 14, 46)
        for split, of_split in counts.items():
            shares = of_split[order] / max(of_split.sum(), 1)
            ranks = np.arange(len(labels))
            marker, size, colour = _OF_SPLIT[split]
            axes.plot(
                *((shares, ranks) if named else (ranks + 1, shares)),
                linestyle="",
                marker=marker,
                markersize=points(size if named else size * 0.7),
                color=colour,
                markeredgewidth=points(1),
                markeredgecolor=INK if colour == "#ffffff" else colour,
                label=split,
            )
        if named:
            in_rows(axes, range(len(labels)), [readable(labels[place], 20) for place in order], len(labels))
            axes.set_xlim(left=0)
        else:
            quiet(axes, "y")
            axes.set_ylim(bottom=0)
            axes.set_xlabel("labels, the most frequent first")
        (axes.xaxis if named else axes.yaxis).set_major_formatter(PercentFormatter(1.0))
        figure.legend(loc="upper right", ncols=3, frameon=False, handletextpad=0.1, columnspacing=1, borderaxespad=0.2)
        most, least = int(first.max()), int(first.min())
        alt = f"Rows of a label in training: from {least:,} to {most:,}, over {len(labels)} labels."
        in_png = [written(readable(labels[place], 20), place) for place in order.tolist()]
        return finish(figure, "label_balance", alt, {axes.yaxis: in_png} if named else None)
