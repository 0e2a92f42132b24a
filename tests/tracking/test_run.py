import math
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Evaluate, Hardware, Model, Params, Tracking, Train
from pipeline.tracking import run_map
from pipeline.tracking.run import Run
from tests.tracking.runs import DIGEST, begun, evaluated, points, stored

pytestmark = pytest.mark.usefixtures("in_process")


def test_a_run_says_what_it_is(client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_EXP_NAME", "ripe-fig")
    params = Params(tracking=Tracking(tags={"team": "blue", "via": "http://ann:pa55@host"}))
    with begun(params) as run:
        assert stored(client, run).info.status == "RUNNING"
    found = stored(client, run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "ripe-fig"
    assert found.data.params["train.learning_rate"] == str(Params().train.learning_rate)
    tags = found.data.tags
    assert tags["reprise.input.data/tokenized"] == DIGEST
    assert (tags["reprise.device"], tags["reprise.threads"]) == ("cpu", str(Params().hardware.num_threads))
    assert (tags["team"], tags["via"]) == ("blue", "http://host")
    assert tags["mlflow.note.content"].startswith("**text-classification**")
    assert found.info.user_id == tags["mlflow.user"]
    kept = Path(client.download_artifacts(found.info.run_id, "params.yaml", str(home)))
    assert params_file.read(kept).train == params.train


def test_more_params_than_fit_into_a_request_and_longer_values_than_fit_into_a_field(client: MlflowClient, home: Path):
    names = {str(number): f"label {number}" for number in range(150)}
    params = Params(model=Model(config={"model_type": "bert", "id2label": names, "note": "x" * 7000}))
    with begun(params) as run:
        pass
    found = stored(client, run).data.params
    assert found["model.config.id2label.149"] == "label 149"
    assert len(found["model.config.note"]) == 6000
    assert "… sha256:" in found["model.config.note"]


def test_curves_go_by_step_and_finals_stand_at_step_0(client: MlflowClient, home: Path):
    with begun() as run:
        run.metrics(10, {"train/loss": 2.0, "train/learning_rate": 1e-3})
        run.metrics(20, {"train/loss": 1.5})
        run.metrics(20, {"validation/f1@macro": 0.5})
        run.finals({"test/accuracy": 0.8})
    assert points(client, run, "train/loss") == [(10, 2.0), (20, 1.5)]
    assert points(client, run, "validation/f1_macro") == [(20, 0.5)]
    assert points(client, run, "test/accuracy") == [(0, 0.8)]


def test_what_is_not_finite_is_kept_as_no_number(client: MlflowClient, home: Path):
    with begun() as run:
        run.metrics(1, {"train/loss": math.inf})
    assert math.isnan(points(client, run, "train/loss")[0][1])


def test_a_run_that_is_gone_on_with_gets_no_point_twice(client: MlflowClient, home: Path):
    def train() -> None:
        with first:
            for step in range(1, 6):
                first.metrics(step, {"train/loss": 1 / step})
            raise RuntimeError("the machine is on fire")

    first = begun()
    with pytest.raises(RuntimeError):
        train()
    assert stored(client, first).data.tags["reprise.error"] == "RuntimeError: the machine is on fire"
    with begun(Params(hardware=Hardware(num_threads=4)), resume=first.id) as second:
        assert stored(client, second).info.status == "RUNNING"
        for step in range(3, 9):
            second.metrics(step, {"train/loss": 1 / step})
    assert second.id == first.id
    assert points(client, second, "train/loss") == [(step, 1 / step) for step in range(1, 9)]
    found = stored(client, second)
    assert found.info.status == "FINISHED"
    assert "reprise.error" not in found.data.tags
    # MLflow keeps the first value of a param; that another one was used from here on stands beside it.
    assert found.data.params["hardware.num_threads"] == str(Params().hardware.num_threads)
    assert found.data.tags["reprise.changed.hardware.num_threads"] == "4"
    assert found.data.tags["reprise.threads"] == str(Params().hardware.num_threads)


@pytest.mark.parametrize("gone", ["unknown", "deleted"])
def test_a_run_that_is_gone_is_begun_anew(client: MlflowClient, home: Path, gone: str):
    with begun() as first:
        pass
    client.delete_run(stored(client, first).info.run_id)
    with begun(resume=first.id if gone == "deleted" else "0" * 32) as second:
        second.metrics(1, {"train/loss": 1.0})
    assert points(client, second, "train/loss") == [(1, 1.0)]


def test_evaluation_goes_on_in_the_run_that_made_the_model(client: MlflowClient, home: Path):
    with begun() as trained:
        trained.link_model(DIGEST)
    with begun():
        pass
    assert stored(client, evaluated(0.8)).info.run_id == stored(client, trained).info.run_id
    found = stored(client, trained)
    assert found.data.tags["reprise.model_digest"] == DIGEST
    assert found.data.tags["reprise.input.models/best"] == DIGEST
    assert found.info.status == "FINISHED"
    assert points(client, trained, "test/accuracy") == [(0, 0.8)]


def test_another_evaluation_is_a_child_of_the_run_and_changes_nothing_there(client: MlflowClient, home: Path):
    with begun() as trained:
        trained.link_model(DIGEST)
    evaluated(0.8)
    other = Params(evaluate=Evaluate(confidence_level=0.9))
    for child in (stored(client, evaluated(0.9, other)), stored(client, evaluated(0.9, other))):
        parent = stored(client, trained)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id != child.info.run_id
        assert child.data.params["evaluate.confidence_level"] == "0.9"
        assert child.data.metrics == {"test/accuracy": 0.9}
        # By its model a run is found, and a child made none.
        assert "reprise.model_digest" not in child.data.tags
        assert parent.data.metrics["test/accuracy"] == 0.8
        assert run_map.recall(DIGEST) == parent.info.run_id


def test_an_evaluation_that_broke_off_is_made_again_in_the_run(client: MlflowClient, home: Path):
    with begun() as trained:
        trained.link_model(DIGEST)
    broken = Run.of_model(Params(), DIGEST, inputs={}, device="cpu")
    broken.finals({"test/accuracy": 0.7, "test/mcc": 0.5})
    broken.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stored(client, trained).info.status == "KILLED"
    with Run.of_model(Params(), DIGEST, inputs={}, device="cpu") as run:
        run.finals({"test/accuracy": 0.8, "test/mcc": 0.5})
    assert stored(client, run).info.run_id == stored(client, trained).info.run_id
    assert stored(client, trained).data.metrics["test/accuracy"] == 0.8
    assert points(client, trained, "test/mcc") == [(0, 0.5)], "the same again is no second point"


def test_the_run_is_found_by_its_tag_where_the_local_map_knows_nothing(client: MlflowClient, home: Path):
    runs = []
    for _ in range(2):
        with begun(Params(tracking=Tracking(experiment_name="before"))) as run:
            run.link_model(DIGEST)
        runs.append(run)
        time.sleep(0.01)
    (home / ".reprise" / "runs.json").unlink()
    assert stored(client, evaluated(0.8)).info.run_id == stored(client, runs[-1]).info.run_id


def test_a_model_whose_run_is_gone_is_evaluated_in_a_new_run(client: MlflowClient, home: Path):
    run_map.remember(DIGEST, run="0" * 32)
    run = evaluated(0.8)
    assert stored(client, run).data.tags["reprise.model_digest"] == DIGEST
    assert points(client, run, "test/accuracy") == [(0, 0.8)]


def test_datasets_carry_the_digest_of_all_rows(client: MlflowClient, home: Path):
    with begun() as run:
        run.dataset("docstrings", "training", DIGEST, 1234, "https://ann:pa55@host/rows.csv")
    with begun(resume=run.id) as again:
        again.dataset("docstrings", "training", DIGEST, 1234, "https://ann:pa55@host/rows.csv")
    (used,) = stored(client, run).inputs.dataset_inputs
    assert used.dataset.digest == DIGEST[:36]
    assert used.dataset.profile == f'{{"num_rows": 1234, "sha256": "{DIGEST}"}}'
    assert used.dataset.source == '{"uri": "https://host/rows.csv"}'
    assert [tag.value for tag in used.tags] == ["training"]


def test_artifacts_lie_in_the_project_and_the_model_only_if_wanted(client: MlflowClient, home: Path):
    figures, model = home / "figures", home / "model"
    for folder in (figures, model):
        folder.mkdir()
    (figures / "confusion.png").write_bytes(b"png")
    (model / "config.json").write_text("{}")
    lineages = {"lineage/lineage.json", "lineage/environment.txt"}
    kept = {}
    for wanted in (True, False):
        with begun(Params(tracking=Tracking(log_model=wanted))) as run:
            run.artifacts(figures, "figures")
            run.artifact(model / "config.json", "extra")
            run.model(model)
        folder = home / "mlartifacts" / stored(client, run).info.run_id / "artifacts"
        kept[wanted] = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept[False] == {"params.yaml", "figures/confusion.png", "extra/config.json", *lineages}
    assert kept[True] == kept[False] | {"model/config.json"}


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ValueError("bad http://ann:pa55@host\nsecond line"), "FAILED", "ValueError: bad http://host"),
        (UserError("train.csv, row 3: no text"), "FAILED", "train.csv, row 3: no text"),
        (SystemExit(1), "FAILED", "SystemExit: 1"),
        (SystemExit(0), "FINISHED", None),
        (SystemExit(143), "KILLED", "SystemExit: 143"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
    ids=repr,
)
def test_the_status_is_how_the_block_ended(
    client: MlflowClient, home: Path, error: BaseException, status: str, told: str | None
):
    with pytest.raises(type(error)), begun() as run:
        raise error
    found = stored(client, run)
    assert (found.info.status, found.data.tags.get("reprise.error")) == (status, told)
    assert found.info.end_time is not None


def test_what_differs_from_the_run_before_leads_the_description(client: MlflowClient, home: Path):
    for rate, batch in ((0.003, 64), (0.001, 32)):
        with begun(
            Params(train=Train(learning_rate=rate, global_batch_size=batch), hardware=Hardware(save_steps=7))
        ) as run:
            pass
    first, second = reversed(client.search_runs([stored(client, run).info.experiment_id]))
    assert second.data.tags["reprise.parent"] == first.info.run_id
    note = second.data.tags["mlflow.note.content"]
    assert note.startswith(
        f"**global_batch_size 64 -> 32, learning_rate 0.003 -> 0.001** (against {first.info.run_name})"
    )
    assert "**text-classification**" in note
    assert "->" not in first.data.tags["mlflow.note.content"]
