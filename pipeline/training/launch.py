"""Start one process a device, or join those that torchrun or SLURM has started.

torch elastic starts the workers and watches them; torch is imported only when there is more than one. Added here is
what a preempted job needs: signals reach every worker, also one that is still importing; no worker outlives the
launcher; and the launcher ends with one message and one exit code.
"""

import logging
import os
import signal
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe, resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, NoReturn

from pipeline import environment
from pipeline.errors import UserError
from pipeline.training.cluster import placed
from pipeline.training.worker import AGAIN, PREEMPTED, End, Job, heeded, stop, work

_KILLED_BY = 128
_SECONDS_BETWEEN_LOOKS = 0.1
# torch waits 30 s by itself after a worker has failed; this is for Ctrl-\ to the launcher.
_SECONDS_TO_SAVE = 30
_NOISY = (
    "torch.distributed.elastic.agent.server.api",
    "torch.distributed.elastic.multiprocessing.api",
    "torch.distributed.elastic.multiprocessing.redirects",
    "torch.multiprocessing.spawn",
)


def run(entry: Callable[..., None], arguments: tuple[Any, ...], workers: int, variables: dict[str, str]) -> None:
    """Call `entry(*arguments)` in every worker, under RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    In this process, if one worker is wanted or if this process is one of several already (`placed`); `workers` then
    says nothing. Else in new processes, so that the entry must be a function at the top of a module, and the
    arguments must pickle.

    SIGTERM, SIGINT and SIGUSR1 to this process are passed on to the workers. Until the entry sets handlers of its
    own, such a signal ends a worker with PREEMPTED. Each worker is a process group of its own, so that Ctrl-C comes
    once. Once a worker has failed, the others get SIGTERM, and SIGKILL 30 s later; if it exited with AGAIN, all
    start again.

    Args:
        workers: how many processes.
        variables: what is set for the workers before they import anything, such as CUDA_VISIBLE_DEVICES.

    Raises:
        UserError: the first that a worker raised; its note is the worker's traceback.
        OSError: likewise.
        SystemExit: with PREEMPTED, if every worker that failed exited with it; with the code of the first that exited
            with another one; with 1 after any other exception, whose traceback is shown, and after a worker's death.
    """
    assert workers >= 1, f"{workers} workers"
    place = placed(os.environ)
    with environment.changed(variables | (place or {})):
        if place is not None or workers == 1:
            _work_here(entry, arguments)
        else:
            while not _launch(entry, arguments, workers):
                pass


