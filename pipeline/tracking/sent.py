"""What a sender notes beside a journal: how far it is, and what it is doing."""

from dataclasses import dataclass, field

ENTRIES, SYSTEM, ARTIFACTS = "entries", "system", "artifacts"
LANES = (ENTRIES, SYSTEM, ARTIFACTS)


@dataclass
class Sent:
    """How far a journal is sent; saved after each request.

    Attributes:
        run: the id of the MLflow run; None before it is found or created.
        started: when that run began, in milliseconds since 1970.
        offsets: bytes of each lane that MLflow has.
        lost: what MLflow refused, or what was gone, by kind.
        doubtful: a request to create the run was not answered, so a second run may have come of it.
    """

    run: str | None = None
    experiment: str | None = None
    started: int = 0
    offsets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    lost: dict[str, int] = field(default_factory=dict)
    doubtful: bool = False


@dataclass
class Phase:
    """What the sender of a run is doing.

    Attributes:
        name: `starting`, `asking` (MLflow, for the first time), `open` (it has the run), `away` or `refused`.
        text: why, for the last two.
        patience: seconds that the request under way may take, if more than others.
    """

    name: str = "starting"
    text: str = ""
    patience: float = 0
