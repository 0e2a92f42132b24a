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


@dataclass(frozen=True)
class Diagonal:
    """A picture of points that would lie on the diagonal if the model were right.

    Attributes:
        name: of the section, unique within a report, such as `reliability`.
        lead: a sentence or two on what is to be seen.
        across: what the axes measure, from left to right.
        up: and from below.
        points: for each its place across, its place upwards, and how many rows it stands for.
    """

    name: str
    title: str
    lead: str
    across: str
    up: str
    points: Sequence[tuple[float, float, int]]


View = Table | Diagonal
