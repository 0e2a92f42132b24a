"""One file a task, found by its name: `text-classification` is text_classification.py, which names its class TASK.

A dotted name is a task of the user's own: `mypackage.tasks.intent`, in a package beside `pipeline`.
"""

from importlib import import_module
from pathlib import Path

from pipeline.errors import UserError, did_you_mean, first_line
from pipeline.tasks.base import Task


def names() -> list[str]:
    """The tasks that come with the project."""
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if stem not in ("__init__", "base"))


def find(name: str, named_by: str = "params.yaml: task") -> type[Task]:
    """The class of a task.

    Args:
        named_by: the file and key that name it, for messages.

    Raises:
        UserError: there is no such task, or the user's own cannot be imported or names no task.
    """
    if name in names():
        module = import_module(f"pipeline.tasks.{name.replace('-', '_')}")
        task: type[Task] = module.TASK
        return task
    if "." not in name:
        raise UserError(
            f"{named_by}: there is no task '{name}'; there are {', '.join(names())}.{did_you_mean(name, names())}"
        )
    try:
        own = getattr(import_module(name), "TASK", None)
    except ImportError as error:
        raise UserError(
            f"{named_by}: '{name}' cannot be imported: {first_line(error)}\n"
            "Its package must lie beside params.yaml, or be installed."
        ) from error
    if not (isinstance(own, type) and issubclass(own, Task)):
        raise UserError(f"{named_by}: '{name}' names no task: set TASK in it to a subclass of Task.")
    return own
