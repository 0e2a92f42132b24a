"""The model card: what the hub reads is valid, and what people read holds the numbers of the run and no row."""

from dataclasses import replace

import yaml

from pipeline.evaluation import model_card
from pipeline.params import Model, Params
from tests.evaluation.findings import findings


def front(text: str) -> dict:
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_front_matter_has_the_scores_with_their_intervals() -> None:
    found = findings()
    head = front(model_card.render(found))
    assert (head["library_name"], head["pipeline_tag"]) == ("transformers", "text-classification")
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    by_type = {metric["type"]: metric for metric in result["metrics"]}
    assert by_type["accuracy"]["value"] == found.metrics["test"]["accuracy"]["value"]
    assert by_type["f1"]["name"] == "f1_macro (95% interval 0.770 to 0.810)"


def test_the_hub_reads_it() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card.render(findings()))
    results = card.data.eval_results
    assert results is not None
    assert {(result.metric_type, result.metric_value) for result in results} >= {("accuracy", 0.8), ("f1", 0.79)}


def test_the_body_has_the_scores_of_the_model_and_the_baselines() -> None:
    text = model_card.render(findings())
    assert "| this model | 0.800 (95% interval 0.780 to 0.820) |" in text
    assert "| words & \\<trees\\> | 0.750" in text
    assert "1,234 test rows" in text


def test_no_text_of_a_row_stands_in_it() -> None:
    found = findings()
    assert found.mistakes, "the test needs rows that the report shows"
    text = model_card.render(found)
    for mistake in found.mistakes:
        assert all(row not in text for row in mistake.texts)


def test_a_pretrained_model_is_the_base_model_and_the_columns_that_it_reads_are_named() -> None:
    params = Params(model=Model(model_name_or_path="data/models/small", config=None))
    text = model_card.render(replace(findings(), params=params, columns=("text", "text_pair")))
    assert front(text)["base_model"] == "data/models/small"
    assert front(text)["model-index"][0]["name"] == "small on docstrings"
    assert "A row has text, text_pair." in text


def test_a_score_that_is_not_defined_is_left_out() -> None:
    found = findings()
    undefined = dict.fromkeys(("value", "low", "high"))
    metrics = {**found.metrics, "test": {**found.metrics["test"], "loss": undefined}}
    text = model_card.render(replace(found, metrics=metrics))
    assert "loss" not in front(text)["metrics"]
    assert "| – |" in text


def test_it_is_the_same_for_the_same_results() -> None:
    assert model_card.render(findings()) == model_card.render(findings())


def test_a_task_that_the_hub_does_not_know_has_no_tag_of_it() -> None:
    """Those that it knows have its name, which may be another than the task's."""
    known = front(model_card.render(replace(findings(), params=Params(task="masked-lm"))))
    assert (known["pipeline_tag"], known["model-index"][0]["results"][0]["task"]["type"]) == ("fill-mask",) * 2
    unknown = front(model_card.render(replace(findings(), params=Params(task="text-regression"))))
    assert "pipeline_tag" not in unknown
    assert unknown["model-index"][0]["results"][0]["task"]["type"] == "text-regression"
