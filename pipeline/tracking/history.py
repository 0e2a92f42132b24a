"""What became of a registered model: an event a promotion or rollback, kept as tags of the model, never changed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Literal, Self

from pipeline.tracking import lineage
from pipeline.tracking.values import cut, without_secrets

PREFIX = "reprise.event."
# MLflow's databases take 5,000 characters of a registered model's tag.
_LONGEST_REASON = 2000

Kind = Literal["promoted", "forced", "rolled back"]
"""How a champion came: forced means although the gate had not let it pass."""


@dataclass(frozen=True)
class Event:
    """The alias `champion` moved once.

    Attributes:
        number: the place in the history, from 1.
        version: of the registered model, the champion from then on.
        before: the champion until then.
        when: the time in UTC, as in ISO 8601.
        commit: the git commit that it was done from.
        ci_run: the address of the CI run that did it.
        decision: the digest of the decision, which the promoted run keeps as `decisions/DIGEST.json`.
        verdict: what the decision said.
        reason: why it was done all the same, or rolled back.
    """

    number: int
    kind: Kind
    version: str
    before: str | None
    who: str
    when: str
    commit: str | None
    ci_run: str | None
    decision: str | None = None
    verdict: str | None = None
    reason: str | None = None

    @classmethod
    def now(
        cls,
        number: int,
        kind: Kind,
        version: str,
        before: str | None,
        **evidence: str | None,
    ) -> Self:
        """An event of this moment, done by whom the environment names."""
        if reason := evidence.get("reason"):
            evidence["reason"] = cut(without_secrets(reason), _LONGEST_REASON)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(number, kind, version, before, who(), when, commit(), ci_run(), **evidence)

    @property
    def tag(self) -> tuple[str, str]:
        """The tag's key and value."""
        return f"{PREFIX}{self.number:06d}", json.dumps(asdict(self), ensure_ascii=False)


def read(tags: Mapping[str, str]) -> list[Event]:
    """The events among a model's tags, the oldest first."""
    return [Event(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(PREFIX)]


def champions(events: Sequence[Event]) -> list[str]:
    """The versions that were champion and were not rolled back, the present one last.

    A rollback takes away what was promoted after the version that it goes back to. A move behind which the next one
    finds the same champion as before did not end: its process died before it moved the alias.
    """
    found: list[str] = []
    for event, after in zip_longest(events, events[1:]):
        if after is not None and after.before == event.before:
            continue
        if event.kind == "rolled back" and event.version in found:
            del found[_last(found, event.version) + 1 :]
        elif found[-1:] != [event.version]:
            found.append(event.version)
    return found


def _last(found: Sequence[str], version: str) -> int:
    return len(found) - 1 - list(reversed(found)).index(version)


def who() -> str:
    """Who does this: in CI the person who started the run, else the login name."""
    return os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN") or lineage.owner()


def commit() -> str | None:
    """The git commit of the project's folder."""
    return lineage.git_tags().get("reprise.git.commit")


def ci_run() -> str | None:
    """The address of the CI run that this is, from GitHub's or GitLab's variables; None elsewhere."""
    if run := os.environ.get("GITHUB_RUN_ID"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{server}/{os.environ.get('GITHUB_REPOSITORY', '')}/actions/runs/{run}"
    return os.environ.get("CI_JOB_URL") or os.environ.get("CI_PIPELINE_URL")