def _work_here(entry: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    def stop_early(number: int, frame: FrameType | None) -> NoReturn:
        print("stopped as asked, before the work began", file=sys.stderr)
        stop(number, frame)

    before = {number: signal.signal(number, stop_early) for number in heeded()}
    try:
        entry(*arguments)
    except SystemExit as end:
        if end.code != AGAIN:
            raise
        raise UserError(
            "The device has no memory left, and only who started these processes can start them again.\n"
            "Run the same command again: it goes on from the last checkpoint, with smaller micro-batches."
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Heard:
    """What the launcher has heard so far.

    Attributes:
        signals: those that came, in their order.
        pids: of the workers that can take a signal, by rank.
        ends: how workers ended, by rank; one that was killed has none.
    """

    signals: list[int] = field(default_factory=list)
    pids: dict[int, int] = field(default_factory=dict)
    ends: "dict[int, End]" = field(default_factory=dict)


def _launch(entry: Callable[..., None], arguments: tuple[Any, ...], workers: int) -> bool:
    """Whether the work is done; else all workers have to start again."""
    pipes = [Pipe(duplex=False) for _ in range(workers)]
    job = Job(entry, arguments, os.getpid(), tuple(tell for _, tell in pipes))
    with (
        environment.changed({environment.LAUNCHER: str(os.getpid())}),
        _listening([told for told, _ in pipes]) as heard,
    ):
        for name in _NOISY:
            logging.getLogger(name).addFilter(_is_no_noise)
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=workers,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",  # any free port
            local_addr="localhost",  # else the full name of this machine, which may not resolve
            max_restarts=0,
            monitor_interval=_SECONDS_BETWEEN_LOOKS,
            start_method="spawn",
            # Not those that we pass on, nor SIGHUP, whose handler would undo nohup.
            signals_to_handle="SIGQUIT",
            shutdown_timeout=_SECONDS_TO_SAVE,
            logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        )
        if heard.signals:
            sys.exit(PREEMPTED)
        try:
            elastic_launch(config, work)(job)
            return True
        except SignalException as stopped:
            sys.exit(_KILLED_BY + stopped.sigval)
        except ChildFailedError as failed:
            deaths = {rank: failure.signal_name() for rank, failure in failed.failures.items() if failure.exitcode < 0}
    done = _is_done(heard.ends, deaths, workers)
    if not done and heard.signals:
        sys.exit(PREEMPTED)
    return done


def _is_done(ends: Mapping[int, End], deaths: Mapping[int, str], workers: int) -> bool:
    """Raise what the failed workers come to; else whether all had done their work before they were stopped.

    The first error that explains itself is the cause: a worker that dies tears the connections of the others, who may
    end before it. Preemption is no error.

    Args:
        ends: by rank; a worker that was killed has none.
        deaths: the signals that elastic saw workers die of, by rank; never all of them.
    """
    silent = [rank for rank in range(workers) if rank not in ends]
    failed = sorted((end for end in ends.values() if end.code), key=lambda end: (end.is_unexpected, end.time))
    error = next((end for end in failed if end.code != PREEMPTED), None)
    if error is not None and error.code == AGAIN:
        return False
    if error is not None and error.kind == "UserError":
        raise _noted(UserError(error.text), error)
    if error is not None and error.kind == "OSError" and error.errno is not None:
        raise _noted(OSError(error.errno, error.text), error)
    if error is not None and error.traceback:
        print(error.traceback, file=sys.stderr)
    for rank in silent:
        death = f"was killed by {deaths[rank]}" if rank in deaths else "was killed, or did not end by itself when told"
        print(f"Worker {rank} of {workers} {death}.", file=sys.stderr)
    if error is not None:
        sys.exit(error.code)
    if silent:
        sys.exit(1)
    if failed:
        sys.exit(PREEMPTED)
    return True


def _noted(error: Exception, end: End) -> Exception:
    error.add_note(f"In the worker:\n{end.traceback}")
    return error


@contextmanager
def _listening(pipes: "Sequence[Connection[Any, int | End]]") -> Iterator[_Heard]:
    """Hear what workers tell, and pass signals on to each as soon as it can take them.

    The main thread blocks them, and so do the workers from birth: one that goes to the whole group waits in a worker
    that is still importing. Another thread lets them in here, and the handler runs in the main thread all the same.
    """
    resource_tracker.ensure_running()  # it would unblock signals when it starts
    heard, ended = _Heard(), threading.Event()
    before = {number: signal.signal(number, lambda got, _: heard.signals.append(got)) for number in heeded()}
    listening = threading.Thread(target=_listen, args=(pipes, heard, ended), daemon=True)
    listening.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, before)
    try:
        yield heard
    finally:
        ended.set()
        listening.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _listen(pipes: "Sequence[Connection[Any, int | End]]", heard: _Heard, ended: threading.Event) -> None:
    passed_on: Counter[int] = Counter()
    while True:
        last = ended.is_set()
        ready = wait(pipes, _SECONDS_BETWEEN_LOOKS)
        if last and not ready:
            return
        for rank, pipe in enumerate(pipes):
            if pipe in ready:
                told = pipe.recv()
                if isinstance(told, int):
                    heard.pids[rank] = told
                else:
                    heard.ends[rank] = told
        for rank, pid in heard.pids.items():
            for number in heard.signals[passed_on[rank] :]:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                passed_on[rank] += 1


def _is_no_noise(record: logging.LogRecord) -> bool:
    """False for what elastic logs of a worker's failure (a traceback of its own) and for its warnings."""
    return record.levelno >= logging.ERROR and not record.exc_info
