"""What holds for every task, whatever it does."""

import pytest

from pipeline.params import Train
from pipeline.tasks import find
from pipeline.tasks.base import metric_for_best_model


@pytest.mark.parametrize(
    ("task", "named", "found"),
    [
        ("text-classification", None, "accuracy"),
        ("text-classification", "f1_macro", "f1_macro"),
        ("text-classification", "mypackage.metrics.cost_error", "cost_error"),
        ("causal-lm", None, "perplexity"),
        ("seq2seq", None, "loss"),
        ("seq2seq", "token_accuracy", "token_accuracy"),
    ],
)
def test_the_best_model_is_picked_by_the_first_score_that_training_knows(
    task: str, named: str | None, found: str
) -> None:
    assert metric_for_best_model(find(task), Train(metric_for_best_model=named)) == found
