"""Runs are compared on the same rows, with what differed, what flipped, and which groups got worse."""

import json
from io import StringIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from rich.console import Console

from pipeline import project
from pipeline.cli import compare_tables
from pipeline.errors import UserError
from pipeline.evaluation import paired
from pipeline.evaluation.examples import Examples
from pipeline.lifecycle import compare_page
from pipeline.lifecycle.compare import compare
from pipeline.params import Evaluate, Params
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.text_classification import TextClassification
from pipeline.tracking import groups, records
from tests.evaluation.test_report import Page
from tests.lifecycle.evaluated import LABELS, answers, made, table, worse_on

PARAMS = Params(evaluate=Evaluate(n_resamples=200))
ROWS = table()
GOOD = answers(ROWS, 0.75, seed=1)


@pytest.fixture
def two(client: MlflowClient) -> tuple[str, str]:
    """The ids of a run, and of one that is much worse on mails."""
    return made("first", GOOD), made("second", worse_on(GOOD, "mail"), learning_rate=1e-4)


def test_scores_flips_and_slices_of_two_runs(two: tuple[str, str]) -> None:
    found = compare(["first", two[1]], PARAMS)
    assert [run["name"] for run in found["runs"]] == ["first", "second"]
    assert found["rows"] == found["rows_of_reference"] == 200
    assert found["differing"]["params"] == {"train.learning_rate": ["0.003", "0.0001"]}
    assert found["differing"]["data"] == found["differing"]["environment"] == {}
    (comparison,) = found["comparisons"]
    expected = paired.differences(worse_on(GOOD, "mail"), GOOD, PARAMS.evaluate)
    for score, difference in comparison["differences"].items():
        assert difference["difference"] == pytest.approx(expected[score].difference)
        assert difference["p_value"] == pytest.approx(expected[score].p_value)
        # The same probabilities, of fewer right rows: these are not too sure by less than they were not sure enough.
        assert difference["verdict"] == ("better" if score == "calibration_error" else "worse"), score
    flipped = comparison["flipped"]
    assert flipped["to_right"] == []
    assert len(flipped["to_wrong"]) == round(-200 * comparison["differences"]["accuracy"]["difference"])
    first = flipped["to_wrong"][0]
    assert first["target"] == first["reference"] != first["run"]
    assert first["target"] in LABELS
    assert "texts" not in first, "the rows are not here"
    clear = [test for test in comparison["slices"] if test["verdict"] != "may be noise"]
    assert {(test["group"], test["verdict"]) for test in clear} == {("mail", "worse")}
    assert {test["score"] for test in comparison["slices"]} == {"accuracy", "loss"}
    assert all(test["adjusted"] is None or test["adjusted"] >= test["p_value"] for test in comparison["slices"])
    assert found["looks"] is None
    json.dumps(found, allow_nan=False)


def test_a_run_does_not_differ_from_itself(two: tuple[str, str]) -> None:
    (comparison,) = compare([two[0], "first"], PARAMS)["comparisons"]
    assert {found["verdict"] for found in comparison["differences"].values()} == {"may be noise"}
    assert comparison["flipped"] == {"to_right": [], "to_wrong": []}


def test_looks_at_the_test_rows_are_counted_and_those_at_validation_are_not(two: tuple[str, str]) -> None:
    assert compare(two, PARAMS)["looks"] is None
    assert compare(two, PARAMS, split="test")["looks"] == 1
    assert compare([*two, "first"], PARAMS, split="test")["looks"] == 3


def test_other_rows_are_refused_and_the_shared_ones_compared_when_asked(client: MlflowClient) -> None:
    made("first", GOOD)
    other = GOOD.take(np.arange(40, 200)[::-1])
    made("other", other)
    with pytest.raises(UserError, match=r"not evaluated on the same rows.*40 rows only in the first\.\n.*--common"):
        compare(["first", "other"], PARAMS)
    found = compare(["first", "other"], PARAMS, common=True)
    assert (found["rows"], found["rows_of_reference"]) == (160, 200)
    assert {one["difference"] for one in found["comparisons"][0]["differences"].values()} == {0.0}


def test_labels_in_another_order_are_matched_by_name(client: MlflowClient) -> None:
    made("first", GOOD)
    renumbered = answers(ROWS, 0.75, seed=1, labels=("good", "bad", "calm"))
    made("other", renumbered)
    (comparison,) = compare(["first", "other"], PARAMS)["comparisons"]
    assert comparison["differences"]["accuracy"]["difference"] == 0.0
    assert comparison["flipped"] == {"to_right": [], "to_wrong": []}


def test_a_slice_can_be_named_and_a_wrong_name_is_told(two: tuple[str, str]) -> None:
    assert {test["slice"] for test in compare(two, PARAMS, only="source")["comparisons"][0]["slices"]} == {"source"}
    with pytest.raises(UserError, match=r"by the slice 'sorce'; its slices are source\. Did you mean 'source'\?"):
        compare(two, PARAMS, only="sorce")


def test_a_run_that_was_not_evaluated_is_told(two: tuple[str, str], client: MlflowClient) -> None:
    run = client.create_run(client.get_run(two[0]).info.experiment_id, run_name="bare")
    with pytest.raises(UserError, match=rf"The run bare \({run.info.run_id}\) has no answers to the validation rows"):
        compare(["first", "bare"], PARAMS)


