"""The section `promotion`."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.params.section import Section
from pipeline.params.values import Number
from pipeline.scores import is_share


class Promotion(Section):
    """When a model may replace the champion. Changing this retrains nothing."""

    metric: str | None = Field(None, description="the test score that decides; null: the task's first")
    required: Literal["better", "non-inferior"] = Field(
        "better", description="than the champion by more than noise; or not worse by more than the margin"
    )
    margin: Number | None = Field(
        None,
        gt=0,
        description="of non-inferior: how far behind the best champion that was on these test rows; null: 0.01 of a "
        "score that ends at 1, and of any other none",
    )
    floors: dict[str, Number] = Field(
        {}, description="score: the worst that it may be, such as {accuracy: 0.8} or {perplexity: 30}"
    )
    guarded: dict[str, Number] = Field(
        {},
        description="score, or score on slice: how much it may fall, such as {mcc: 0.02, accuracy on length: 0.05}",
    )
    on_uncertain: Literal["reject", "accept"] = Field(
        "reject", description="what becomes of a model for which the rows are too few to tell: reject or accept"
    )
    confidence_level: Number = Field(0.95, gt=0.5, lt=1, description="of every one-sided bound")

    @field_validator("floors")
    @classmethod
    def _can_be_reached(cls, floors: dict[str, float]) -> dict[str, float]:
        for name, floor in floors.items():
            if floor > 1 and is_share(name):
                raise ValueError(f"the floor of '{name}' is {floor:g}, and it is never above 1: 80% is 0.8")
        return floors

    @field_validator("guarded")
    @classmethod
    def _may_fall(cls, margins: dict[str, float]) -> dict[str, float]:
        for name, margin in margins.items():
            if margin <= 0 or (margin >= 1 and is_share(name.partition(" on ")[0])):
                raise ValueError(
                    f"the margin of '{name}' must be above 0, since no rows can show a fall of nothing, and below "
                    "1 for a score that ends there"
                )
        return margins
