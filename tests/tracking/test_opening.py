from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.params import Params, Tracking, Train
from pipeline.tracking import opening, run
from tests.tracking.runs import DIGEST, begun, stored


@pytest.mark.parametrize(
    ("params", "tags", "found"),
    [
        ({"train.learning_rate": "0.1", "train.seed": "1"}, {}, ["learning_rate 0.1 -> 0.2"]),
        ({"train.learning_rate": "0.2", "train.seed": "1", "hardware.devices": "4", "version": "0"}, {}, []),
        ({"train.learning_rate": "0.2"}, {}, ["seed (none) -> 1"]),
        (
            {"train.learning_rate": "0.2", "train.seed": "1"},
            {"reprise.input.data/prepared": "other", "reprise.input.a.py": "other", "reprise.input.b.py": "same"},
            ["data/prepared", "1 file of code"],
        ),
    ],
)
def test_what_differs_is_said_in_a_few_words(params: dict[str, str], tags: dict[str, str], found: list[str]) -> None:
    entry = {
        "params": {"train.learning_rate": "0.2", "train.seed": "1"},
        "tags": {f"reprise.input.{name}": "same" for name in ("data/prepared", "a.py", "b.py")},
    }
    assert opening.differences(params, tags, entry) == found


def test_names_that_are_alike_are_told_apart_and_long_values_shortened() -> None:
    entry = {"params": {"a.size": "1", "b.size": "x" * 100}, "tags": {}}
    first, second = opening.differences({"a.size": "2", "b.size": "3"}, {}, entry)
    assert first == "a.size 2 -> 1"
    assert second.startswith("b.size 3 -> xxx")
    assert second.endswith("…")
    assert len(second) < 80


@pytest.mark.usefixtures("in_process")
def test_an_experiment_is_compared_with_the_run_of_its_baseline(
    client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for rate in (0.1, 0.2, 0.3):
        with begun(Params(tracking=Tracking(run_name=f"rate {rate}"), train=Train(learning_rate=rate))) as made:
            made.tags({"reprise.output.models/best": f"{rate}.dir"})
        runs.append(stored(client, made))
    monkeypatch.setattr(run, "_baseline", lambda: "0.1.dir")
    with begun(Params(train=Train(learning_rate=0.4))) as experiment:
        pass
    tags = stored(client, experiment).data.tags
    assert tags["reprise.parent"] == runs[0].info.run_id
    assert tags["mlflow.note.content"].startswith("**learning_rate 0.1 -> 0.4** (against rate 0.1)")


@pytest.mark.usefixtures("in_process")
def test_a_run_that_failed_or_a_second_evaluation_is_nobodys_parent(client: MlflowClient, home: Path) -> None:
    failed = begun()
    failed.__exit__(ValueError, ValueError("no"), None)
    with begun() as second:
        second.link_model(DIGEST)
    assert "reprise.parent" not in stored(client, second).data.tags
