"""Errors that a person can mend, and what their messages are made of."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the user can mend.

    The message is one to three lines: what is wrong, where (file, row or line, column or key),
    and what to do. It is shown without a traceback.
    """


def first_line(error: Exception) -> str:
    """The first line of what a library says, or the name of its error if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def counted(number: int, noun: str) -> str:
    """``"1 row"``, ``"2,000 rows"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'label'?"`` for the nearest of the known names, or an empty string."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{folded[close[0]]}'?" if close else ""
