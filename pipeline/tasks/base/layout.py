"""Which columns of a source make rows of a task."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import UserError
from pipeline.params import Data


@dataclass(frozen=True)
class Layout:
    """Columns of a source that make rows of a task.

    Attributes:
        texts: what the model reads, in the task's order.
        target: what it is to say; None where the texts hold that, too.
    """

    texts: tuple[str, ...]
    target: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """All columns, each with the key of params.yaml that names it."""
        named = dict.fromkeys(self.texts, "data.text_column_names")
        return named if self.target is None else named | {self.target: "data.label_column_name"}


def choose(layouts: Sequence[Layout], names: Sequence[str], data: Data) -> Layout:
    """The columns of a source to read: those that the params name, and for the rest the first layout that it has.

    Args:
        names: the columns that the source has.

    Raises:
        UserError: a column is both read and to be said.
    """
    whole = [layout for layout in layouts if set(layout.columns) <= set(names)]
    own = (whole or layouts)[0]
    texts = own.texts if data.text_column_names is None else tuple(data.text_column_names)
    target = own.target if data.label_column_name is None else data.label_column_name
    if target in texts:
        raise UserError(
            f"params.yaml: data.label_column_name: '{target}' is one of data.text_column_names, too: the model "
            "would read what it is to say."
        )
    return Layout(texts, target if any(layout.target for layout in layouts) else None)
