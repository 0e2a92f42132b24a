"""The pages on code of the user's own show the files that the tests run, and every key that a Trainer has."""

import ast
import dataclasses
import json
import re

import pytest
import yaml
from transformers import TrainingArguments

from pipeline.params import Params
from tests.conftest import REPOSITORY

PAGES = {
    name: (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("from-trainer", "add-a-task")
}
OWN = REPOSITORY / "tests" / "own_package"
ROW = re.compile(r"^\| `(\w+)` \| (same|renamed|derived|absent) \| (.+) \|$", re.MULTILINE)


@pytest.mark.parametrize(("page", "file"), [("from-trainer", "focal.py"), ("add-a-task", "truecasing.py")])
def test_a_page_shows_the_file_as_it_is(page: str, file: str) -> None:
    assert f"```python\n{(OWN / file).read_text(encoding='utf-8')}```" in PAGES[page]


def test_the_metric_is_shown_as_it_is() -> None:
    source = (OWN / "metrics.py").read_text(encoding="utf-8")
    (function,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "cost_error"]
    assert str(ast.get_source_segment(source, function)) in PAGES["from-trainer"]


def test_every_key_of_the_training_arguments_is_told_of_once() -> None:
    rows = ROW.findall(PAGES["from-trainer"])
    assert sorted(name for name, _, _ in rows) == sorted(field.name for field in dataclasses.fields(TrainingArguments))


def test_keys_that_are_said_to_be_here_are_here() -> None:
    there = {f"{name}.{key}" for name, section in Params() if hasattr(section, "spelled") for key in section.spelled()}
    for name, how, why in ROW.findall(PAGES["from-trainer"]):
        if how in ("same", "renamed"):
            key = re.match(r"`([\w.]+)", why)
            assert key is not None, name
            assert key[1] in there, name
            assert (key[1].partition(".")[2] == name) == (how == "same"), name


def test_a_key_that_has_another_default_than_the_trainer_tells_both() -> None:
    params = Params()
    theirs = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    told = re.compile(r"the default is (\S+) here and (\S+?) there")
    for name, how, why in ROW.findall(PAGES["from-trainer"]):
        if how == "same":
            section, key = why[1:].split("`")[0].split(".")
            here, there = getattr(getattr(params, section), key), theirs[name]
            said = told.search(why)
            assert (said is None) == (here == there), name
            assert said is None or [json.loads(value) for value in said.groups()] == [here, there], name


@pytest.mark.parametrize("page", PAGES)
def test_the_params_of_a_page_are_valid(page: str) -> None:
    (text,) = re.findall(r"```yaml\n(.+?)```", PAGES[page], re.DOTALL)
    Params.model_validate(yaml.safe_load(text))
