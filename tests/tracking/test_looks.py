"""Looks at a test set are counted over all runs of an experiment, also those made at the same time."""

from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient

from pipeline.params import Tracking
from pipeline.tracking import looks, records
from tests.tracking.runs import begun, stored

THIS, OTHER = "a" * 64, "a" * 15 + "b" * 49


def made(client: MlflowClient) -> records.Record:
    with begun() as run:
        pass
    return records.find(stored(client, run).info.run_id, Tracking().experiment_name)


def test_each_look_counts_on_its_own_test_set(client: MlflowClient) -> None:
    one, two = made(client), made(client)
    assert looks.count(one.experiment, THIS) == 0
    looks.look(one, THIS, "compare with two")
    looks.look(one, THIS, "compare with two")
    looks.look(two, THIS, "decide")
    looks.look(two, OTHER, "decide")
    assert looks.count(one.experiment, THIS) == 3
    assert looks.count(one.experiment, OTHER) == 1


def test_looks_at_the_same_time_are_all_counted(client: MlflowClient) -> None:
    one = made(client)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: looks.look(one, THIS, f"look {number}"), range(12)))
    assert looks.count(one.experiment, THIS) == 12


def test_looks_at_a_run_that_was_deleted_still_count(client: MlflowClient) -> None:
    one = made(client)
    looks.look(one, THIS, "compare")
    client.delete_run(one.id)
    assert looks.count(one.experiment, THIS) == 1
