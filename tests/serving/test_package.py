"""A packed model: MLflow loads it anywhere, it answers as the model does, and refuses what is no text."""

import ast
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import digest
from pipeline.params import Evaluate, Hardware
from pipeline.serving import package
from pipeline.serving.predictor import Predictor
from tests.conftest import texts_and_labels
from tests.serving.exported import asked, export_tiny_model

TEXTS = texts_and_labels(40, seed=9, labels=3)[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Exported models of single texts and of pairs."""
    return {count: export_tiny_model(tmp_path_factory.mktemp("model") / "best", count) for count in (1, 2)}


@pytest.fixture(scope="module")
def packed(models: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {}
    for count, model in models.items():
        folders[count] = tmp_path_factory.mktemp("packed") / "model"
        package.write(model, folders[count], "# Card\n", {"reprise.run": "r"})
    return folders


@pytest.fixture(scope="module")
def loaded(packed: dict[int, Path]) -> dict[int, PyFuncModel]:
    return {count: mlflow.pyfunc.load_model(str(folder)) for count, folder in packed.items()}


@pytest.mark.parametrize("count", [1, 2])
def test_it_answers_as_the_model_does(models: dict[int, Path], loaded: dict[int, PyFuncModel], count: int) -> None:
    columns = [TEXTS, TEXTS[::-1]][:count]
    rows = pd.DataFrame(dict(zip(("text", "text_pair"), columns, strict=False)))
    ours = Predictor.load(models[count], Hardware(use_cpu=True)).answer(asked(*columns))
    assert loaded[count].predict(rows).to_dict("records") == ours


def test_a_version_writes_texts_as_the_params_say(models: dict[int, Path], tmp_path: Path) -> None:
    package.write(models[1], tmp_path / "packed", None, {}, Evaluate(num_beams=3, max_new_tokens=7))
    kept = mlflow.pyfunc.load_model(str(tmp_path / "packed")).unwrap_python_model()._predictor._evaluate
    assert kept == Evaluate(num_beams=3, max_new_tokens=7)


def test_the_signature_names_texts_and_answers(loaded: dict[int, PyFuncModel]) -> None:
    single, pair = (loaded[count].metadata.signature for count in (1, 2))
    assert single.inputs.to_dict() == [{"type": "string", "name": "text", "required": True}]
    assert [column["name"] for column in pair.inputs.to_dict()] == ["text", "text_pair"]
    assert [(column["name"], column["type"]) for column in pair.outputs.to_dict()] == [
        ("label", "string"),
        ("probability", "double"),
    ]


def test_the_model_inside_is_the_exported_one(models: dict[int, Path], packed: dict[int, Path]) -> None:
    assert digest.of_folder(package.model_of(packed[1])) == digest.of_folder(models[1])


def test_it_holds_no_path_of_this_machine(models: dict[int, Path], packed: dict[int, Path]) -> None:
    own = [str(models[1].parent), str(packed[1].parent)]
    files = [path for path in packed[1].rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert all(place.encode() not in content for place in own), path
    assert (packed[1] / "README.md").read_text() == "# Card\n"


# Loads the version where the project is not, and tells which of its modules that took.
ELSEWHERE = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pd.DataFrame({"text": ["good fine day"]})).to_json(orient="records"))
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "pipeline"]))
"""


def imported_by(file: str) -> set[str]:
    """The packages that a module imports when it is imported."""
    found = set()
    for node in ast.parse(Path(file).read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found - {"pipeline"} - set(sys.stdlib_module_names)


def requirements_of(names: set[str]) -> set[str]:
    """These packages with all that they require."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        parsed = [Requirement(text) for text in required]
        todo |= {one.name for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})}
    return found


def test_it_loads_where_there_is_no_project_with_what_it_requires(
    models: dict[int, Path], packed: dict[int, Path], tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ELSEWHERE, str(packed[1])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, files = map(json.loads, done.stdout.splitlines())
    (ours,) = Predictor.load(models[1], Hardware(use_cpu=True)).answer(asked(["good fine day"]))
    assert answer[0]["label"] == ours["label"]
    assert answer[0]["probability"] == pytest.approx(ours["probability"])
    assert all(Path(file).is_relative_to(packed[1]) for file in files), "the code is that of the version"
    owners = metadata.packages_distributions()
    needed = {canonicalize_name(owners[name][0]) for file in files for name in imported_by(file)}
    assert {"torch", "transformers", "pyarrow"} <= needed
    assert needed <= requirements_of(set(package.REQUIREMENTS))


def test_requirements_are_pinned_without_the_name_of_a_build(packed: dict[int, Path]) -> None:
    lines = (packed[1] / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == list(package.REQUIREMENTS)
    assert all("==" in line and "+" not in line for line in lines)


# What a server says, asked without one


def scored(model: PyFuncModel, body: object, kind: str = "application/json") -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = scoring_server.invocations(text, kind, model, model.metadata.get_input_schema())
    assert answer.status == 200, answer
    return json.loads(answer.response)["predictions"]


def test_a_server_answers_records_splits_and_csv_alike(loaded: dict[int, PyFuncModel]) -> None:
    records = scored(loaded[1], {"dataframe_records": [{"text": "good"}, {"text": "bad"}]})
    assert records == scored(loaded[1], {"dataframe_split": {"columns": ["text"], "data": [["good"], ["bad"]]}})
    assert records == scored(loaded[1], {"inputs": {"text": ["good", "bad"]}})
    assert records == scored(loaded[1], "text\ngood\nbad\n", "text/csv")
    assert len(records) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"dataframe_records": [{"txt": "good"}]}, r"missing inputs \['text'\]"),
        ({"dataframe_records": [{"text": 7}]}, "no text|Incompatible"),
        ({"dataframe_records": [{"text": None}]}, "Row 0: its column 'text' is missing"),
        ({"dataframe_records": [{"text": "good"}, {"text": ""}]}, "Row 1: its column 'text' is empty"),
        ({"dataframe_records": [{"text": ["good"]}]}, "is no text"),
        ({"dataframe_split": {"columns": ["text"], "data": []}}, "There is no row to answer"),
        ({"dataframe_records": []}, "missing inputs"),
        ("{", "valid JSON"),
    ],
)
def test_a_server_refuses_what_is_no_text(loaded: dict[int, PyFuncModel], body: object, said: str) -> None:
    with pytest.raises(MlflowException, match=said) as caught:
        scored(loaded[1], body)
    assert caught.value.get_http_status_code() == 400
