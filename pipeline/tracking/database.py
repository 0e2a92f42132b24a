"""MLflow's own database in the project's folder: made once, by one process, and whole or not at all."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from pipeline import project
from pipeline.errors import UserError


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the project's lock of that name; another process that wants it waits. The lock dies with its process."""
    folder = project.state() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(database: Path, artifacts: Path) -> None:
    """Create the database if it is not there; whoever else wants it at the same time waits for it.

    Args:
        artifacts: where its runs keep their files.

    Raises:
        UserError: it cannot be created, or what lies there is none.
    """
    if not _exists(database):
        # Takes a second, which others need not wait for.
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with locked("mlflow"):
            if not _exists(database):
                draft = _draft(database)
                store = SqlAlchemyStore(f"sqlite:///{quote(str(draft))}", artifacts.as_uri())
                store.engine.dispose()
                draft.replace(database)
    _check_sqlite(database)


def _exists(database: Path) -> bool:
    return database.exists() and database.stat().st_size > 0


def _draft(database: Path) -> Path:
    """Where the database is made before it is moved: a process killed meanwhile leaves none, not half of one."""
    draft = database.with_name(f"{database.name}.new")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        draft.touch()
    except OSError as error:
        raise UserError(f"MLflow's database {database} cannot be created: {error.strerror}") from None
    return draft


def _check_sqlite(database: Path) -> None:
    # MLflow would retry for minutes what cannot get better.
    try:
        connection = sqlite3.connect(database)
        try:
            connection.execute("PRAGMA schema_version")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(
            f"{database} cannot be read as MLflow's database: {error}. Move it away, and a new one is made."
        ) from None
