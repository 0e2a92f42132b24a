"""A disk that is full while a training writes its checkpoints: a clear end, and after room is made the same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Params
from pipeline.training.checkpoint import Checkpoints
from tests.training.homes import checkpoints_of, environment, home_of, points, results
from tests.training.test_train import Killed, run

pytestmark = pytest.mark.slow

MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
# The file system goes with the shell, so what lies on it in between is copied.
SCRIPT = """
mount -t tmpfs -o size=$1 tmpfs disk
if $0 -m stages.train > full.log 2>&1; then exit 9; fi
cp -r disk seen
mount -o remount,size=$2 disk
$0 -m stages.train > room.log 2>&1
"""


@pytest.mark.parametrize(
    "hardware",
    [{}, {"devices": 2, "parallel": "ddp"}, {"devices": 2, "parallel": "fsdp"}],
    ids=["1", "2-ddp", "2-fsdp"],
)
def test_a_full_disk_ends_the_training_clearly_and_with_room_it_goes_on(
    tokenized: Path,
    tiny_params: Params,
    tmp_path_factory: pytest.TempPathFactory,
    hardware: dict[str, Any],
) -> None:
    elsewhere = tmp_path_factory.mktemp("homes")
    home = home_of(tokenized, elsewhere / "full", tiny_params, checkpoint_dir="disk", **hardware)
    (home / "disk").mkdir()
    mount = ["mount -t tmpfs tmpfs disk"]
    if not shutil.which("unshare") or subprocess.run([*MOUNTED, *mount], cwd=home, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    whole = home_of(tokenized, elsewhere / "whole", tiny_params, **hardware)
    size = size_of_a_checkpoint(tiny_params)
    ended = subprocess.run([sys.executable, "-m", "stages.train"], cwd=whole, env=environment(), check=False)
    assert ended.returncode == 0

    room_for_one = [str(int(1.6 * size)), str(9 * size)]
    done = subprocess.run(
        [*MOUNTED, SCRIPT, sys.executable, *room_for_one], cwd=home, env=environment(), timeout=600, check=False
    )
    said = (home / "full.log").read_text()
    assert done.returncode == 0, said
    assert "train: No space left on device. Free some; then dvc repro goes on from the last checkpoint." in said
    assert "Traceback" not in said
    (held,) = (home / "seen").iterdir()
    found = Checkpoints(held, 2).latest()
    assert found is not None and found[0] == 5
    assert "from the checkpoint of step 5" in (home / "room.log").read_text()
    assert results(home) == results(whole)
    assert points(home) == points(whole)


def size_of_a_checkpoint(params: Params) -> int:
    """Bytes; trains in the folder where the test is."""
    with pytest.raises(Killed):
        run(params, kill_at=8)
    return sum(file.stat().st_size for file in checkpoints_of(Path(), "step-00000005/*"))
