"""What is read from the texts of dvc.yaml and dvc.lock."""

from pathlib import Path

import yaml

from pipeline import dag
from tests.conftest import REPOSITORY

PIPELINE = """stages:
  a: {cmd: a, deps: [raw, a.py], outs: [x: {cache: false}]}
  b: {cmd: b, deps: [x, b.py], outs: [y], metrics: [m.json: {cache: false}]}
  c: {cmd: c, deps: [m.json]}
  d: {cmd: d, deps: [raw]}
"""


def test_sources_are_what_no_stage_makes(folder: Path):
    Path("dvc.yaml").write_text(PIPELINE)
    assert dag.sources() == ["a.py", "b.py", "raw"]
    assert (dag.maker("x"), dag.maker("m.json")) == ("a", "b")


def test_a_lock_without_results_keeps_what_came_before():
    lock = yaml.safe_dump({"schema": "2.0", "stages": {name: {"cmd": name} for name in "abcd"}})
    kept = yaml.safe_load(dag.without_results(lock, PIPELINE, "b"))
    assert kept == {"schema": "2.0", "stages": {"a": {"cmd": "a"}, "d": {"cmd": "d"}}}
    assert yaml.safe_load(dag.without_results("", PIPELINE, "a")) == {"stages": {}}


def test_of_this_pipeline_the_lock_before_train_has_what_train_reads():
    pipeline = (REPOSITORY / "dvc.yaml").read_text()
    lock = yaml.safe_dump({"stages": {name: {} for name in yaml.safe_load(pipeline)["stages"]}})
    assert set(yaml.safe_load(dag.without_results(lock, pipeline, "train"))["stages"]) == {
        "check",
        "prepare",
        "tokenize",
    }
