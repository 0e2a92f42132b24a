"""What the user names by a dotted name: a task, a metric or a model class of a package beside params.yaml.

DVC knows of such a package only what dvc.yaml says, so it must be a dependency of every stage that uses it.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline import dag
from pipeline.errors import UserError, first_line
from pipeline.params import Params

# Part of the project: its files are dependencies already.
_PROJECT = "pipeline"


def module(name: str, named_by: str) -> ModuleType:
    """A module by its dotted name.

    Args:
        named_by: the file and key that name it, for messages.

    Raises:
        UserError: it cannot be imported.
    """
    here = str(Path.cwd())
    # A stage has it already; the command `reprise`, which lies elsewhere, does not.
    if here not in sys.path:
        sys.path.append(here)
    try:
        return import_module(name)
    except Exception as error:  # the user's own lines run here, and can raise anything
        raise UserError(
            f"{named_by}: '{name}' cannot be imported: {type(error).__name__}: {first_line(error)}\n"
            "Its package must lie beside params.yaml."
        ) from error


def member(name: str, named_by: str) -> Any:
    """What a module calls by the last part of a dotted name.

    Raises:
        UserError: the module cannot be imported, or has nothing of this name.
    """
    inside, _, last = name.rpartition(".")
    if not inside:
        raise UserError(f"{named_by}: '{name}' is no dotted name, such as mypackage.{name}.")
    try:
        return getattr(module(inside, named_by), last)
    except AttributeError:
        raise UserError(f"{named_by}: there is no '{last}' in {inside}.") from None


def packages(names: Iterable[str]) -> list[Path]:
    """The folders (or single files) of the packages that these names begin with, but for the project's own."""
    tops = sorted({name.partition(".")[0] for name in names if "." in name} - {_PROJECT})
    found = [module(top, f"the package {top}") for top in tops]
    return [Path(top.__path__[0]) if hasattr(top, "__path__") else Path(str(top.__file__)) for top in found]


def check_watched(params: Params) -> None:
    """Raise a UserError unless every package of the user's own is a dependency of the stages that use it."""
    for key, name, stages in _named(params):
        top = name.partition(".")[0]
        if top == _PROJECT:
            continue
        package = next((path for path in (Path(top), Path(f"{top}.py")) if path.exists()), None)
        if package is None:
            raise UserError(
                f"params.yaml: {key}: '{name}': there is no folder {top} beside params.yaml.\n"
                "What is installed elsewhere can change without DVC seeing it: copy it here."
            )
        unaware = [stage for stage in stages if package not in dag.dependencies(stage)]
        if unaware:
            raise UserError(
                f"params.yaml: {key}: '{name}': dvc.yaml does not list {package} as a dependency of "
                f"{', '.join(unaware)}, so DVC would not see when it changes.\n"
                f"Add this line to the deps of each: - {package}"
            )


def _named(params: Params) -> list[tuple[str, str, Sequence[str]]]:
    """The user's own names: the key, the name, and the stages that use it. Check tries out all of them."""
    named: list[tuple[str, str, Sequence[str]]] = []
    if "." in params.task:
        named.append(("task", params.task, ("check", "prepare", "tokenize", "train", "evaluate")))
    if params.model.class_ is not None:
        named.append(("model.class", params.model.class_, ("check", "train", "evaluate")))
    if params.train.own_metric is not None:
        named.append(("train.metric_for_best_model", params.train.own_metric, ("check", "train", "evaluate")))
    return named + [("evaluate.metrics", name, ("check", "evaluate")) for name in params.evaluate.metrics]


def scores(metrics: Sequence[str], predictions: Mapping[str, Any]) -> dict[str, float]:
    """What the user's own metrics say of predictions, each by the last part of its name.

    Raises:
        UserError: a metric fails, or does not return a number.
    """
    return {_score_name(name): _score(name, predictions) for name in metrics}


def score_names(metrics: Sequence[str]) -> tuple[str, ...]:
    """What the scores of metrics are called: by the last part of each name, which also says whether less is better."""
    return tuple(map(_score_name, metrics))


def check_metrics(metrics: Sequence[str], taken: Sequence[str]) -> None:
    """Raise a UserError unless each metric is a function whose name is none of another score's."""
    known = list(taken)
    for name in metrics:
        _function(name)
        score = _score_name(name)
        if score in known:
            raise UserError(
                f"params.yaml: the metric {name}: there is a score '{score}' already. Give the function another name."
            )
        known.append(score)


def _score_name(metric: str) -> str:
    return metric.rpartition(".")[2]


def _function(name: str) -> Callable[[Mapping[str, Any]], Any]:
    found = member(name, "params.yaml: a metric")
    if not callable(found):
        raise UserError(f"params.yaml: the metric {name} is no function.")
    return found  # type: ignore[no-any-return]


def _score(name: str, predictions: Mapping[str, Any]) -> float:
    function = _function(name)
    try:
        return float(function(predictions))
    except Exception as error:  # the user's own lines run here, and can raise anything
        rows = len(next(iter(predictions.values())))
        raise UserError(
            f"The metric {name} failed on {rows:,} rows: {type(error).__name__}: {first_line(error)}\n"
            "It takes any rows of a split, and returns one number: nan where it is not defined for them."
        ) from error
