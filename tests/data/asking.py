"""What a reader is told to keep."""

from pipeline.data.rows import Wanted


def asking(*names: str, key: str = "the task") -> Wanted:
    """Wants these columns, whatever there is."""
    return lambda _: dict.fromkeys(names, key)