def test_texts_stand_beside_flips_only_if_the_rows_are_here_and_may_be_shown(two: tuple[str, str]) -> None:
    project.PREPARED.mkdir(parents=True)
    pq.write_table(ROWS, project.PREPARED / "validation.parquet")
    TextClassification(LABELS).save(project.PREPARED)
    texts = [row["texts"] for row in compare(two, PARAMS)["comparisons"][0]["flipped"]["to_wrong"]]
    assert texts
    assert all(text[0].startswith("text ") for text in texts)
    silent = PARAMS.model_copy(update={"evaluate": Evaluate(n_resamples=200, publish_texts="none")})
    assert "texts" not in compare(two, silent)["comparisons"][0]["flipped"]["to_wrong"][0]


def test_seeds_count_where_both_sides_have_them(client: MlflowClient) -> None:
    ids = {}
    for name, right in (("a", 0.7), ("b", 0.76)):
        for seed in range(3):
            made(f"{name}{seed}", answers(ROWS, right, seed=10 * seed + len(ids)), seed=seed)
        members = [records.find(f"{name}{seed}", PARAMS.tracking.experiment_name) for seed in range(3)]
        ids[name] = groups.group(members, f"group {name}")
        assert groups.group(members, f"group {name}") == ids[name], "the same runs are one group"
    found = compare([ids["a"], ids["b"]], PARAMS)
    assert [run["seeds"] for run in found["runs"]] == [3, 3]
    (comparison,) = found["comparisons"]
    assert comparison["with_seeds"]
    parent = client.get_run(ids["b"])
    mean, std = (parent.data.metrics[f"validation/accuracy{end}"] for end in ("", "_std"))
    assert found["runs"][1]["scores"]["accuracy"] == {"value": pytest.approx(mean), "std": pytest.approx(std)}
    means = [run["scores"]["accuracy"]["value"] for run in found["runs"]]
    assert comparison["differences"]["accuracy"]["difference"] == pytest.approx(means[1] - means[0])
    children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{ids['b']}'")
    assert len(children) == 3
    assert not compare(["a0", ids["b"]], PARAMS)["comparisons"][0]["with_seeds"]


def test_the_page_shows_it_without_anything_from_outside(two: tuple[str, str], client: MlflowClient) -> None:
    made("<b>third</b>", answers(ROWS, 0.6, seed=4))
    text = compare_page.render(compare([*two, "<b>third</b>"], PARAMS, split="test"))
    page = Page(text)
    assert [link["href"] for link in page.of("a")] == ["#scores", "#differing", "#run-1", "#run-2"]
    assert "<b>third" not in text
    assert "This test set has been looked at 2 times." in page.text
    assert "train.learning_rate" in page.text
    assert len(page.of("img")) == 2
    assert not page.of("script")
    assert "://" not in text.split("base64,")[0]


LANGUAGE = PARAMS.model_copy(update={"task": "causal-lm"})


def made_of_tokens(name: str, more: float, tokens: int) -> None:
    """A language model that needs so many more nats for a row of so many tokens."""
    loss = np.random.default_rng(3).uniform(40, 60, 200) + more * np.random.default_rng(4).normal(2, 1, 200)
    found = {"loss": loss, "targets": np.full(200, tokens), "bytes": np.full(200, 100)}
    made(name, Examples(CausalLM(), GOOD.ids, GOOD.keys, found, GOOD.slices), LANGUAGE)


def test_scores_a_token_are_not_compared_between_tokenizers(client: MlflowClient) -> None:
    made_of_tokens("first", 0, 20)
    made_of_tokens("alike", 1, 20)
    made_of_tokens("other", 1, 25)
    found = compare(["first", "alike", "other"], LANGUAGE)
    alike, other = found["comparisons"]
    assert alike["other_targets"] is None
    assert other["other_targets"] == {"scores": ["perplexity", "loss"], "targets": [4000, 5000]}
    assert other["differences"]["perplexity"]["difference"] < 0 < other["differences"]["bits_per_byte"]["difference"]
    warning = "Not to be compared: perplexity, loss. They are means over targets, of which these rows have 4,000"
    with StringIO() as said:
        compare_tables.show(found, Console(file=said, width=400))
        assert said.getvalue().count(warning) == 1
        assert "Compare bits_per_byte instead." in said.getvalue()
    assert Page(compare_page.render(found)).text.count(warning) == 1


def test_a_task_without_right_and_wrong_rows_is_compared_by_its_scores(client: MlflowClient) -> None:
    made_of_tokens("first", 0, 20)
    made_of_tokens("second", 1, 20)
    found = compare(["first", "second"], LANGUAGE)
    (comparison,) = found["comparisons"]
    assert {one["verdict"] for one in comparison["differences"].values()} == {"worse"}
    assert comparison["flipped"] is None
    page = Page(compare_page.render(found))
    assert "perplexity (less is better)" in page.text
    assert not page.of("img"), "no axis is right for all of its scores"
    assert "Right before" not in page.text
    with StringIO() as said:
        compare_tables.show(found, Console(file=said, width=100))
        assert "perplexity" in said.getvalue()
        assert "right before" not in said.getvalue()
