"""What was different when two or more runs were made: their params, data, code and environment."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.tracking import records
from pipeline.tracking.records import Record

Differing = dict[str, dict[str, list[str | None]]]
"""By section and name: the value of every run; None where a run has none of that name."""

# They say where a run is kept and what becomes of it, and nothing of what was trained.
_OUTSIDE = ("tracking.", "promotion.")
_ENVIRONMENT = ("reprise.version.", "reprise.device", "reprise.threads", "reprise.host", "reprise.system")
_GIT = ("reprise.git.commit", "reprise.git.dirty")
_RESULTS = ("models/", "metrics/", "plots/", "data/checked.txt")
_SHOWN_DIGITS = 12


def differing(found: Sequence[Record]) -> Differing:
    """What is not the same in all runs, in the sections `params`, `data`, `code` and `environment`."""
    sections: dict[str, Callable[[Record], Mapping[str, str]]] = {
        "params": _params,
        "data": lambda record: _digests(record, data=True),
        "code": _code,
        "environment": _environment,
    }
    return {name: _unequal([read(record) for record in found]) for name, read in sections.items()}


def _unequal(found: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    names = sorted(set().union(*found))
    values = {name: [one.get(name) for one in found] for name in names}
    return {name: listed for name, listed in values.items() if len(set(listed)) > 1}


def _params(record: Record) -> dict[str, str]:
    return {name: value for name, value in record.params.items() if not name.startswith(_OUTSIDE)}


def _code(record: Record) -> dict[str, str]:
    git = {name.removeprefix("reprise."): record.tags[name] for name in _GIT if name in record.tags}
    return git | _digests(record, data=False)


def _digests(record: Record, data: bool) -> dict[str, str]:
    """The dependencies of a run's stages with their digests: its data, or all others, which are code."""
    return {
        path: value[:_SHOWN_DIGITS]
        for path, value in _tags(record, records.INPUT).items()
        if path.startswith("data/") == data and not path.startswith(_RESULTS)
    }


def _environment(record: Record) -> dict[str, str]:
    return {
        name.removeprefix("reprise.").removeprefix("version."): value
        for name, value in record.tags.items()
        if name.startswith(_ENVIRONMENT)
    }


def _tags(record: Record, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in record.tags.items() if name.startswith(prefix)}
