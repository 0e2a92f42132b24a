"""One file a task, found by its name: `text-classification` is text_classification.py, which names its class TASK."""

from importlib import import_module
from pathlib import Path

from pipeline.errors import UserError, did_you_mean
from pipeline.tasks.base import Task


def names() -> list[str]:
    """The tasks that exist."""
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if stem not in ("__init__", "base"))


def find(name: str) -> type[Task]:
    """The class of a task.

    Raises:
        UserError: there is no such task.
    """
    if name not in names():
        raise UserError(
            f"params.yaml: there is no task '{name}'; there are {', '.join(names())}.{did_you_mean(name, names())}"
        )
    module = import_module(f"pipeline.tasks.{name.replace('-', '_')}")
    task: type[Task] = module.TASK
    return task
