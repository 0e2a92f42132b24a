"""Registration and promotion on a real MLflow server with PostgreSQL and S3, by several processes at once."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import digest
from pipeline.lifecycle.fetch import of_registry
from pipeline.lifecycle.promote import promote, rollback
from pipeline.lifecycle.register import register
from pipeline.tracking import history
from pipeline.tracking.registry import CHAMPION, Registry
from tests.lifecycle.made import evaluated_run, other_model, project_folder
from tests.services.servers import Server
from tests.serving.exported import export_tiny_model
from tests.tracking.promoters import raced

pytestmark = pytest.mark.services


def test_from_runs_to_one_champion_and_back(
    folder: Path, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)  # `folder` has taken it away
    client, params = MlflowClient(mlflow_server.address), project_folder()
    model = export_tiny_model(folder / "models/m0")
    evaluated_run(client, "m0", model, errors=80)
    for number in range(1, 4):
        evaluated_run(client, f"m{number}", other_model(model, folder / f"models/m{number}", number), errors=40)
    assert promote("m0", params)[1] is not None
    for number in range(1, 4):
        assert register(f"m{number}", params)[1]
    winner = raced("reprise", ["2", "3", "4"], folder)
    assert str(client.get_model_version_by_alias("reprise", CHAMPION).version) == winner
    fetched = of_registry("reprise@champion")
    assert fetched is not None
    assert digest.of_folder(fetched) == digest.of_folder(folder / f"models/m{int(winner) - 1}")
    assert rollback(params, None, None, None).version == "1"
    assert history.champions(Registry.open("reprise").state().events) == ["1"]
