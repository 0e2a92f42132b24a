"""Where MLflow keeps the runs: the server that MLFLOW_TRACKING_URI names, or a database beside the project."""

import logging
import os
import socket
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pipeline import project
from pipeline.errors import UserError, did_you_mean
from pipeline.tracking import database
from pipeline.tracking.values import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", TIMEOUT: "3"}
"""Variables that have MLflow ask once and wait little; it reads them at each request."""
PATIENCE = {**IMPATIENCE, TIMEOUT: "30"}
"""The same for those who have the time to wait for a slow server."""

_SERVERS = ("http", "https")
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 5.0
_OLDEST = 3
# What they say (each migration, each retry, each failed statement) would bury the one line that we print.
_NOISY = ("alembic", "mlflow.store.db.utils", "mlflow.system_metrics", "mlflow.tracking", "urllib3.connectionpool")
# Named, not imported: MLflow wraps what requests and databases raise, but not what the drivers of storages do.
_FINAL = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
_FOREIGN = {"mlflow", "requests", "urllib3", "sqlalchemy", "psutil"}
_FOREIGN |= {"boto3", "botocore", "s3transfer", "google", "azure", "databricks"}


class Unreachable(Exception):
    """Nothing answers at the tracking URI; the message says what was tried, in one line."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the database ``mlflow.db`` in the project's main folder.

    A relative sqlite path is taken from that folder, too: in the temporary copies of ``dvc exp`` it would be
    deleted with the copy.

    Raises:
        UserError: MLFLOW_TRACKING_URI names nothing that MLflow can keep runs in.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return _SQLITE + quote(str(project.home() / "mlflow.db"))
    if uri.startswith(_SQLITE):
        path, query = unquote(uri.removeprefix(_SQLITE).partition("?")[0]), uri.partition("?")[1:]
        return _SQLITE + quote(str(project.home() / path)) + "".join(query)
    _check(uri)
    return uri.rstrip("/")


def is_server(uri: str) -> bool:
    """Whether an MLflow server keeps the runs; if not, this process writes them itself."""
    return urlsplit(uri).scheme in _SERVERS


def _check(uri: str) -> None:
    shown = f"MLFLOW_TRACKING_URI is '{without_secrets(uri)}'"
    plugins = {point.name for point in metadata.entry_points(group="mlflow.tracking_store")}
    known = sorted({*_SERVERS, *_DATABASE_PORTS, "sqlite", "databricks", *plugins} - {"", "file"})
    try:
        parts = urlsplit(uri)
        scheme, host, _ = parts.scheme.partition("+")[0], parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{shown}, which is no address: {error}. Use http://HOST:PORT") from None
    if uri == "databricks" or (scheme in known and scheme not in _SERVERS):
        return
    if scheme in ("", "file"):
        raise UserError(
            f"{shown}: MLflow 3 keeps no runs in plain folders. Use http://HOST:PORT for a server,\n"
            "sqlite:////FOLDER/mlflow.db for a file, or unset it to use mlflow.db in the project's folder."
        )
    if not host:
        # "localhost:5000" reads as the scheme "localhost" without a host.
        meant = "Use http://HOST:PORT" if scheme in _SERVERS else f"Did you mean 'http://{without_secrets(uri)}'?"
        raise UserError(f"{shown}, which names no host. {meant}")
    if scheme not in known:
        raise UserError(f"{shown}; MLflow does not know '{scheme}://'.{did_you_mean(scheme, known)}")


def connect() -> "MlflowClient":
    """A client of the tracking store; a local database is created first.

    Raises:
        UserError: the store cannot be used as it is, and waiting does not help.
        Unreachable: a database server does not answer. (An HTTP server is not asked before the first call.)
    """
    uri = tracking_uri()
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from mlflow import MlflowClient

    if uri.startswith(_SQLITE):
        database.make(Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])), artifacts())
        return _opened(uri)
    if port := _DATABASE_PORTS.get(urlsplit(uri).scheme.partition("+")[0]):
        _probe(uri, port)
        return _opened(uri)
    return MlflowClient(uri)


def import_ahead() -> None:
    """Import what a client of the tracking store needs at its first request, which takes seconds for a database."""
    with suppress(UserError):  # `connect` tells
        if not is_server(tracking_uri()):
            from mlflow.store.tracking import sqlalchemy_store  # noqa: F401
            from sqlalchemy.orm import configure_mappers

            configure_mappers()


def check_version(client: "MlflowClient") -> None:
    """Ask a server for its version.

    Raises:
        UserError: it is one of MLflow 2, or older.
        MlflowException: it does not answer.
    """
    if not is_server(client.tracking_uri):
        return
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    answer = http_request(get_default_host_creds(client.tracking_uri), "/version", "GET")
    # What else may stand there, such as a proxy that hides this page, the next requests will show.
    major = answer.text.partition(".")[0] if answer.status_code == 200 else ""
    if major.isdigit() and int(major) < _OLDEST:
        raise UserError(
            f"The server at {shown()} is MLflow {answer.text.strip()}, and this needs {_OLDEST} or newer. "
            "Upgrade it, or unset MLFLOW_TRACKING_URI to keep the runs in the project's folder."
        )


def _opened(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(uri)
    except ImportError as error:
        raise UserError(f"{without_secrets(uri)} needs a driver that is not installed: {error}") from None
    except MlflowException as error:
        if "out-of-date database schema" in str(error):
            raise UserError(
                f"{without_secrets(uri)} was made by another version of MLflow. "
                f"Copy it, then bring it up to date: mlflow db upgrade {without_secrets(uri)}"
            ) from None
        raise


def _probe(uri: str, default_port: int) -> None:
    # MLflow would retry a database that is down for 100 seconds.
    parts = urlsplit(uri)
    host, port = parts.hostname or "localhost", parts.port or default_port
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise Unreachable(f"{host}:{port}: {error}") from None


def artifacts() -> Path:
    """The folder of the artifacts (figures, reports, models) when no server keeps them."""
    # A checked-out run has a link to the project's database, and its artifacts belong there, too.
    return (project.home() / "mlflow.db").resolve().with_name("mlartifacts")


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The id of the experiment of that name, which is created if there is none.

    Raises:
        UserError: it was deleted; MLflow keeps the name.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if is_server(client.tracking_uri) else artifacts().as_uri()
        # MLflow's own word for experiments that train models; the bare address opens its other pages all the same.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=kind))
        except MlflowException as error:
            # Another process was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
            assert found is not None
    if found.lifecycle_stage != "active":
        raise UserError(
            f"The MLflow experiment '{name}' is deleted. Restore it: mlflow experiments restore -x "
            f"{found.experiment_id} (with MLFLOW_TRACKING_URI={without_secrets(client.tracking_uri)}),\n"
            "or set tracking.experiment_name to another name in params.yaml."
        )
    return str(found.experiment_id)


def find_experiment(name: str) -> str | None:
    """The id of the experiment of that name, for pages that show it; None if there is none yet.

    Raises:
        UserError: it cannot be asked for.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = connect().get_experiment_by_name(name)
    except Unreachable as error:
        reason = str(error)
    except MlflowException as error:
        reason = no_answer(error)
    else:
        return None if found is None else str(found.experiment_id)
    raise UserError(f"MLflow at {shown()} does not answer. ({reason})")


