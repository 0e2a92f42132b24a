"""One file a task, found by its name: `text-classification` is text_classification.py, which names its class TASK.

What tasks share is no task, and lies in the folder `base`.

A dotted name is a task of the user's own: `mypackage.tasks.intent`, in a package beside `pipeline`.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from pipeline import own, project
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Params
from pipeline.tasks.base import Task


def names() -> list[str]:
    """The tasks that come with the project."""
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if stem != "__init__")


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
        raise UserError(f"{named_by}: there is no task '{name}'; there are {', '.join(names())}.{_meant(name)}")
    found = getattr(own.module(name, named_by), "TASK", None)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UserError(f"{named_by}: '{name}' names no task: set TASK in it to a subclass of Task.")
    return found


def _meant(name: str) -> str:
    """The tasks that others call so, or else the one whose name is the nearest."""
    plain = name.casefold().replace("_", "-").replace(" ", "-")
    called = [task for task in names() if plain == task or plain in find(task).also_called]
    either = "' or '".join(called)
    return f" Did you mean '{either}'?" if called else did_you_mean(name, names())


def load(params: Params, metrics: Sequence[str] = ()) -> Task:
    """The task as prepare has left it, with the model class and metrics of the user's own.

    Args:
        metrics: dotted names of functions that give more scores.

    Raises:
        UserError: the task or a metric cannot be imported, or a metric has the name of another score.
    """
    task = replace(find(params.task).load(project.PREPARED), metrics=tuple(metrics), model_class=params.model.class_)
    own.check_metrics(task.metrics, (*task.score_names, "loss"))
    return task
