"""Freed is what no kept run, commit or working tree needs; what is kept still comes back, byte for byte."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline import digest, project
from pipeline.cli.gc import command
from pipeline.errors import UserError
from pipeline.lifecycle import checkout, dvc, gc
from pipeline.lifecycle.gc import Checkpoints, Keep
from pipeline.params import Params, Train
from pipeline.tasks.sentence_embedding import SentenceEmbedding
from pipeline.tracking import journal as journals
from pipeline.tracking import records
from pipeline.tracking.journal import ENTRIES
from tests.lifecycle import traced
from tests.lifecycle.traced import Traced
from tests.tracking.repositories import commit, write


@pytest.fixture
def made(project_of_runs: Traced) -> Traced:
    return project_of_runs


def at(rate: float) -> Params:
    return Params(train=Train(learning_rate=rate))


def cached(value: str) -> bool:
    return (dvc.cache(project.home()) / "files/md5" / value[:2] / value[2:]).is_file()


def test_the_best_runs_are_the_best_by_a_score_that_the_prepared_rows_give(folder: Path) -> None:
    params = Params(task="sentence-embedding")
    assert gc.deciding(params) == "recall_at_1"
    project.PREPARED.mkdir(parents=True)
    SentenceEmbedding(score_names=("spearman", "pearson"), share_of_rows=None, others=("text_pair",)).save(
        project.PREPARED
    )
    assert gc.deciding(params) == "spearman"


def test_what_is_freed_and_what_still_comes_back(made: Traced, folder: Path):
    first = made.run("committed", 0.1, at(0.1))
    commit({"dvc.lock": Path("dvc.lock").read_bytes()})
    worst = made.run("worst", 0.2, at(0.2))
    write({"data/raw/large.csv": "of the best run alone\n"})
    traced.dvc("add", "-q", "data/raw/large.csv")
    best = made.run("best", 0.9, at(0.3))
    write({"data/raw/large.csv": "large\n"})
    traced.dvc("add", "-q", "data/raw/large.csv")
    last = made.run("last", 0.3, at(0.4))
    models = {record.name: record.tags["reprise.output.models/best"] for record in (first, worst, best, last)}
    owners = {
        "done": last.id,
        "of the worst": worst.id,
        "of the last": last.id,
        "of nobody": None,
        "of others": "f" * 32,
    }
    checkpoints = [Checkpoints(folder / name, run, name == "done") for name, run in owners.items()]
    for found in checkpoints:
        write({"step-1/x": "x"}, found.folder)

    runner = CliRunner()
    dry = runner.invoke(command, ["--keep", "champion,best:1", "--dry-run"], catch_exceptions=False)
    assert "MLflow: 3 of 4 runs are kept." in dry.output
    assert f"freed  {worst.id} worst: " in dry.output
    assert "Nothing was freed" in dry.output
    refused = runner.invoke(command, ["--keep", "best:1"], input="n\n")
    assert refused.exit_code != 0
    assert all(map(cached, models.values()))
    assert records.find("worst", "reprise")

    plan = gc.plan(Keep((), 1), at(0.4), checkpoints)
    assert {old.record.name: old.reason for old in plan.runs} == {
        "committed": "its model is that of main",
        "worst": None,
        "best": "1 of the best 1, validation/accuracy 0.900",
        "last": "its model is in models/best",
    }
    assert {found.folder.name for found in plan.checkpoints} == {"done", "of the worst"}
    assert len(plan.cached) == 2, "the folder of the worst model, and the file in it"
    removed: list[Path] = []
    gc.free(plan, removed.append)
    assert sorted(path.name for path in removed) == ["done", "of the worst"]
    assert {name for name, value in models.items() if not cached(value)} == {"worst"}
    assert not (made.home / "mlartifacts" / worst.id / "artifacts").exists()
    with pytest.raises(UserError, match="There is no run"):
        records.find(worst.id, "reprise")

    tree = checkout.check_out(best, folder / "there")
    assert tree.missing == ()
    assert "Stage 'train' is cached" in traced.dvc("repro", folder=tree.folder)
    assert digest.of_folder(tree.folder / "models/best") == best.tags[records.MODEL_DIGEST]


def test_a_run_that_counts_looks_loses_its_files_and_keeps_its_tags(made: Traced):
    looked = made.run("looked at", 0.1, at(0.1))
    made.client.set_tag(looked.id, "reprise.look.abc.1", "compare")
    made.run("last", 0.9, at(0.2))
    plan = gc.plan(Keep((), 1), at(0.2), [])
    assert [old.record.name for old in plan.freed] == ["looked at"]
    gc.free(plan, lambda folder: None)
    assert records.find("looked at", "reprise").tags["reprise.look.abc.1"] == "compare"
    assert looked.read("params.yaml") is None
    assert gc.plan(Keep((), 1), at(0.2), []).freed == []


def test_a_cache_that_others_may_use_is_left_alone(made: Traced, folder: Path):
    traced.dvc("cache", "dir", "-q", "--local", str(folder / "shared"))
    made.run("only", 0.1)
    plan = gc.plan(Keep((), 0), Params(), [])
    assert plan.cached == ()
    assert "is not in this project" in plan.untouched[0]


def test_rows_that_only_a_run_of_another_experiment_uses_stay(made: Traced):
    write({"data/raw/large.csv": "of another experiment alone\n"})
    traced.dvc("add", "-q", "data/raw/large.csv")
    value = yaml.safe_load(Path("data/raw/large.csv.dvc").read_text())["outs"][0]["md5"]
    other = replace(made, experiment=made.client.create_experiment("other")).run("elsewhere")
    write({"data/raw/large.csv": "large\n"})
    traced.dvc("add", "-q", "data/raw/large.csv")
    gc.free(gc.plan(Keep((), 0), Params(), []), lambda folder: None)
    assert cached(value)
    assert cached(other.tags["reprise.output.models/best"])


def test_while_runs_are_not_in_mlflow_yet_the_cache_is_left_alone(made: Traced):
    made.run("worst", 0.1, at(0.1))
    made.run("last", 0.9, at(0.2))
    unsent = journals.new()
    with unsent.writing():
        unsent.append(ENTRIES, {"kind": "open", "uri": ""})
        plan = gc.plan(Keep((), 1), at(0.2), [])
    assert (plan.cached, plan.revision) == ((), None)
    assert "runs that go on, or are not in MLflow yet, may use it" in plan.untouched[0]


def test_what_to_keep_is_read(made: Traced):
    assert Keep.parse("champion,best:5") == Keep(("champion",), 5)
    assert Keep.parse("best:2, best:7") == Keep((), 7)
    with pytest.raises(UserError, match="no registered model has the alias 'bset:5'"):
        Keep.parse("bset:5")
    made.client.create_registered_model("reviews")
    made.client.create_model_version("reviews", "file:///x")
    made.client.set_registered_model_alias("reviews", "staging", "1")
    assert Keep.parse("staging") == Keep(("staging",), 0)
    with pytest.raises(UserError, match="there are staging"):
        Keep.parse("stagging")
