"""What must be done in a process before torch, transformers or mlflow are imported, which takes seconds."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

LAUNCHER = "REPRISE_LAUNCHER"  # the environment variable that names the process whose workers die with it
_PR_SET_PDEATHSIG = 1


@contextmanager
def changed(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with these variables within the block, and as it was behind it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def prepare() -> None:
    """Switch telemetry off, determinism on and chatter down, unless the user's own environment says otherwise.

    A worker that is still importing does not outlive its launcher from here on.
    """
    if (launcher := os.environ.get(LAUNCHER)) and "--multiprocessing-fork" in sys.orig_argv:
        die_with(int(launcher))
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Without a network it tells of every try; the error at the end says as much.
        "HF_HUB_VERBOSITY": "error",
        "TRANSFORMERS_VERBOSITY": "error",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # DDP warns that what makes a resume exact costs time.
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "MPLBACKEND": "Agg",
    }.items():
        os.environ.setdefault(name, value)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that dies. Only Linux can."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked
