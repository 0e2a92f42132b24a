"""An exported model as the folder of an MLflow pyfunc: models from code, safetensors, an explicit signature."""

import logging
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

import pipeline
from pipeline import own
from pipeline.params import Evaluate, Hardware
from pipeline.serving.predictor import Predictor
from pipeline.tasks.base import Answer

with warnings.catch_warnings():
    # While it is imported, MLflow warns of types of its own.
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType, Array, Object, Property

    from pipeline.serving import asking, served

README = "README.md"
# What is imported to answer; a test loads a version where nothing else can be imported.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "safetensors",
    "seqeval",
    "tokenizers",
    "torch",
    "transformers",
)


def write(
    model: Path, folder: Path, readme: str | None, facts: Mapping[str, Any], evaluate: Evaluate | None = None
) -> None:
    """Write an exported model as a pyfunc, which must load and answer its own example.

    Args:
        folder: where it goes; must not exist.
        readme: the model card, which becomes the README.md.
        facts: what MLflow's file `MLmodel` says of where it comes from.
        evaluate: how a model that answers with texts writes them; None: as a params.yaml without a word of it.

    Raises:
        UserError: the model cannot be loaded.
    """
    predictor = Predictor.load(model, Hardware(use_cpu=True), evaluate)
    # Made up, never taken from the data: a registry shows it to everybody.
    example = predictor.task.example()
    (answer,) = predictor.ask([asking.of_example(example)])
    names = [predictor.card.task, *filter(None, [predictor.task.model_class])]
    code = [Path(pipeline.__file__).parent, *own.packages(names)]
    _save(model, folder, code, example, answer, facts, served.settings_of(evaluate or Evaluate()))
    if readme is not None:
        (folder / README).write_text(readme, encoding="utf-8", newline="\n")
    _forget_this_machine(folder)


def _save(
    model: Path,
    folder: Path,
    code: Sequence[Path],
    example: Mapping[str, Any],
    answer: Answer,
    facts: Mapping[str, Any],
    settings: Mapping[str, int],
) -> None:
    """Have MLflow write the folder, without what it says of itself and pandas meanwhile."""
    for name in ("mlflow.models.model", "mlflow.pyfunc", "mlflow.utils.environment"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=served.__file__,
            artifacts={served.MODEL: str(model)},
            code_paths=[str(path) for path in code],
            signature=signature(example, answer),
            input_example=pd.DataFrame([example]),
            pip_requirements=requirements(),
            metadata=dict(facts),
            model_config=dict(settings),
        )


def _forget_this_machine(folder: Path) -> None:
    """Take out what only this machine has: the paths that the folder was made from, and compiled code."""
    description = mlflow.models.Model.load(folder)
    flavor = description.flavors["python_function"]
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    description.save(folder / "MLmodel")
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def signature(example: Mapping[str, Any], answer: Mapping[str, Any]) -> ModelSignature:
    """Rows like the task's example in, and out what it answers: words, numbers, or anything that JSON has."""
    inputs: list[ColSpec | TensorSpec] = [ColSpec(_asked(value), name) for name, value in example.items()]
    kinds = {str: DataType.string, float: DataType.double, int: DataType.long}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(type(value), AnyType()), name) for name, value in answer.items()
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _asked(value: Any) -> Any:
    """The type of what has this value in the example."""
    if isinstance(value, list):
        return Array(_asked(value[0]))
    if isinstance(value, dict):
        return Object([Property(name, _asked(part)) for name, part in value.items()])
    return DataType.string


def requirements() -> list[str]:
    """What must be installed to serve, at the versions that are installed here."""
    # The part behind a plus names a build, such as 2.13.0+cpu, which no index has under that name.
    return [f"{name}=={re.sub(r'[+].*', '', metadata.version(name))}" for name in REQUIREMENTS]


def model_of(folder: Path) -> Path:
    """The exported model inside the folder of a version."""
    found: dict[str, Any] = mlflow.models.Model.load(folder).flavors["python_function"]
    return folder / str(found["artifacts"][served.MODEL]["path"])
