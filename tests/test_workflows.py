"""What every workflow keeps to; zizmor and the schemas in `make lint` look at the rest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # texts only: `on` is no boolean
    return values


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in read(path)["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_given_job_by_job(path: Path):
    assert read(path)["permissions"] == {}
    assert "pull_request_target" not in read(path)["on"]
    assert all("timeout-minutes" in job for job in read(path)["jobs"].values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_scripts_hold_no_expression(path: Path):
    for step in steps(path):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) if "uses" in step else "${{" not in step["run"], step


def test_a_result_is_no_reason_to_train():
    paths = read(ROOT / ".github/workflows/retrain.yml")["on"]["push"]["paths"]
    assert not {"dvc.lock", "metrics/**"} & set(paths)
    assert {"params.yaml", "data/raw/**", "pipeline/**"} <= set(paths)


def test_who_trains_cannot_write_and_who_writes_has_no_key():
    jobs = read(ROOT / ".github/workflows/retrain.yml")["jobs"]
    assert jobs["train"]["permissions"] == jobs["plan"]["permissions"] == {"contents": "read"}
    secrets = set(re.findall(r"secrets\.(\w+)", str(jobs["propose"])))
    assert secrets == {"RETRAIN_APP_PRIVATE_KEY"}


def test_checks_of_pull_requests_see_no_secret():
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text()
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
