"""What MLflow serves: it runs this file when it loads a registered version, and takes the model that it sets.

The package `pipeline` travels with the version, so it answers where there is no project.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
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
    """A pyfunc over `Predictor`: rows of texts in, rows of answers out, in their order."""

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
        """Answers to a table of texts.

        Raises:
            MlflowException: a text is missing or empty; a server answers 400.
        """
        columns = self._predictor.card.columns
        try:
            answers = self._predictor.answer(pa.table({name: _texts(model_input, name) for name in columns}))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(answers)


def _texts(rows: Any, name: str) -> list[str]:
    """The texts of a column, none of them empty."""
    texts = rows[name].tolist() if len(rows) else []
    if not texts:
        raise UserError("There is no row to answer.")
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            what = "empty" if isinstance(text, str) else "missing" if pd.isna(text) else "no text"
            raise UserError(f"Row {place}: its column '{name}' is {what}; it must be a text.")
    return texts


mlflow.models.set_model(Served())
