"""The registry: versions, and a champion that one of many processes moves."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.errors import UserError
from pipeline.tracking import history
from pipeline.tracking.registry import CHAMPION, Registry, answered
from tests.tracking.promoters import raced

MODEL = "it's a model"


@pytest.fixture
def versions(client: MlflowClient) -> list[str]:
    """Four versions of a model, the first of them champion."""
    client.create_registered_model(MODEL)
    run = client.create_run(client.create_experiment("e")).info.run_id
    for number in range(4):
        tags = {"reprise.model_digest": f"d{number}", "reprise.test_set": "t"}
        client.create_model_version(MODEL, f"runs:/{run}/m{number}", run, tags=tags)
    registry = Registry.open(MODEL)
    registry.move(registry.version("1"), None, "promoted")
    return ["1", "2", "3", "4"]


def test_versions_are_those_that_reprise_made(client: MlflowClient, versions: list[str]) -> None:
    client.create_model_version(MODEL, "runs:/0/other")
    found = Registry.open(MODEL).versions()
    assert [version.number for version in found] == versions
    assert found[1] == Registry.open(MODEL).of_model("d1")
    assert Registry.open(MODEL).of_model("d9") is None
    with pytest.raises(UserError, match=r"no version 5 that Reprise registered; there is 1, 2, 3, 4"):
        Registry.open(MODEL).version("5")


def test_a_model_that_is_not_there_has_no_champion(home: Path) -> None:
    registry = Registry.open("unheard of")
    assert (registry.champion(), registry.versions(), registry.state().events) == (None, [], [])
    assert registry.aliases() == {}


def test_a_champion_that_changed_is_not_replaced(versions: list[str]) -> None:
    registry = Registry.open(MODEL)
    registry.move(registry.version("2"), "1", "promoted")
    with pytest.raises(UserError, match="is version 2 by now, and was version 1 when"):
        registry.move(registry.version("3"), "1", "promoted")
    with pytest.raises(UserError, match="and was none when"):
        registry.move(registry.version("3"), None, "promoted")
    assert [event.version for event in registry.state().events] == ["1", "2"]


def test_of_three_promoters_at_once_one_wins(client: MlflowClient, versions: list[str], home: Path) -> None:
    winner = raced(MODEL, versions[1:], home)
    assert str(client.get_model_version_by_alias(MODEL, CHAMPION).version) == winner
    assert history.champions(Registry.open(MODEL).state().events) == ["1", winner]


def test_a_store_that_refuses_says_why(home: Path) -> None:
    with pytest.raises(UserError, match=r"MLflow at .* refuses this: .*Registered Model with name=nobody"), answered():
        MlflowClient(f"sqlite:///{home / 'mlflow.db'}").get_registered_model("nobody")


def test_a_fault_of_ours_is_none_of_the_store() -> None:
    with pytest.raises(ZeroDivisionError), answered():
        raise ZeroDivisionError
