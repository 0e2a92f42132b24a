"""The section `evaluate`."""

from typing import Literal

from pydantic import Field

from pipeline.params.section import Section
from pipeline.params.values import DottedNames, Names, Number


class Evaluate(Section):
    """How the best model is judged."""

    metrics: DottedNames = Field(
        [], description="more scores: functions of your own that take predictions, such as mypackage.metrics.cost_error"
    )

    confidence_level: Number = Field(0.95, gt=0, lt=1, description="of every interval")
    n_resamples: int = Field(1000, ge=100, le=100_000, description="bootstrap resamples behind an interval")
    n_mistakes: int = Field(20, ge=0, le=1000, description="most confident mistakes shown in the report")
    num_beams: int = Field(1, ge=1, le=100, description="beams that a text is searched with; 1 is greedy")
    max_new_tokens: int = Field(64, ge=1, le=100_000, description="the most tokens of a text that the model writes")
    slices: Names = Field(
        ["label", "length"], description="groups of rows scored on their own: label, length (tokens), any raw column"
    )
    publish_texts: Literal["none", "local", "mlflow"] = Field(
        "local", description="where texts of rows may stand: none, local (the report here), or mlflow, too"
    )
