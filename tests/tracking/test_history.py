"""Events of a registered model: who is champion after them, and who did it."""

from dataclasses import replace

import pytest

from pipeline.tracking import history
from pipeline.tracking.history import Event, Kind


def events(*moves: str) -> list[Event]:
    """Events from words such as `1`, `2!` (forced) and `<1` (rolled back)."""
    found: list[Event] = []
    for number, move in enumerate(moves, 1):
        kind: Kind = "rolled back" if "<" in move else "forced" if "!" in move else "promoted"
        before = found[-1].version if found else None
        found.append(Event.now(number, kind, move.strip("<!"), before))
    return found


@pytest.mark.parametrize(
    ("moves", "champions"),
    [
        ([], []),
        (["1"], ["1"]),
        (["1", "2", "3!"], ["1", "2", "3"]),
        (["1", "2", "<1"], ["1"]),
        (["1", "2", "3", "<2", "<1"], ["1"]),
        (["1", "2", "<1", "2"], ["1", "2"]),
        (["1", "2", "<1", "3"], ["1", "3"]),
        (["1", "2", "3", "<1", "4"], ["1", "4"]),
        (["1", "2", "1", "<2"], ["1", "2"]),
        (["2", "<1"], ["2", "1"]),  # back to one that never was champion: --to
    ],
)
def test_a_rollback_takes_away_what_came_behind(moves: list[str], champions: list[str]) -> None:
    assert history.champions(events(*moves)) == champions


def test_a_move_that_did_not_end_made_no_champion() -> None:
    first, died, after = events("1", "2", "3")
    assert history.champions([first, died]) == ["1", "2"], "nobody can tell yet: the alias says whether it ended"
    assert history.champions([first, died, replace(after, before="1")]) == ["1", "3"]
    assert history.champions([first, died, replace(after, version="2", before="1")]) == ["1", "2"], "tried again"


def test_events_come_back_from_tags_in_their_order() -> None:
    made = events(*map(str, range(1, 13)))
    tags = dict(event.tag for event in reversed(made)) | {"reprise.claim.x": "1", "other": "{"}
    assert history.read(tags) == made


def test_who_did_it_is_the_person_behind_a_run_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTOR", "GITHUB_RUN_ID", "GITLAB_USER_LOGIN", "CI_JOB_URL", "CI_PIPELINE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert history.ci_run() is None
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.example/job/7")
    assert history.ci_run() == "https://gitlab.example/job/7"
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://forge.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/reviews")
    monkeypatch.setenv("GITHUB_RUN_ID", "42")
    event = Event.now(1, "promoted", "1", None)
    assert (event.who, event.ci_run) == ("ada", "https://forge.example/team/reviews/actions/runs/42")


def test_a_reason_keeps_no_secret_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "hunter2hunter2")
    event = Event.now(1, "forced", "1", None, reason="hunter2hunter2 " + "x" * 9000)
    key, value = event.tag
    assert "hunter2" not in value
    assert len(value) < 5000
    assert history.read({key: value}) == [event]
