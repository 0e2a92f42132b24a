"""params.yaml as typed, strict models: one file a section, and every key with its meaning.

Keys are spelled as transformers' TrainingArguments and example scripts spell them. The descriptions are
written once, here: they become the comments of params.yaml and the JSON Schema that editors complete from.
`hardware`, `tracking` and `promotion` are no part of the experiment: changing them retrains nothing.
"""

from typing import Any, Literal

from pydantic import Field

from pipeline.params.data import Data
from pipeline.params.evaluate import Evaluate
from pipeline.params.hardware import Hardware
from pipeline.params.model import Lora, Model
from pipeline.params.promotion import Promotion
from pipeline.params.section import Section
from pipeline.params.tokenizer import Tokenizer
from pipeline.params.tracking import Tracking
from pipeline.params.train import Train

__all__ = [
    "OUTSIDE_THE_EXPERIMENT",
    "Data",
    "Evaluate",
    "Hardware",
    "Lora",
    "Model",
    "Params",
    "Promotion",
    "Section",
    "Tokenizer",
    "Tracking",
    "Train",
]

OUTSIDE_THE_EXPERIMENT = ("hardware", "tracking", "promotion")


class Params(Section):
    """All of params.yaml."""

    version: Literal[1] = Field(1, description="of this file's format")
    task: str = Field("text-classification", description="what is learned")
    data: Data = Field(default_factory=Data)
    tokenizer: Tokenizer = Field(default_factory=Tokenizer)
    model: Model = Field(default_factory=Model)
    train: Train = Field(default_factory=Train)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    hardware: Hardware = Field(default_factory=Hardware)
    tracking: Tracking = Field(default_factory=Tracking)
    promotion: Promotion = Field(default_factory=Promotion)

    def experiment(self) -> dict[str, Any]:
        """What defines the experiment: every section but `hardware`, `tracking` and `promotion`, as JSON values."""
        return self.model_dump(mode="json", exclude=set(OUTSIDE_THE_EXPERIMENT))
