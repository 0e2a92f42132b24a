"""Processes that want to move the champion at the same time."""

from pathlib import Path

from tests.tracking.conftest import start

_PROGRAM = """
import time
from pathlib import Path
from pipeline.errors import UserError
from pipeline.tracking.registry import Registry
registry = Registry.open({model!r})
version = registry.version({number!r})
print("ready", flush=True)
while not Path("go").exists():
    time.sleep(0.001)
try:
    registry.move(version, "1", "promoted")
    print("won")
except UserError as error:
    print("lost:", error)
"""


def raced(model: str, numbers: list[str], folder: Path) -> str:
    """Let a process for each version promote it in place of version 1, all at once.

    Returns:
        The number of the version that won; the others were told so.
    """
    promoters = [start(_PROGRAM.format(model=model, number=number), folder) for number in numbers]
    for promoter in promoters:
        assert promoter.stdout is not None
        assert promoter.stdout.readline() == "ready\n"
    (folder / "go").touch()
    said = [promoter.communicate(timeout=300)[0] for promoter in promoters]
    winners = [number for number, answer in zip(numbers, said, strict=True) if answer == "won\n"]
    assert len(winners) == 1, said
    assert sum("by now, and was version 1" in answer for answer in said) == len(numbers) - 1
    return winners[0]
