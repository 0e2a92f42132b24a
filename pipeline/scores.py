"""What the name of a score says: whether less of it is better, and how people read it."""

import math
from collections.abc import Iterable

_LESS_IS_BETTER = ("loss", "perplexity", "error", "bits_per_byte", "mse", "mae")
_SHARES = ("accuracy", "precision", "recall", "f1", "exact_match", "auroc", "mcc", "rouge")
_CORRELATIONS = ("pearson", "spearman")
_DECIMALS = 3


def less_is_better(name: str) -> bool:
    """Whether a model with less of this score is the better one, as with `loss` and `calibration_error`.

    The last words of the name decide, so that a metric of the user's own says it as well: `cost_error`.
    """
    return name.endswith(_LESS_IS_BETTER)


def gain(name: str, difference: float) -> float:
    """A difference of this score, with the sign that makes more better."""
    return (-difference if less_is_better(name) else difference) + 0.0


def is_share(name: str) -> bool:
    """Whether the score ends at 1 and is read in percent."""
    return name.startswith(_SHARES) or name.endswith(_SHARES)


def ends_at_one(name: str) -> bool:
    """Whether a picture can show the score on one axis with others."""
    return is_share(name) or name.endswith(_CORRELATIONS)


def readable(name: str, value: float | None) -> str:
    """``"80.1%"`` for a share, ``"12.35"`` for any other score; a dash for one that is not defined."""
    if value is None or is_share(name):
        return percent(value)
    return fitting(name, value)


def fitting(name: str, value: float | None, sign: str = "") -> str:
    """A value with its `decimals`: ``"0.801"`` of a score that ends at 1, ``"227.0"`` of another.

    Args:
        sign: ``"+"`` of a difference.
    """
    return number(value, decimals([value], name), sign)


def number(value: float | None, digits: int, sign: str = "") -> str:
    """``"1,234.5"``, with so many decimals; a dash for what is not defined.

    Args:
        sign: ``"+"`` of a difference.
    """
    return "–" if value is None else f"{value:{sign},.{digits}f}".replace("-", "−")


def decimals(values: Iterable[float | None], name: str = "", more: int = 0) -> int:
    """With how many decimals these numbers stand one below the other.

    Those of a score that ends at 1 have three; others so many that the largest has four digits, or three where it is
    below 1: 1,234 or 12.34 or 0.0123.

    Args:
        name: of their score, if they are of one.
        more: digits beyond these, where numbers near each other are to be told apart; small ones have enough.
    """
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    if ends_at_one(name) or largest == 0:
        return _DECIMALS + more
    place = math.floor(math.log10(largest))
    return max(0, _DECIMALS + more - place) if place >= 0 else max(_DECIMALS + more, _DECIMALS - place - 1)


def percent(value: float | None) -> str:
    """``"80.1%"``; a dash for what is not defined."""
    return "–" if value is None else f"{value * 100:.1f}%"
