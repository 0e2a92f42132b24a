"""The user's own by dotted names: found beside params.yaml, watched by DVC, and refused in a few clear words."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import own, params_file, project, tasks
from pipeline.errors import UserError
from pipeline.params import Evaluate, Model, Params, Train
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import REPOSITORY
from tests.tasks.cases import depending_on

METRICS = """
def cost_error(predictions):
    return (predictions["target"] != predictions["prediction"]).mean()

def accuracy(predictions):
    return 1.0

def broken(predictions):
    return predictions["gone"]

def text(predictions):
    return "high"

constant = 5
"""
FOUND = {"target": np.array([0, 1, 1, 0]), "prediction": np.array([0, 1, 0, 0]), "loss": np.ones(4)}
STAGES = ("check", "prepare", "tokenize", "train", "evaluate")


@pytest.fixture
def package(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A package of the test's own beside params.yaml; what it is called, for modules are imported once a process."""
    name = "own_of_" + re.sub(r"\W", "_", request.node.name)
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    (folder / name / "metrics.py").write_text(METRICS)
    (folder / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    path = list(sys.path)
    yield name
    sys.path[:] = path


def test_a_metric_is_a_score_by_the_last_part_of_its_name(package: str) -> None:
    assert own.scores([f"{package}.metrics.cost_error"], FOUND) == {"cost_error": 0.25}
    task = TextClassification(("a", "b"), metrics=(f"{package}.metrics.cost_error",))
    scores = task.all_scores(FOUND | {"score": np.full(4, 0.9)})
    assert tuple(scores)[-1] == "cost_error"
    assert set(scores) == {*task.all_score_names, "loss"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("broken", "failed on 4 rows: KeyError: 'gone'"), ("text", "ValueError"), ("constant", "is no function")],
)
def test_a_metric_that_gives_no_number_is_named(package: str, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        own.scores([f"{package}.metrics.{name}"], FOUND)
    assert f"{package}.metrics.{name}" in str(error.value)


def test_a_metric_takes_the_name_of_no_other_score(package: str) -> None:
    own.check_metrics([f"{package}.metrics.cost_error"], ["accuracy"])
    with pytest.raises(UserError, match="there is a score 'accuracy' already"):
        own.check_metrics([f"{package}.metrics.accuracy"], ["accuracy"])
    with pytest.raises(UserError, match="there is a score 'cost_error' already"):
        own.check_metrics([f"{package}.metrics.cost_error"] * 2, ["accuracy"])


@pytest.mark.parametrize("content", ["import no_such_package", "x = (", "1 / 0"])
def test_a_package_that_cannot_be_imported_says_why(package: str, folder: Path, content: str) -> None:
    (folder / package / "wrong.py").write_text(content)
    with pytest.raises(UserError, match=r"cannot be imported: (ModuleNotFound|Syntax|ZeroDivision)Error"):
        tasks.find(f"{package}.wrong")


def test_what_is_not_in_the_module_is_named(package: str) -> None:
    with pytest.raises(UserError, match=f"model.class: there is no 'Gone' in {package}.metrics"):
        own.member(f"{package}.metrics.Gone", "params.yaml: model.class")


@pytest.mark.parametrize(
    ("params", "stages"),
    [
        ({"task": "{}.intent"}, STAGES),
        ({"model": {"class": "{}.models.Own"}}, ("check", "train", "evaluate")),
        ({"evaluate": {"metrics": ["{}.metrics.cost_error"]}}, ("check", "evaluate")),
        ({"train": {"metric_for_best_model": "{}.metrics.cost_error"}}, ("check", "train", "evaluate")),
    ],
    ids=("task", "model", "metrics", "best"),
)
def test_every_stage_that_uses_a_package_depends_on_it(
    package: str, folder: Path, params: dict[str, Any], stages: tuple[str, ...]
) -> None:
    named = Params.model_validate(yaml_like(params, package))
    pipeline = (folder / "dvc.yaml").read_text()
    for missing in stages:
        listed = [stage for stage in stages if stage != missing]
        (folder / "dvc.yaml").write_text(depending_on(package, pipeline, listed))
        with pytest.raises(UserError, match=rf"as a dependency of {missing},.*\nAdd this line .*: - {package}$"):
            own.check_watched(named)
    (folder / "dvc.yaml").write_text(depending_on(package, pipeline, stages))
    own.check_watched(named)


def yaml_like(values: Any, package: str) -> Any:
    """The same values, with the package's name for `{}`."""
    if isinstance(values, dict):
        return {key: yaml_like(value, package) for key, value in values.items()}
    return [yaml_like(value, package) for value in values] if isinstance(values, list) else values.format(package)


def test_a_package_elsewhere_is_refused(package: str) -> None:
    with pytest.raises(UserError, match=r"there is no folder numpy beside params\.yaml"):
        own.check_watched(Params(evaluate=Evaluate(metrics=["numpy.linalg.norm"])))
    own.check_watched(Params(task="pipeline.tasks.text_classification"))


def test_the_params_take_dotted_names_alone(folder: Path) -> None:
    project.PARAMS.write_text("model:\n  class: Pooled\n")
    with pytest.raises(UserError, match=r"line 2: model\.class is 'Pooled'; it must be a dotted name"):
        params_file.read(project.PARAMS)
    project.PARAMS.write_text("model:\n  clas: a.B\n")
    with pytest.raises(UserError, match=r"Did you mean 'model\.class'"):
        params_file.read(project.PARAMS)
    named = Params(model=Model(**{"class": "a.B"}), train=Train(metric_for_best_model="a.cost_error"))
    project.PARAMS.write_text(params_file.render(named))
    assert params_file.read(project.PARAMS) == named
    assert (named.model.class_, named.train.own_metric) == ("a.B", "a.cost_error")


def test_the_packages_are_told_by_their_folders(package: str, folder: Path) -> None:
    (folder / f"{package}_alone.py").write_text("TASK = 5")
    names = [f"{package}.metrics", f"{package}.other", f"{package}_alone.TASK", "text-classification", "pipeline.own"]
    assert [path.resolve() for path in own.packages(names)] == [
        folder.resolve() / package,
        folder.resolve() / f"{package}_alone.py",
    ]


def test_a_command_that_lies_elsewhere_finds_the_package_beside_params_yaml(package: str, folder: Path) -> None:
    script = folder / "bin" / "command.py"
    script.parent.mkdir()
    script.write_text(f"from pipeline import own\nprint(own.module('{package}.metrics', 'x').constant)\n")
    run = (sys.executable, script)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout == "5\n"
