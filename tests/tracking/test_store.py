import os
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import store
from tests.tracking.conftest import start


def test_without_a_setting_the_database_lies_in_the_main_project(folder: Path, tmp_path_factory, monkeypatch):
    assert store.tracking_uri() == f"sqlite:///{folder}/mlflow.db"
    main = tmp_path_factory.mktemp("main folder")
    monkeypatch.setenv("DVC_ROOT", str(main))
    assert store.tracking_uri().endswith("/main%20folder0/mlflow.db")


def test_a_relative_sqlite_path_is_taken_from_the_main_project(folder: Path, tmp_path_factory, monkeypatch):
    main = tmp_path_factory.mktemp("main")
    monkeypatch.setenv("DVC_ROOT", str(main))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/m.db")
    assert store.tracking_uri() == f"sqlite:///{main}/runs/m.db"


@pytest.mark.parametrize(
    "uri", ["http://host:5000", "https://user:pw@host/mlflow/", "postgresql+psycopg2://u:p@h/db", "databricks"]
)
def test_other_stores_are_taken_as_they_are(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert store.tracking_uri() == uri.rstrip("/")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("localhost:5000", "Did you mean 'http://localhost:5000'?"),
        ("htp://host", "does not know 'htp://'. Did you mean 'http'?"),
        ("postgres://u:pw@host/db", "'postgres://host/db'; MLflow does not know 'postgres://'."),
        ("./mlruns", "keeps no runs in plain folders"),
        ("file:///tmp/mlruns", "keeps no runs in plain folders"),
        ("http://", "names no host"),
        ("http://host:port", "is no address"),
    ],
)
def test_an_address_that_cannot_be_is_one_clear_error(uri: str, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as error:
        store.tracking_uri()
    assert said in str(error.value)
    assert "pw" not in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_processes_that_create_one_database_at_once_all_get_it(folder: Path):
    code = """
import time
from pathlib import Path
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from pipeline.tracking import store
print("ready", flush=True)
while not Path("go").exists(): time.sleep(0.001)
client = store.connect()
print(store.experiment_id(client, "reprise"))
"""
    programs = [start(code, folder) for _ in range(3)]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    (folder / "go").touch()
    ended = [program.communicate(timeout=120) for program in programs]
    # Nothing of what alembic and MLflow say about their tables reaches the terminal.
    assert ended == [("1\n", "")] * 3
    assert sorted(path.name for path in folder.glob("mlflow*")) == ["mlflow.db"]


def test_a_half_made_database_of_a_killed_process_is_made_anew(home: Path):
    (home / "mlflow.db").unlink()
    with sqlite3.connect(home / "mlflow.db.new") as half:
        half.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    assert store.connect().get_experiment_by_name("reprise") is None
    assert [path.name for path in home.glob("mlflow*")] == ["mlflow.db"]


def test_a_folder_with_odd_characters_works(folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch):
    odd = folder / "a b%20#ü?"
    odd.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(odd))
    client = store.connect()
    run = client.create_run(store.experiment_id(client, "reprise")).info
    client.log_text(run.run_id, "kept", "note.txt")
    assert (odd / "mlflow.db").is_file()
    assert (odd / "mlartifacts" / run.run_id / "artifacts" / "note.txt").read_text() == "kept"


def test_an_experiment_is_made_once_with_artifacts_in_the_project(client: MlflowClient, home: Path):
    number = store.experiment_id(store.connect(), "reprise")
    assert store.experiment_id(store.connect(), "reprise") == number == store.find_experiment("reprise")
    assert client.get_experiment(number).artifact_location == (home / "mlartifacts").as_uri()
    assert store.find_experiment("another") is None


def test_an_experiment_that_another_process_makes_meanwhile_is_taken(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    number = client.create_experiment("reprise")
    answers = iter([None, client.get_experiment(number)])
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: next(answers))
    assert store.experiment_id(client, "reprise") == number


def test_a_deleted_experiment_is_an_error_that_says_how_to_restore_it(client: MlflowClient):
    number = client.create_experiment("reprise")
    client.delete_experiment(number)
    with pytest.raises(UserError, match=f"(?s)'reprise' is deleted.*restore -x {number}.*tracking.experiment_name"):
        store.experiment_id(client, "reprise")


def test_what_is_no_database_is_an_error_at_once(folder: Path):
    (folder / "mlflow.db").write_text("no database at all, but long enough to be looked at " * 20)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"mlflow\.db cannot be read as MLflow's database: file is not a database"):
        store.connect()
    assert time.monotonic() - began < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch):
    locked = folder / "locked"
    locked.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{locked}/mlflow.db")
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot be created: Permission denied"):
        store.connect()


def test_a_database_of_another_mlflow_is_an_error_that_names_the_command(home: Path):
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    with pytest.raises(UserError, match=r"another version of MLflow.*mlflow db upgrade sqlite:///"):
        store.connect()


def test_a_database_server_that_is_down_is_found_out_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:pa55@127.0.0.1:1/runs")
    began = time.monotonic()
    with pytest.raises(store.Unreachable, match=r"127\.0\.0\.1:1: .*refused"):
        store.connect()
    assert time.monotonic() - began < 3


def test_the_error_behind_the_errors_is_told():
    error = MlflowException("API request failed, with a very long story")
    error.__context__ = ConnectionRefusedError("nobody there")
    assert store.deepest_line(error) == "ConnectionRefusedError: nobody there"
    assert store.first_line(error) == "MlflowException: API request failed, with a very long story"
    assert not store.is_final(error)


def test_what_is_imported_ahead_judges_no_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    store.import_ahead()
    with pytest.raises(UserError):
        store.connect()