def is_foreign(error: Exception) -> bool:
    """Whether MLflow, its way to the store, or the system raised it; if not, it is a fault of ours."""
    packages = {parent.__module__.partition(".")[0] for parent in type(error).__mro__}
    return isinstance(error, OSError) or not packages.isdisjoint(_FOREIGN)


def is_final(error: Exception) -> bool:
    """Whether MLflow refused a request for what it says, as a bad value or an unknown run: it would do so again.

    A refused login is not final, nor what a proxy on the way says: the same request may pass later.
    """
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in _FINAL


def no_answer(error: Exception) -> str:
    """Why the first request failed, in a line, if it may be better later.

    Raises:
        UserError: it will not: the login is refused, this is no MLflow server, or the local database is unusable.
    """
    from mlflow.exceptions import MlflowException

    status = error.get_http_status_code() if isinstance(error, MlflowException) else 500
    if status in (401, 403):
        why = "" if status == 401 else f" or does not let it write to this experiment ({first_line(error)})"
        raise UserError(
            f"MLflow at {shown()} refuses this login{why}. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN."
        )
    if (400 <= status < 500 and status != 429) or "valid JSON format" in str(error):
        raise UserError(f"What answers at {shown()} is no MLflow server that this can use: {first_line(error)}")
    if not is_server(tracking_uri()):
        raise UserError(f"MLflow cannot use {shown()}: {first_line(error)}")
    return deepest_line(error)


def shown() -> str:
    """The tracking URI without secrets."""
    return without_secrets(tracking_uri())


def origin() -> str:
    """What a journal notes of where it is to be sent: the address without secrets, or nothing for the project's own."""
    return shown() if os.environ.get("MLFLOW_TRACKING_URI", "").strip() else ""


def first_line(error: BaseException) -> str:
    """An error as one line without secrets, such as ``ValueError: no such label``."""
    lines = str(error).strip().splitlines()
    line = lines[0][:300] if lines else ""
    return without_secrets(line if isinstance(error, UserError) else f"{type(error).__name__}: {line}".rstrip(": "))


def deepest_line(error: BaseException) -> str:
    """The error behind the errors, as one line: "Connection refused", not what each layer above says about it."""
    while behind := error.__cause__ or error.__context__:
        error = behind
    return first_line(error)
