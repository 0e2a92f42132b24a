"""MLflow's command line of deploy/compose.yaml, started natively: logins, hosts, PostgreSQL and the S3 store."""

import base64
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.services import servers
from tests.services.conftest import Bucket
from tests.services.servers import Server
from tests.test_deploy import COMPOSE, filled, variables

pytestmark = pytest.mark.services

ADMIN, PASSWORD = "root", "a-long-password"


@pytest.fixture
def deployed(database: str, bucket: Bucket, tmp_path: Path) -> Iterator[Server]:
    """The server as compose starts it, but for addresses."""
    users = f"{database}_users"
    servers.execute(database, f"CREATE DATABASE {users.rpartition('/')[2]}")
    server = made(database, users, bucket, tmp_path)
    server.start()
    yield server
    server.close()
    servers.execute(database, f"DROP DATABASE {users.rpartition('/')[2]} WITH (FORCE)")


def made(database: str, users: str, bucket: Bucket, folder: Path, password: str = PASSWORD) -> Server:
    port = servers.free_port()
    own = dict.fromkeys(variables(), "x")
    own |= {"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(port), "S3_MLFLOW_SECRET": "testing-secret"}
    own |= {"MLFLOW_ADMIN_USERNAME": ADMIN, "MLFLOW_ADMIN_PASSWORD": password}

    def native(text: str) -> str:
        text = filled(text, own).replace("mlflow:x@", "").replace("http://store:8333", os.environ["AWS_ENDPOINT_URL"])
        for ours, theirs in (
            (users, "postgresql+psycopg2://database:5432/mlflow_users"),
            (database, "postgresql+psycopg2://database:5432/mlflow"),
        ):
            text = text.replace(theirs, ours.replace("postgresql://", "postgresql+psycopg2://"))
        return text.replace("s3://mlflow/", f"{bucket.address}/").replace("--port=5000", f"--port={port}")

    auth = folder / "auth.ini"
    auth.write_text(native(COMPOSE["configs"]["auth"]["content"]))
    service = COMPOSE["services"]["mlflow"]
    program, *options = map(native, service["command"])
    environment = {name: native(value) for name, value in service["environment"].items()}
    environment |= bucket.variables | {"MLFLOW_AUTH_CONFIG_PATH": str(auth)}
    return Server(
        "MLflow",
        [str(Path(sys.executable).with_name(program)), *options],
        f"http://127.0.0.1:{port}",
        lambda: servers.answers_http(port, "/health"),
        folder / "mlflow.log",
        environment,
    )


def asked(server: Server, login: str | None = None, host: str | None = None) -> int:
    """The status of the answer to a question for experiments."""
    port = int(server.address.rpartition(":")[2])
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/api/2.0/mlflow/experiments/search", json.dumps({"max_results": 1}), headers)
        return connection.getresponse().status


def test_only_who_logs_in_is_answered(deployed: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    assert asked(deployed) == 401
    assert asked(deployed, f"{ADMIN}:password1234") == 401
    assert asked(deployed, f"{ADMIN}:{PASSWORD}") == 200
    assert asked(deployed, f"{ADMIN}:{PASSWORD}", host="elsewhere.example.com") == 403
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    client = MlflowClient(deployed.address)
    run = client.create_run(client.create_experiment("deployed")).info
    client.log_text(run.run_id, "kept", "note.txt")
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["note.txt"]
    kept = boto3.client("s3").list_objects_v2(Bucket=bucket.name)["Contents"]
    assert [item["Key"] for item in kept if item["Key"].endswith("note.txt")], "the artifact is in the bucket"


def test_a_user_reads_and_changes_only_what_is_theirs(deployed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    experiment = MlflowClient(deployed.address).create_experiment("of-the-administrator")
    # As deploy/README.md has it; in a process of its own, as it imports the whole server.
    create = "import sys; from mlflow.server import get_app_client; "
    create += "get_app_client('basic-auth', sys.argv[1]).create_user(*sys.argv[2:])"
    subprocess.run([sys.executable, "-c", create, deployed.address, "ci", "A-LONG-PASSWORD"], check=True)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ci")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "A-LONG-PASSWORD")
    client = MlflowClient(deployed.address)
    assert client.get_experiment(experiment).name == "of-the-administrator"
    with pytest.raises(MlflowException, match=r"403|[Pp]ermission"):
        client.create_run(experiment)
    client.create_run(client.create_experiment("of-ci"))
    client.create_registered_model("of-ci")
    client.create_model_version("of-ci", "s3://nowhere/model")
    client.set_registered_model_alias("of-ci", "champion", "1")


def test_a_server_without_a_password_does_not_start(database: str, bucket: Bucket, tmp_path: Path) -> None:
    server = made(database, database, bucket, tmp_path, password="")
    done = subprocess.run(
        server.command, env={**os.environ, **server.variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" in done.stdout + done.stderr
