"""The servers themselves: that a test can trust what it is given."""

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.services.conftest import Bucket
from tests.services.servers import Server

pytestmark = pytest.mark.services


def test_a_killed_server_comes_back_with_what_it_had(
    mlflow_server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient(mlflow_server.address)
    run = client.create_run(client.create_experiment("kept")).info
    client.log_text(run.run_id, "kept", "note.txt")
    mlflow_server.kill()
    with pytest.raises(MlflowException, match="refused"):
        client.get_run(run.run_id)
    mlflow_server.start()
    assert client.get_run(run.run_id).info.status == "RUNNING"
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["note.txt"]
