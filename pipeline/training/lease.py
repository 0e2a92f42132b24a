"""Devices of this machine for this process alone, among all the processes and users that lease them.

A lease is a lock (`flock`) on a file a device. The kernel frees it when the process that holds it dies, however that
dies. Nothing runs, and nothing has to be cleaned up.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import UserError, counted

FOLDER = "REPRISE_LEASES"  # the environment variable that names another folder

# Not the folder in TMPDIR: schedulers set that for each job, and then no job would see another's lease.
_FOLDER = Path("/tmp/reprise-devices")  # noqa: S108
_SECONDS_BETWEEN_TRIES, _SECONDS_BETWEEN_LINES = 0.25, 60.0
_FOR_ALL, _FOR_ALL_BUT_KEPT = 0o666, 0o1777  # the latter: nobody removes what another one made


def visible_devices(environ: Mapping[str, str], count: int) -> list[str]:
    """The names of the devices that this process may use: those in CUDA_VISIBLE_DEVICES, or "0", "1" and so on.

    Like CUDA, it takes nothing from the first name on that is no device (-1).

    Args:
        count: how many CUDA shows.
    """
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    devices: list[str] = []
    for name in (part.strip() for part in named.split(",")):
        if name in ("", "-1"):
            break
        devices.append(name)
    return devices[:count]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def lease(wanted: int, visible: Sequence[str], say: Callable[[str], object] = _say) -> Iterator[list[str]]:
    """`wanted` of the visible devices, in their order; wait until so many are free, and say who holds the others.

    All or nothing: a process that waits holds none, so that two never wait for each other. One that wants many may
    wait long while others keep taking few. A child that was forked and did not exec shares the lease. The processes
    must name a device alike: "0" and "GPU-5f1c..." are two to us.

    Args:
        wanted: at least one.
        visible: names as in CUDA_VISIBLE_DEVICES (`visible_devices`).
        say: takes a line, at once and then every minute of waiting.

    Raises:
        UserError: there are fewer devices; or the folder of the leases cannot be used.
    """
    assert wanted >= 1, f"a lease of {wanted} devices"
    devices = list(dict.fromkeys(visible))
    if wanted > len(devices):
        raise UserError(
            f"hardware.devices asks for {counted(wanted, 'device')}, but this process sees "
            f"{', '.join(devices) or 'none'}.\n"
            "Ask for fewer, or show it more: CUDA_VISIBLE_DEVICES names those that it sees."
        )
    folder = _folder()
    said: float | None = None
    while True:
        with ExitStack() as leases:
            taken = _take(wanted, devices, folder, leases)
            if len(taken) == wanted:
                yield taken
                return
        if said is None or time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            holders = "; ".join(f"{name} by {_holder(folder, name)}" for name in devices if name not in taken)
            say(
                f"Waiting for {counted(wanted, 'device')}; of {len(devices)} here, {len(taken)} are "
                f"free. Held: {holders}."
            )
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _folder() -> Path:
    # A job of SLURM may be shown its GPUs under numbers of its own, which say nothing to other jobs.
    job = os.environ.get("SLURM_JOB_ID")
    folder = Path(os.environ.get(FOLDER) or (_FOLDER / f"job-{job}" if job else _FOLDER))
    with _told(folder):
        try:
            folder.mkdir(parents=True)
            folder.chmod(_FOR_ALL_BUT_KEPT)  # mkdir's mode is cut by the umask
        except FileExistsError:
            pass
    return folder


def _take(wanted: int, devices: Sequence[str], folder: Path, leases: ExitStack) -> list[str]:
    """Lock as many of the devices as are free, at most `wanted`; closing `leases` frees them.

    One process at a time does this, so that no two take half of what each needs, and so that whoever finds a device
    locked also finds its holder's name.
    """
    taken: list[str] = []
    with _told(folder), ExitStack() as gate:
        fcntl.flock(_open(folder / "gate", gate), fcntl.LOCK_EX)
        for name in devices:
            with ExitStack() as one:
                file = _open(_path(folder, name), one)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                os.ftruncate(file, 0)
                os.pwrite(file, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
                leases.push(one.pop_all())
            taken.append(name)
            if len(taken) == wanted:
                break
    return taken


def _path(folder: Path, name: str) -> Path:
    return folder / f"device-{quote(name, safe='')}"  # names of parts of a GPU may hold a slash


def _open(path: Path, stack: ExitStack) -> int:
    """A file descriptor that no started program inherits; the file can be opened by everybody."""
    try:
        # Without O_CREAT: Linux refuses that for another user's file in such a folder (fs.protected_regular).
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        try:
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL)
            os.fchmod(file, _FOR_ALL)
        except FileExistsError:  # somebody was faster
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    stack.callback(os.close, file)
    return file


def _holder(folder: Path, name: str) -> str:
    return _path(folder, name).read_text("utf-8") or "nobody any more"


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The leases of this machine's devices cannot be kept in {folder}: {error.strerror}.\n"
            f"Set {FOLDER} to another folder, the same one for everybody who shares the devices."
        ) from error
