"""The embedded corpus: docstrings of the pinned dependencies, in a view for each task.

`dataset_config_name` names the view. The rows depend on the packages' versions and on nothing else: whatever is
drawn is drawn from a row's own place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.data.docstrings import labels, parameters, source, whole
from pipeline.data.docstrings.source import Documented
from pipeline.errors import UserError, did_you_mean

NUMPYDOC = ("matplotlib", "networkx", "numpy", "pandas", "scipy", "sklearn")
"""The packages whose docstrings have the sections and parameters of the numpydoc format."""

_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)
_ANSWERS = pa.struct([("text", _TEXTS), ("answer_start", pa.list_(pa.int64()))])
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))


@dataclass(frozen=True)
class View:
    """One way to make rows of docstrings.

    Attributes:
        rows: makes them of what is documented in a package, one after the other.
        columns: their names and types, `id` aside.
        distinct: two rows never agree in these columns.
        packages: where they come from; None for all.
        most: rows a package.
    """

    rows: Callable[[Iterable[Documented]], Iterator[dict[str, Any]]]
    columns: dict[str, pa.DataType]
    distinct: tuple[str, ...]
    packages: tuple[str, ...] | None = None
    most: int = 500


VIEWS = {
    "chat": View(whole.chats, {"messages": _MESSAGES}, ("messages",)),
    "choices": View(
        whole.choices,
        {**dict.fromkeys(("sent1", "sent2", "ending0", "ending1", "ending2", "ending3"), _TEXT), "label": pa.int64()},
        ("sent1",),
    ),
    "counts": View(whole.counts, {"text": _TEXT, "label": pa.float64()}, ("text",)),
    "entities": View(
        parameters.entities, {"tokens": _TEXTS, "ner_tags": _TEXTS}, ("tokens",), packages=NUMPYDOC, most=800
    ),
    "kinds": View(whole.kinds, {"text": _TEXT, "label": _TEXTS}, ("text",), packages=NUMPYDOC, most=800),
    "pairs": View(whole.pairs, dict.fromkeys(("anchor", "positive"), _TEXT), ("anchor",)),
    "preferences": View(whole.preferences, dict.fromkeys(("prompt", "chosen", "rejected"), _TEXT), ("chosen",)),
    "questions": View(
        parameters.questions,
        {"question": _TEXT, "context": _TEXT, "answers": _ANSWERS},
        ("question", "context"),
        packages=NUMPYDOC,
        most=600,
    ),
    "similarities": View(
        whole.similarities,
        {"sentence1": _TEXT, "sentence2": _TEXT, "label": pa.float64()},
        ("sentence1", "sentence2"),
    ),
    "summaries": View(whole.summaries, dict.fromkeys(("document", "summary"), _TEXT), ("document",)),
    "text": View(whole.texts, {"text": _TEXT}, ("text",)),
}
"""The views by name, beside the one without a name: which package does a text come from?"""


def table(name: str | None = None, limit: int | None = None) -> pa.Table:
    """The rows of a view: `id`, their place (`numpy/linalg/_linalg.py:412`), and its columns.

    Args:
        name: of the view; None for that of `labels`.
        limit: about how many rows at most, for a quick look; all if None.

    Raises:
        UserError: there is no such view, or one of the packages is not installed.
    """
    if name is None:
        return labels.rows(limit)
    if name not in VIEWS:
        raise UserError(
            f"data.dataset_config_name: docstrings have no view '{name}'.{did_you_mean(name, VIEWS)}\n"
            f"There are {', '.join(VIEWS)}, and null for their packages as labels."
        )
    view = VIEWS[name]
    packages = view.packages or tuple(source.PACKAGES)
    most = view.most if limit is None else min(view.most, -(-limit // len(packages)))
    seen: set[str] = set()
    found: list[dict[str, Any]] = []
    with source.without_collection():
        for package in packages:
            found += islice(_new(view.rows(source.documented(package)), view.distinct, seen), most)
    return pa.Table.from_pylist(found, schema=pa.schema({"id": _TEXT, **view.columns}))


def _new(rows: Iterable[dict[str, Any]], distinct: Sequence[str], seen: set[str]) -> Iterator[dict[str, Any]]:
    """The rows that agree with none of those seen before, neither in place nor in the given columns."""
    for row in rows:
        keys = {row["id"], repr([row[column] for column in distinct])}
        if seen.isdisjoint(keys):
            seen |= keys
            yield row
