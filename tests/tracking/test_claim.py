"""One promoter at a time: processes that want the same claim get it one after the other."""

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.errors import UserError
from pipeline.tracking import claim as claims
from pipeline.tracking.claim import PREFIX, Claim, claimed
from tests.tracking.conftest import start

MODEL = "reviews"


@pytest.fixture
def registered(client: MlflowClient) -> MlflowClient:
    client.create_registered_model(MODEL)
    return client


def claims_of(client: MlflowClient) -> list[str]:
    return [key for key in client.get_registered_model(MODEL).tags if key.startswith(PREFIX)]


def test_a_claim_is_there_within_the_block_and_gone_behind_it(registered: MlflowClient) -> None:
    with claimed(registered, MODEL) as claim:
        claim.check()
        assert len(claims_of(registered)) == 1
    assert claims_of(registered) == []


def test_a_claim_is_gone_after_an_error(registered: MlflowClient) -> None:
    with pytest.raises(ZeroDivisionError), claimed(registered, MODEL):
        raise ZeroDivisionError
    assert claims_of(registered) == []


WORKER = """
import sys, time
from pathlib import Path
from mlflow import MlflowClient
from pipeline.tracking.claim import claimed
client = MlflowClient("sqlite:///mlflow.db")
inside, log = Path("inside"), Path("log")
for turn in range(3):
    with claimed(client, "reviews") as claim:
        inside.touch(exist_ok=False)  # fails if another process is inside
        time.sleep(0.05)
        claim.check()
        inside.unlink()
print("done")
"""


def test_of_three_processes_one_is_inside_at_a_time(registered: MlflowClient, home: Path) -> None:
    workers = [start(WORKER, home) for _ in range(3)]
    for worker in workers:
        said, errors = worker.communicate(timeout=300)
        assert said == "done\n", errors
    assert claims_of(registered) == []


@pytest.mark.parametrize("key", ["0", "z"])
def test_the_claim_of_a_dead_process_is_removed(registered: MlflowClient, key: str) -> None:
    """Whether its name comes before or behind the one that waits."""
    registered.set_registered_model_tag(MODEL, f"{PREFIX}{key}", "7")
    with claimed(registered, MODEL, patience=1.0) as claim:
        claim.check()
        assert f"{PREFIX}{key}" not in claims_of(registered)


@pytest.mark.parametrize("key", ["0", "z"])
def test_the_claim_of_a_process_that_lives_is_waited_for(registered: MlflowClient, key: str, home: Path) -> None:
    beating = f"""
import time
from mlflow import MlflowClient
client = MlflowClient("sqlite:///mlflow.db")
for beat in range(15):
    client.set_registered_model_tag("reviews", "{PREFIX}{key}", str(beat))
    if beat == 0: print("go", flush=True)
    time.sleep(0.2)
client.set_registered_model_tag("reviews", "left", "yes")
client.delete_registered_model_tag("reviews", "{PREFIX}{key}")
"""
    with start(beating, home) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "go\n"
        with claimed(registered, MODEL, patience=2.0):
            assert registered.get_registered_model(MODEL).tags.get("left") == "yes"
        assert other.wait(timeout=60) == 0


def test_a_process_that_was_taken_for_dead_claims_again(registered: MlflowClient) -> None:
    claim = Claim(registered, MODEL, 60.0)
    claim._write()
    registered.delete_registered_model_tag(MODEL, claim._key)
    claim.take()
    assert claims_of(registered) == [claim._key]


def test_whoever_holds_a_claim_too_long_stops(registered: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed(registered, MODEL) as claim:
        late = time.monotonic() + claims.HOLD + 1
        monkeypatch.setattr(claims.time, "monotonic", lambda: late)
        with pytest.raises(UserError, match="answered too slowly"):
            claim.check()
