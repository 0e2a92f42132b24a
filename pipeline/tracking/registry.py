"""MLflow's registry: the versions of one model, which of them is the champion, and how it became that."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import history, records, store
from pipeline.tracking.claim import claimed
from pipeline.tracking.history import Event, Kind
from pipeline.tracking.records import Record
from pipeline.tracking.values import cut
from pipeline.tracking.values import tags as valid_tags

CHAMPION = "champion"
"""The alias of the version that serves."""
RUN, COMMIT, TEST_SET = "reprise.run", "reprise.git.commit", "reprise.test_set"
_FOLDER = "registered"
_DECISIONS = "decisions"
# Characters that MLflow's databases take; SQLite alone would take more.
_LONGEST_DESCRIPTION = 5000
_PAGE = 1000


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        run: the id of the run that made it.
        model_digest: SHA-256 of the exported model (`digest.of_folder`).
        test_set: what names the test rows that its run judged it on (`Examples.digest`).
    """

    model: str
    number: str
    run: str
    model_digest: str
    test_set: str | None

    @classmethod
    def of(cls, found: ModelVersion) -> Self:
        """The version that MLflow gave."""
        tags = found.tags
        return cls(
            found.name, str(found.version), found.run_id or "", tags.get(records.MODEL_DIGEST, ""), tags.get(TEST_SET)
        )

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"


@dataclass(frozen=True)
class State:
    """The registered model at one moment.

    Attributes:
        champion: the number of the version that the alias names.
        events: how it came to that, the oldest first.
    """

    champion: str | None
    events: list[Event]


@dataclass(frozen=True)
class Registry:
    """One registered model, which need not exist yet."""

    name: str
    _client: MlflowClient = field(repr=False, compare=False)

    @classmethod
    def open(cls, name: str) -> Self:
        """The registered model of that name.

        Raises:
            UserError: MLflow does not answer.
        """
        with answered():
            return cls(name, store.connect())

    def state(self) -> State:
        """Who is champion, and how it came to that."""
        with answered():
            found = self._registered()
        if found is None:
            return State(None, [])
        champion = found.aliases.get(CHAMPION)
        return State(None if champion is None else str(champion), history.read(found.tags))

    def aliases(self) -> dict[str, str]:
        """The number of the version of each alias."""
        with answered():
            found = self._registered()
        return {} if found is None else {alias: str(number) for alias, number in found.aliases.items()}

    def versions(self) -> list[Version]:
        """All versions that Reprise registered, the oldest first."""
        found: list[ModelVersion] = []
        token = None
        with answered():
            while page := self._client.search_model_versions(
                f'name = "{self.name}"', max_results=_PAGE, page_token=token
            ):
                found += page
                if not (token := page.token):
                    break
        versions = [Version.of(version) for version in found if records.MODEL_DIGEST in version.tags]
        return sorted(versions, key=lambda version: int(version.number))

    def version(self, number: str) -> Version:
        """The version of that number.

        Raises:
            UserError: there is none, or Reprise did not register it.
        """
        versions = {version.number: version for version in self.versions()}
        if number not in versions:
            there = ", ".join(versions) or "none"
            raise UserError(f"'{self.name}' has no version {number} that Reprise registered; there is {there}.")
        return versions[number]

    def champion(self) -> Version | None:
        """The version that the alias names."""
        number = self.state().champion
        return None if number is None else self.version(number)

    def of_model(self, model_digest: str) -> Version | None:
        """The version that has this model, the oldest if there are several."""
        return next((version for version in self.versions() if version.model_digest == model_digest), None)

    def register(self, record: Record, folder: Path, description: str, tags: Mapping[str, str]) -> Version:
        """Make a version of a run's model; one that is there already is given back as it is.

        Args:
            folder: what is kept of it, an MLflow model.
            tags: at least `records.MODEL_DIGEST`.
        """
        path = f"{_FOLDER}/{self.name}"
        with answered():
            if self._registered() is None:
                self._create()
            self._client.log_artifacts(record.id, str(folder), path)
            with claimed(self._client, self.name) as claim:
                if found := self.of_model(tags[records.MODEL_DIGEST]):
                    return found
                claim.check()
                made = self._client.create_model_version(
                    self.name,
                    f"runs:/{record.id}/{path}",
                    record.id,
                    tags=valid_tags(tags),
                    description=cut(description, _LONGEST_DESCRIPTION),
                )
                return Version.of(made)

    def fetch(self, version: Version, into: Path) -> Path:
        """Download what is kept of a version, an MLflow model, into a folder."""
        with answered():
            # Imported here: with it comes the whole of MLflow, which takes a second.
            from mlflow.artifacts import download_artifacts

            into.mkdir(parents=True, exist_ok=True)
            uri = f"models:/{version.model}/{version.number}"
            return Path(download_artifacts(uri, dst_path=str(into), tracking_uri=self._client.tracking_uri))

    def move(
        self,
        version: Version,
        before: str | None,
        kind: Kind,
        **evidence: str | None,
    ) -> Event:
        """Make the version champion, if `before` still is; of several processes at once, one does.

        Raises:
            UserError: another version is champion by now.
        """
        with answered(), claimed(self._client, self.name) as claim:
            state = self.state()
            if state.champion != before:
                raise UserError(
                    f"The champion of '{self.name}' is {_called(state.champion)} by now, and was {_called(before)} "
                    "when this was decided.\nDecide again: reprise decide"
                )
            number = state.events[-1].number + 1 if state.events else 1
            event = Event.now(number, kind, version.number, before, **evidence)
            # The event goes first: a process that dies in between leaves a promotion that history shows as unfinished,
            # not a champion that nobody knows the origin of.
            claim.check()
            self._client.set_registered_model_tag(self.name, *event.tag)
            claim.check()
            self._client.set_registered_model_alias(self.name, CHAMPION, version.number)
            return event

    def keep(self, run: str, path: Path, folder: str) -> None:
        """Keep a file with a run, in a folder of its artifacts."""
        with answered():
            self._client.log_artifact(run, str(path), folder)

    def keep_decision(self, run: str, path: Path, tag: str, verdict: str) -> None:
        """Keep a decision with the run that it is about: the file as an artifact, the verdict as a tag."""
        self.keep(run, path, _DECISIONS)
        with answered():
            self._client.set_tag(run, tag, verdict)

    def _registered(self) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _create(self) -> None:
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise


@contextmanager
def answered() -> Iterator[None]:
    """Say what MLflow, or the store of its artifacts, refuses or does not answer.

    Raises:
        UserError: in place of the errors of all these packages.
    """
    try:
        yield
    except UserError:
        raise
    except store.Unreachable as error:
        raise UserError(f"MLflow at {store.shown()} does not answer. ({error})") from None
    except Exception as error:
        if not store.is_foreign(error):
            raise
        if store.is_final(error):
            raise UserError(f"MLflow at {store.shown()} refuses this: {store.first_line(error)}") from error
        raise UserError(f"MLflow at {store.shown()} does not answer. ({store.deepest_line(error)})") from error


def _called(champion: str | None) -> str:
    return "none" if champion is None else f"version {champion}"
