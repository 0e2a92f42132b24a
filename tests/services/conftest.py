"""PostgreSQL, an S3 store and MLflow on both, for the tests of this folder: `make test-services`."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.params import Params
from tests.services import servers
from tests.services.servers import Server
from tests.services.team import forge_of
from tests.services.workflow import Forge
from tests.serving.exported import model

__all__ = ["model"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server | None]:
    """A PostgreSQL of our own; None if DATABASE_URL names one."""
    if "DATABASE_URL" in os.environ:
        yield None
        return
    # Not pytest's folder, which is closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="reprise-postgresql-"))
    server = servers.postgresql(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)
        server.log.unlink(missing_ok=True)


@pytest.fixture
def database(postgresql: Server | None) -> Iterator[str]:
    """The address of a fresh database."""
    maintenance = f"{postgresql.address}/postgres" if postgresql else os.environ["DATABASE_URL"]
    name = f"reprise_{uuid.uuid4().hex}"
    servers.execute(maintenance, f"CREATE DATABASE {name}")
    yield f"{maintenance.rpartition('/')[0]}/{name}"
    servers.execute(maintenance, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that speaks S3."""
    server = servers.s3(tmp_path_factory.mktemp("s3") / "log")
    server.start()
    yield server
    server.close()


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the variables that programs need to reach it, which the test has set."""

    name: str
    address: str
    variables: dict[str, str]


@pytest.fixture
def bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A fresh bucket; the variables are set for this process and those that it starts."""
    import boto3  # not above: `make test` reads this file, too, and is not given it

    variables = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3.address,
        "MLFLOW_S3_ENDPOINT_URL": s3.address,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    name = f"reprise-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return Bucket(name, f"s3://{name}", variables)


@pytest.fixture
def mlflow_server(database: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """MLflow on a fresh database and bucket, running; MLFLOW_TRACKING_URI names it."""
    server = servers.mlflow(database, f"{bucket.address}/mlflow", tmp_path / "mlflow.log")
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    yield server
    server.close()


@pytest.fixture(scope="module")
def remote(s3: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A bucket and an MLflow server; the variables that lead to them."""
    import boto3

    bucket = f"reprise-{uuid.uuid4().hex}"
    keys = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    boto3.client(
        "s3",
        endpoint_url=s3.address,
        aws_access_key_id="testing",
        aws_secret_access_key="testing-secret",
        region_name="us-east-1",
    ).create_bucket(Bucket=bucket)
    folder = tmp_path_factory.mktemp("mlflow")
    server = servers.mlflow(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), folder / "log")
    server.start()
    yield {"bucket": bucket, "endpoint": s3.address, "mlflow": server.address, **keys}
    server.close()


@pytest.fixture
def forge(remote: dict[str, str], tiny: Params, tmp_path: Path) -> Forge:
    return forge_of(remote, tiny, tmp_path)
