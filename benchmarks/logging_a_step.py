"""What a training step pays for being logged while MLflow is hung, or nothing listens where it should.

python -m benchmarks.logging_a_step

On a busy machine some calls of anything wait for their turn: the first line, which logs nothing and only
computes about as long, says how often.
"""

import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable

import click

from pipeline.params import Params
from pipeline.tracking.run import Run


def measure(log: Callable[[int], object], steps: int, pause: float) -> str:
    """The milliseconds that the calls took, in words."""
    times = []
    for step in range(1, steps + 1):
        time.sleep(pause)
        begun = time.perf_counter()
        log(step)
        times.append(1000 * (time.perf_counter() - begun))
    times.sort()
    return (
        f"median {statistics.median(times):.3f} ms, 99.9% within {times[int(0.999 * steps)]:.3f} ms, maximum "
        f"{times[-1]:.3f} ms; {sum(found > 1 for found in times)} of {steps:,} calls took more than 1 ms"
    )


def compute(step: int) -> None:
    """As much work as logging a step is."""
    for _ in range(8):
        json.dumps({"train/loss": 1 / step})


@click.command()
@click.option("--steps", default=20_000, show_default=True)
@click.option("--pause", default=1e-3, show_default=True, help="Seconds between two steps.")
def main(steps: int, pause: float) -> None:
    """Print the times of a call that only computes, and of calls that log to a server that is hung, and to none."""
    click.echo(f"no logging: {measure(compute, steps, pause)}")
    with socket.socket() as hung, socket.socket() as gone, tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for server in (hung, gone):
            server.bind(("127.0.0.1", 0))
        hung.listen()
        for name, server in (("hung", hung), ("down", gone)):
            os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{server.getsockname()[1]}"
            with Run.start(Params(), inputs={}, device="cpu") as run:
                said = measure(lambda step: run.metrics(step, {"train/loss": 1 / step}), steps, pause)
            click.echo(f"{name}: {said}")
        os.chdir("/")


if __name__ == "__main__":
    main()
