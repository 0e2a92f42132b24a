"""What a task shows in the report beside its scores: plain data, which evaluation draws."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        is_text: whether it holds texts of rows, which `evaluate.publish_texts` may keep out of a page.
    """

    title: str
    is_text: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the report; a number is set flush right, any other cell is text.

    Attributes:
        name: of the section, unique within a report, such as `entities`.
        lead: a sentence or two on what is to be seen.
    """

    name: str
    title: str
    lead: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | int | float]]


View = Table
