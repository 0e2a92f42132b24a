"""Leases among real processes, on devices that are only names."""

import os
import stat
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import psutil
import pytest

from pipeline.errors import UserError
from pipeline.training import lease as leases
from pipeline.training.lease import lease, visible_devices
from tests.conftest import REPOSITORY

DEVICES = ["0", "1", "GPU-5f1c", "MIG-GPU-5f1c/1/0"]

# Leases, and says when on which device: from after the beginning of the lease to before its end.
WORKER = """
import sys, time
from pipeline.training.lease import lease
with lease(int(sys.argv[1]), sys.argv[2:]) as devices:
    begin = time.monotonic_ns()
    time.sleep(0.4)
    end = time.monotonic_ns()
for device in devices:
    print(device, begin, end)
"""

# Holds device 0 until it is killed, and has a child that outlives it and inherits what can be inherited.
HOLDER = """
import subprocess, sys, time
from pipeline.training.lease import lease
with lease(1, ["0"]):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "leases"
    monkeypatch.setenv("REPRISE_LEASES", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return folder


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_no_two_processes_have_one_device_and_all_come_to_their_turn():
    wanted = [2, 1, 4, 1, 2, 1, 2, 1, 2, 1, 1, 1]
    with lease(4, DEVICES):
        processes = [start(WORKER, count, *DEVICES) for count in wanted]
        for count, process in zip(wanted, processes, strict=True):
            assert process.stderr is not None
            assert process.stderr.readline().startswith(f"Waiting for {count} device")
    turns = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [len({line.split()[0] for line in turn}) for turn in turns] == wanted
    times: dict[str, list[tuple[int, int]]] = {device: [] for device in DEVICES}
    for device, begin, end in (line.split() for turn in turns for line in turn):
        times[device].append((int(begin), int(end)))
    for device in DEVICES:
        for (_, end), (begin, _) in pairwise(sorted(times[device])):
            assert end < begin, device
    # And it is no queue at a single door: two were at work at one time.
    spans = [tuple(map(int, turn[0].split()[1:])) for turn in turns]
    assert any(one[0] < other[1] and other[0] < one[1] for one, other in combinations(spans, 2))


def test_one_that_waits_says_so_again_and_gets_the_device_of_one_that_was_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leases, "_SECONDS_BETWEEN_LINES", 0.5)
    said: list[str] = []
    with start(HOLDER) as holder:
        assert holder.stdout is not None
        child = psutil.Process(int(holder.stdout.readline()))

        def say(line: str) -> None:
            said.append(line)
            if len(said) == 2:
                holder.kill()

        with lease(2, ["0", "1"], say) as devices:
            assert devices == ["0", "1"]
            assert child.is_running(), "nothing was shown about what it inherits"
        child.kill()
    line = f"0 by process {holder.pid} on {os.uname().nodename}"
    assert said == [f"Waiting for 2 devices; of 2 here, 1 are free. Held: {line}."] * 2


def test_a_lease_ends_with_the_block_also_by_an_error_and_leaves_no_file_open():
    opened = psutil.Process().num_fds()
    with pytest.raises(ZeroDivisionError), lease(1, ["0"]):
        raise ZeroDivisionError
    with lease(1, ["0", "1"]) as first, lease(1, ["0", "1"]) as second:
        assert (first, second) == (["0"], ["1"])
    with lease(2, ["0", "1"]) as both:
        assert both == ["0", "1"]
    assert psutil.Process().num_fds() == opened


def test_other_users_can_lease_too(folder: Path):
    before = os.umask(0o077)
    try:
        with lease(2, DEVICES):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o666}
    assert len(list(folder.iterdir())) == 3


def test_more_than_there_are_is_an_error_at_once():
    with (
        pytest.raises(UserError, match="asks for 3 devices, but this process sees 0, 1") as error,
        lease(3, ["0", "1"]),
    ):
        pass
    assert "CUDA_VISIBLE_DEVICES" in str(error.value)
    with pytest.raises(UserError, match="asks for 1 device, but this process sees none"), lease(1, []):
        pass
    with pytest.raises(UserError, match="asks for 2 devices, but this process sees 0"), lease(2, ["0", "0"]):
        pass


def test_a_folder_that_cannot_be_used_is_named(folder: Path):
    folder.write_text("a file")
    with pytest.raises(UserError, match=f"{folder}: Not a directory") as error, lease(1, ["0"]):
        pass
    assert "REPRISE_LEASES" in str(error.value)


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        (None, 0, []),
        ("2,3", 2, ["2", "3"]),
        ("GPU-5f1c, GPU-77aa", 2, ["GPU-5f1c", "GPU-77aa"]),
        ("", 0, []),
        ("-1", 0, []),
        ("1,-1,0", 1, ["1"]),
        ("0,7", 1, ["0"]),
    ],
)
def test_the_visible_devices_are_those_that_cuda_takes(named: str | None, count: int, expected: list[str]):
    environ = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    assert visible_devices(environ, count) == expected
