"""A process that torchrun or SLURM started finds the others, and one that nobody started is alone."""

import os
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.training import launch
from pipeline.training.cluster import placed
from tests.training.test_launch import PLACE


def be(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PLACE, *(name for name in os.environ if name.startswith("SLURM_"))):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_process_that_torchrun_started_joins_whatever_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    be(outside, monkeypatch)
    seen: list[dict[str, str | None]] = []
    for wanted in (1, 3):
        launch.run(lambda: seen.append({name: os.environ.get(name) for name in PLACE}), (), wanted, {"OF_OURS": "1"})
    assert seen == [{**outside, "OF_OURS": "1"}] * 2
    assert "OF_OURS" not in os.environ

    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(UserError, match="but MASTER_ADDR is not"):
        launch.run(seen.clear, (), 1, {})
    monkeypatch.setenv("WORLD_SIZE", "1")
    launch.run(seen.clear, (), 1, {})
    assert seen == []


STEP = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_JOB_ID": "812",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "gpu[06-08]",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}


@pytest.fixture
def scontrol(tmp_path: Path) -> Path:
    """A folder with an `scontrol` that knows the hosts of the step."""
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames gpu[07-08]" ] && printf "gpu07\\ngpu08\\n"\n')
    program.chmod(0o755)
    return tmp_path


def test_a_task_of_slurm_joins_the_others_of_its_step(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be({**STEP, "PATH": f"{scontrol}{os.pathsep}{os.environ['PATH']}"}, monkeypatch)
    seen: list[tuple[str | None, ...]] = []
    launch.run(lambda: seen.append(tuple(os.environ.get(name) for name in PLACE[:4])), (), 3, {})
    assert seen == [("3", "4", "1", "gpu07")]
    assert "RANK" not in os.environ


def test_where_a_task_of_slurm_finds_the_first_one(scontrol: Path) -> None:
    def place(**changes: str) -> dict[str, str]:
        place = placed({**STEP, "PATH": str(scontrol), **changes})
        assert place is not None
        return place

    ports = [int(place(**changes)["MASTER_PORT"]) for changes in ({}, {"SLURM_PROCID": "0"}, {"SLURM_STEP_ID": "1"})]
    assert ports[0] == ports[1] != ports[2]
    assert all(1024 < port < 32768 for port in ports)
    assert place(PATH="")["MASTER_ADDR"] == "10.0.0.1"
    assert place(SLURM_STEP_NODELIST="unheard-of")["MASTER_ADDR"] == "10.0.0.1"
    chosen = place(MASTER_ADDR="mine", MASTER_PORT="4711")
    assert (chosen["MASTER_ADDR"], chosen["MASTER_PORT"]) == ("mine", "4711")
    with pytest.raises(UserError, match="Set MASTER_ADDR"):
        place(PATH="", SLURM_LAUNCH_NODE_IPADDR="")


def test_a_batch_script_and_a_step_of_one_task_are_alone() -> None:
    batch = {name: value for name, value in STEP.items() if "STEP" not in name}
    assert placed(batch) is None
    assert placed({**STEP, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert placed({"RANK": "", "WORLD_SIZE": ""}) is None
