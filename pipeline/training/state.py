"""How far a training has come."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """What a resumed training needs to know beside the tensors; JSON values only.

    Attributes:
        step: optimizer steps done.
        settled: the last step after which all that was due (scores, points, a checkpoint) was done.
        scale: the loss scale of fp16.
        skipped: steps left out because their loss or gradient was not finite.
        best_step: the step with the best validation score; None before the first evaluation.
        best_score: that score, better when higher.
        waited: evaluations since then.
        window: (loss, gradient norm) of the steps since the last point of the learning curve.
        train_curve: its points so far.
        validation_curve: the scores of every evaluation so far.
    """

    step: int = 0
    settled: int = 0
    scale: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    best_step: int | None = None
    best_score: float = -math.inf
    waited: int = 0
    window: list[list[float]] = field(default_factory=list)
    train_curve: list[dict[str, float]] = field(default_factory=list)
    validation_curve: list[dict[str, float]] = field(default_factory=list)
