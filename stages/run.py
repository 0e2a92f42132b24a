"""How every stage begins and ends: params in, and an exit code and one clear message out."""

import argparse
import atexit
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from pipeline import params_file, project
from pipeline.errors import UserError
from pipeline.params import Params

_INTERRUPTED, _TERMINATED = 130, 143
_FULL = (errno.ENOSPC, errno.EDQUOT)
# DVC keeps what is written to metrics/ for a repro, but a checkout leaves it out.
_WAY_BACK = (
    "To have the last good results back, undo the change and run dvc repro. "
    "With the change, dvc checkout brings back all but metrics/."
)


def main(stage: Callable[[Params], None]) -> None:
    """Run a stage: exit 1 with the message of a UserError or of a full disk, 130 after Ctrl-C, 143 after SIGTERM."""
    name = stage.__name__
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=stage.__doc__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (or REPRISE_DEBUG=1)")
    debug = parser.parse_args().debug or os.environ.get("REPRISE_DEBUG") == "1"
    again = f"dvc repro {'goes on from the last checkpoint' if name == 'train' else 'runs the stage anew'}"

    def terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
        print(f"{name}: terminated; {again}", file=sys.stderr)
        sys.exit(_TERMINATED)

    signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Else Python looks through all that torch and transformers made before it ends: over a second, of the few that a
    # scheduler leaves to a preempted job.
    atexit.register(gc.freeze)
    try:
        stage(params_file.read(project.PARAMS))
    except UserError as error:
        if debug:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        if name != "check":
            print(_WAY_BACK, file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if debug or error.errno not in _FULL:
            raise
        print(f"{name}: {error.strerror}. Free some; then {again}.", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {again}", file=sys.stderr)
        sys.exit(_INTERRUPTED)
