import os
import subprocess
import sys

from tests.conftest import REPOSITORY


def test_a_hub_that_does_not_answer_is_no_flood_of_lines() -> None:
    program = (
        "from pipeline import environment\n"
        "environment.prepare()\n"
        "import httpx2\n"
        "from huggingface_hub.utils import http_backoff\n"
        "try:\n"
        "    http_backoff('HEAD', 'http://127.0.0.1:1/', max_retries=2, base_wait_time=0.01)\n"
        "except httpx2.ConnectError:\n"
        "    print('refused')\n"
    )
    ours = ("HF_", "REPRISE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_the_users_own_settings_stay() -> None:
    program = (
        "import os; from pipeline import environment; environment.prepare(); print(os.environ['HF_HUB_VERBOSITY'])"
    )
    environment = os.environ | {"HF_HUB_VERBOSITY": "info"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "info\n"
