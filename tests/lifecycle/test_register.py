"""Registering: from runs in a real MLflow store, with real models."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.lifecycle.fetch import of_registry
from pipeline.lifecycle.promote import promote
from pipeline.lifecycle.register import register
from pipeline.params import Hardware, Params, Promotion
from pipeline.serving.predictor import Predictor
from pipeline.tracking.registry import CHAMPION, Registry
from tests.lifecycle.made import (
    COMMIT,
    evaluated_run,
)
from tests.serving.exported import asked

NON_INFERIOR = Promotion(required="non-inferior", margin=0.05)


def test_a_run_is_registered_once(client: MlflowClient, good: str, params: Params, model: Path) -> None:
    version, new = register("good", params)
    assert new
    assert str(version) == "reprise/1"
    assert register(good, params) == (version, False)
    stored = client.get_model_version("reprise", "1")
    assert stored.run_id == good
    assert stored.tags["reprise.model_digest"] == digest.of_folder(model)
    assert stored.tags["reprise.git.commit"] == COMMIT
    assert stored.tags["reprise.test_set"] == version.test_set
    assert stored.description == "# Card"
    assert champion_or_none(client) is None


def champion_or_none(client: MlflowClient) -> str | None:
    return client.get_registered_model("reprise").aliases.get(CHAMPION)


def test_a_version_is_a_pyfunc_with_the_card_and_answers_as_the_model(
    client: MlflowClient, good: str, params: Params, model: Path, tmp_path: Path
) -> None:
    version, _ = register("good", params)
    folder = Registry.open("reprise").fetch(version, tmp_path / "fetched")
    assert (folder / "README.md").read_text().startswith("---\na: b\n---\n")
    loaded = mlflow.pyfunc.load_model(str(folder))
    texts = ["good fine day", "awful", "calm and plain"]
    ours = Predictor.load(model, Hardware(use_cpu=True)).answer(asked(texts))
    assert loaded.predict(pd.DataFrame({"text": texts})).to_dict("records") == ours


def test_a_model_that_mlflow_does_not_keep_is_taken_from_the_project(
    client: MlflowClient, params: Params, model: Path
) -> None:
    run = evaluated_run(client, "bare", model, errors=80)
    shutil.rmtree(Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / "model")
    with pytest.raises(UserError, match="kept no model in MLflow"):
        register("bare", params)
    shutil.copytree(model, project.BEST_MODEL)
    assert register("bare", params)[1]


def test_a_kept_model_that_changed_is_not_registered(client: MlflowClient, good: str, params: Params) -> None:
    kept = Path(client.get_run(good).info.artifact_uri.removeprefix("file://")) / "model/config.json"
    kept.write_text(kept.read_text() + "\n")
    with pytest.raises(UserError, match="is not the one that it made"):
        register("good", params)


def test_a_run_without_a_model_is_told(client: MlflowClient, params: Params) -> None:
    experiment = client.create_experiment("reprise")
    client.create_run(experiment, run_name="empty")
    with pytest.raises(UserError, match=r"The run empty .* made no model"):
        register("empty", params)


def test_a_registered_model_is_fetched_once(good: str, params: Params, model: Path) -> None:
    promote("good", params)
    folder = of_registry("reprise@champion")
    assert folder is not None
    assert digest.of_folder(folder) == digest.of_folder(model)
    assert of_registry("reprise/1") == folder
    assert of_registry("models/best/deep") is None
    with pytest.raises(UserError, match="no alias 'chamion'"):
        of_registry("reprise@chamion")
    with pytest.raises(UserError, match="no version 7"):
        of_registry("reprise/7")
