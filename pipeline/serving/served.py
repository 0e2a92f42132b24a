"""What MLflow serves: it runs this file when it loads a registered version, and takes the model that it sets.

The package `pipeline` travels with the version, so it answers where there is no project.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline import environment
from pipeline.errors import UserError
from pipeline.params import Evaluate, Hardware

MODEL = "model"
"""What the exported model is called among the artifacts of a version."""


def settings_of(evaluate: Evaluate) -> dict[str, int]:
    """What a version keeps of how it writes texts, for `load_context`."""
    return evaluate.model_dump(include={"num_beams", "max_new_tokens"})


class Served(PythonModel):
    """A pyfunc over `Predictor`: rows in, rows of answers out, in their order."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the exported model, on the GPU if there is one."""
        environment.prepare()
        # Imported here: torch takes seconds, and MLflow runs this file when it writes a version, too.
        from pipeline.serving.predictor import Predictor

        settings = Evaluate(**(context.model_config or {}))
        self._predictor = Predictor.load(Path(context.artifacts[MODEL]), Hardware(), settings)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answers to a table of what is asked.

        Raises:
            MlflowException: a value is missing, empty, or none that the task takes; a server answers 400.
        """
        try:
            answers = self._predictor.ask(_settled(model_input, self._predictor.task.example()))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(answers)


def _settled(table: pd.DataFrame, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table as those of the task."""
    # Imported here, as is what it takes.
    from pipeline.serving import asking

    found: list[dict[str, Any]] = [{} for _ in range(len(table))]
    if not found:
        raise UserError("There is no row to answer.")
    for name, like in example.items():
        values = table[name].tolist() if name in table else [None] * len(table)
        for place, value in enumerate(map(_plain, values)):
            if asking.is_blank(value, like):
                what = "missing" if value is None else "empty"
                raise UserError(f"Row {place}: its column '{name}' is {what}; it must be a {asking.kind(like)}.")
            try:
                found[place][name] = asking.settled(value, like)
            except ValueError as error:
                raise UserError(f"Row {place}: its column '{name}' {error}.") from None
    return found


def _plain(value: Any) -> Any:
    """A value without what MLflow and pandas make of it: arrays for lists, and signs of their own for null."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


mlflow.models.set_model(Served())
