"""What holds for every task, whatever it does."""

import pytest

from pipeline.errors import UserError
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ner", "'token-classification'"),
        ("NER", "'token-classification'"),
        ("sentiment-analysis", "'text-classification'"),
        ("summarization", "'seq2seq'"),
        ("translation", "'seq2seq'"),
        ("qa", "'question-answering'"),
        ("fill-mask", "'masked-lm'"),
        ("text-generation", "'causal-lm' or 'sft'"),
        ("token_classification", "'token-classification'"),
        ("text-clasification", "'text-classification'"),
    ],
)
def test_a_task_by_the_name_that_others_give_it_is_found_in_the_error(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"there is no task '{name}'; .* Did you mean {meant}\?$"):
        find(name)
