"""The one look of all figures, and how a figure becomes bytes that are the same on every run.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which colour-blind readers tell apart too;
where two colours carry a meaning, a shape or a word carries it as well.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator
from rich.cells import cell_len, set_cell_size

INK, MUTED, GRID, FAINT = "#1c2430", "#5c6675", "#e2e6eb", "#f5f6f8"
BLUE, ORANGE, GREEN, PINK, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, INK)

# Text stays text in an SVG, so that the reader's own fonts show labels in any script. The layout is measured in
# DejaVu Sans, which matplotlib brings along and which is wider than these.
FONTS = "-apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"

NARROW = 470  # CSS pixels: two such figures stand side by side
# With these steps, 1 is a tick wherever ticks come near it, and none lies beyond it.
TICK_STEPS = [1, 2, 2.5, 5, 10]

_PIXELS_PER_INCH = 96
_POINTS_PER_PIXEL = 0.75
_PNG_SCALE = 2
# The Unicode categories of control and format characters, surrogates, and ends of lines and paragraphs.
_NOT_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 12 * _POINTS_PER_PIXEL,
    "text.color": INK,
    # A dollar sign in a label is a dollar sign, not the start of a formula.
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    # The names inside an SVG come from this, not from a random number.
    "svg.hashsalt": "reprise",
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure.

    Attributes:
        name: of its file, without an ending.
        alt: what it shows, for readers who do not see it, with the numbers that matter.
        width: in CSS pixels.
        height: in CSS pixels.
        svg: for the page.
        png: for MLflow, at twice the width.
    """

    name: str
    alt: str
    width: int
    height: int
    svg: bytes
    png: bytes


@contextmanager
def style() -> Iterator[None]:
    """The look, inside this block and nowhere else."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The SVG's reader has fonts for every script, and `written` names what the PNG cannot show.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def canvas(width: int, height: int, title: str = "") -> Canvas:
    """An empty figure of this size in CSS pixels, with its title at the top left."""
    figure = Canvas(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH), facecolor="white")
    figure.text(0, 1 - 6 / height, title, weight="bold", va="top")
    return figure


def finish(figure: Canvas, name: str, alt: str, in_png: Mapping[Axis, Sequence[str]] | None = None) -> Drawing:
    """The figure as SVG and PNG, without dates and versions. Call it inside `style`.

    Args:
        in_png: what stands at the ticks of an axis in the PNG, where that differs from the SVG.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    for axis, names in (in_png or {}).items():
        axis.set_ticklabels(names)
    figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH * _PNG_SCALE, metadata={"Software": None})
    text = re.sub(rb"'DejaVu Sans'(, [^;\"]*)?", FONTS.encode(), svg.getvalue())
    width, height = (round(inches * _PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Drawing(name, alt, width, height, text, png.getvalue())


def axes_in(figure: Canvas, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with these margins, in CSS pixels."""
    width, height = figure.get_size_inches() * _PIXELS_PER_INCH
    across, up = 1 - (left + right) / width, 1 - (top + bottom) / height
    return figure.add_axes((left / width, bottom / height, across, up))


def points(pixels: float) -> float:
    """CSS pixels as the points in which matplotlib measures fonts and markers."""
    return pixels * _POINTS_PER_PIXEL


def readable(label: str, longest: int = 28) -> str:
    """A label that a figure can show: one line, no control characters (an SVG with one is broken), not too long.

    Args:
        longest: in Latin letters; a Chinese sign or an emoji is as wide as two.
    """
    line = " ".join("".join(sign if _shown(sign) else " " for sign in label).split())
    return line if cell_len(line) <= longest else set_cell_size(line, longest - 1).rstrip() + "…"


def _shown(sign: str) -> bool:
    """Neither a control character nor one that XML forbids; an emoji that this Python does not know yet is shown."""
    joins_emojis = sign == "\u200d"
    forbidden = ord(sign) & 0xFFFE == 0xFFFE
    return joins_emojis or (unicodedata.category(sign) not in _NOT_SHOWN and not forbidden)


def written(label: str, number: int) -> str:
    """The label in a PNG: `label 3` for one with a sign that DejaVu Sans lacks, and would show as a box."""
    signs = get_font(findfont("DejaVu Sans")).get_charmap()
    return label if all(ord(sign) in signs for sign in label) else f"label {number}"


def quiet(axes: Axes, grid: str) -> None:
    """Grid lines along one axis (`x` or `y`), and no other line."""
    axes.grid(axis=grid)  # type: ignore[arg-type]
    for spine in axes.spines.values():
        spine.set_visible(False)


def in_rows(axes: Axes, places: Sequence[float], labels: Sequence[str], end: float) -> None:
    """Name the rows of a chart, from the top down to `end`, with vertical grid lines."""
    quiet(axes, "x")
    axes.set_yticks(places, labels, color=INK)
    axes.set_ylim(end - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
