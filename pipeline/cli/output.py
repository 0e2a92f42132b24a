"""Files that a command writes at its end: whether that will work is seen before the work."""

from pathlib import Path

from pipeline.errors import UserError


def prepared(path: Path) -> Path:
    """The path, its folder made if there is none.

    Raises:
        UserError: nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
        if not path.stat().st_size:
            path.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}. Name another file.") from None
    return path
