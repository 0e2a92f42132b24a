"""What a person would want to know about the rows before anything expensive, and the removal of leaked ones.

Works on the texts that the model reads and, where a task has labels, on the column `label`. Two rows are exact
duplicates if their texts are equal, normalised ones if they are after Unicode NFKC, case folding and collapsing white
space.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data import rows
from pipeline.data.targets import label_ids
from pipeline.errors import UserError, counted

_QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
_DUPLICATES_WORTH_A_WORD = 0.01
_IMBALANCE_WORTH_A_WORD = 20
_FEW_ROWS = 100
_MAX_LISTED = 5

Texts = tuple[str, ...]
TextsOf = Callable[[pa.Table], Sequence[Texts]]
"""What the model reads of each prepared row."""


def decontaminate(splits: Mapping[str, pa.Table], texts_of: TextsOf) -> dict[str, pa.Table]:
    """The splits without the rows of `train` whose normalised texts are also in validation or test.

    Raises:
        UserError: no training row is left.
    """
    seen = {texts for split, table in splits.items() if split != "train" for texts in _normalised(texts_of(table))}
    train = splits["train"]
    kept = train.filter(pa.array([texts not in seen for texts in _normalised(texts_of(train))], pa.bool_()))
    if not len(kept):
        raise UserError(_nothing_left(splits, texts_of))
    return {**splits, "train": kept}


def _nothing_left(splits: Mapping[str, pa.Table], texts_of: TextsOf) -> str:
    rows_of = {split: _normalised(texts_of(table)) for split, table in splits.items()}
    train = rows_of.pop("train")
    shared = {split: sum(map(set(texts).__contains__, train)) for split, texts in rows_of.items()}
    most = max(shared, key=shared.__getitem__)
    others = " and ".join(f"{count:,} in {split}" for split, count in shared.items() if count)
    return (
        f"data: no training row is left: the texts of all {len(train):,} are also in validation or test ({others}).\n"
        f"If data.{most}_file is a copy of data.train_file, name a file with other rows, or set the key to null:\n"
        f"{most} is then cut from the training rows."
    )


def audit(
    before: Mapping[str, pa.Table], after: Mapping[str, pa.Table], texts_of: TextsOf, labels: Sequence[str]
) -> dict[str, Any]:
    """Counts of everything worth looking at, ready for JSON.

    Args:
        before: prepared rows by split, before `decontaminate`.
        after: the rows that are used.
        labels: the names of the rows' labels, a row's `label` being a place in this list, or a list of them; empty if
            rows have none. Not counted where rows have no column `label`.

    Returns:
        `splits`: by split `rows`, `removed`, `empty_texts`, `exact_duplicates` and `normalised_duplicates` (rows that
        repeat an earlier one of the split), `labels` (by name `rows` and `share`), `missing_labels`, `rare_labels`
        (fewer than two rows) and `words` (quantiles of the words a row);
        `across`: by pair of splits, before the removal, how many rows of the first are also in the second;
        `conflicting`: `texts` that stand with different labels, and the `rows` that have them;
        `warnings`: sentences for people.
    """
    if not all("label" in table.column_names for table in after.values()):
        labels = ()  # they are those of something smaller than a row
    views_before = {split: _view(table, texts_of) for split, table in before.items()}
    views = {
        split: views_before[split] if table is before[split] else _view(table, texts_of)
        for split, table in after.items()
    }
    found: dict[str, Any] = {
        "splits": {split: _of_split(view, labels, len(before[split])) for split, view in views.items()},
        "across": _across(views_before),
        "conflicting": _conflicting(views.values()),
    }
    return found | {"warnings": _warnings(found, labels)}


@dataclass(frozen=True)
class _View:
    """What the audit needs of a split's rows."""

    texts: list[Texts]
    normalised: list[Texts]
    labels: list[Any]
    label_ids: list[int]


def _view(table: pa.Table, texts_of: TextsOf) -> _View:
    texts = list(texts_of(table))
    if "label" not in table.column_names:
        return _View(texts, _normalised(texts), [None] * len(texts), [])
    return _View(texts, _normalised(texts), table["label"].to_pylist(), label_ids(table["label"]))


def _normalised(texts: Iterable[Texts]) -> list[Texts]:
    return [tuple(map(rows.normalised, parts)) for parts in texts]


def _of_split(view: _View, labels: Sequence[str], rows_before: int) -> dict[str, Any]:
    size = len(view.texts)
    counts = Counter(view.label_ids if labels else ())
    words = np.array([sum(len(text.split()) for text in parts) for parts in view.texts] or [0])
    return {
        "rows": size,
        "removed": rows_before - size,
        "empty_texts": sum(not all(text.strip() for text in parts) for parts in view.texts),
        "exact_duplicates": size - len(set(view.texts)),
        "normalised_duplicates": size - len(set(view.normalised)),
        "labels": {
            name: {"rows": counts[place], "share": round(counts[place] / max(size, 1), 4)}
            for place, name in enumerate(labels)
        },
        "missing_labels": [name for place, name in enumerate(labels) if not counts[place]],
        "rare_labels": [name for place, name in enumerate(labels) if counts[place] == 1],
        "words": {name: int(np.quantile(words, quantile, method="nearest")) for name, quantile in _QUANTILES.items()},
    }


def _across(views: Mapping[str, _View]) -> list[dict[str, Any]]:
    found = []
    for first, second in combinations(views, 2):
        exact, normalised = set(views[second].texts), set(views[second].normalised)
        found.append(
            {
                "splits": [first, second],
                "exact": sum(texts in exact for texts in views[first].texts),
                "normalised": sum(texts in normalised for texts in views[first].normalised),
            }
        )
    return found


def _conflicting(views: Collection[_View]) -> dict[str, int]:
    first_label: dict[Texts, int] = {}
    texts = {
        texts
        for view in views
        for texts, label in zip(view.normalised, view.labels, strict=True)
        if first_label.setdefault(texts, label) != label
    }
    return {"texts": len(texts), "rows": sum(row in texts for view in views for row in view.normalised)}


# Sentences


def _warnings(found: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    said = list(_about_leaks(found))
    texts, affected = found["conflicting"]["texts"], found["conflicting"]["rows"]
    if texts:
        said.append(
            f"{counted(texts, 'text')} {'stands' if texts == 1 else 'stand'} with different labels "
            f"({affected:,} rows); no model can get all of them right."
        )
    for split, facts in found["splits"].items():
        said += _about_split(split, facts)
    counts = {name: label["rows"] for name, label in found["splits"]["train"]["labels"].items() if label["rows"]}
    most, least = (pick(counts, key=counts.__getitem__, default="") for pick in (max, min))
    if counts and counts[most] >= _IMBALANCE_WORTH_A_WORD * counts[least]:
        said.append(
            f"In train the label '{most}' has {counted(counts[most], 'row')} and '{least}' {counts[least]:,}: "
            "accuracy says little about rare labels, a macro average more."
        )
    return said + list(_about_names(labels))


def _about_leaks(found: Mapping[str, Any]) -> Iterable[str]:
    removed = found["splits"]["train"]["removed"]
    if removed:
        were, texts_are = ("was", "its text is") if removed == 1 else ("were", "their texts are")
        yield f"{counted(removed, 'row')} {were} removed from train, because {texts_are} also in validation or test."
    for pair in found["across"]:
        first, second = pair["splits"]
        if pair["normalised"] and not (removed and first == "train"):
            they_help = "it helps" if pair["normalised"] == 1 else "they help"
            to_pick = f"{they_help} to pick the best model"
            effect = f"scores on {second} flatter the model" if first == "train" else to_pick
            have = f"{counted(pair['normalised'], 'row')} of {first} {_has(pair['normalised'])}"
            yield f"{have} a text that is also in {second}: {effect}."


def _about_split(split: str, facts: Mapping[str, Any]) -> Iterable[str]:
    size, empty, repeated = facts["rows"], facts["empty_texts"], facts["normalised_duplicates"]
    if split != "train" and size < _FEW_ROWS:
        yield f"{split} has only {counted(size, 'row')}: its scores are uncertain."
    if empty:
        yield f"{counted(empty, 'row')} of {split} {_has(empty)} an empty text."
    verb = "repeats" if repeated == 1 else "repeat"
    if repeated > _DUPLICATES_WORTH_A_WORD * size:
        yield f"{counted(repeated, 'row')} of {split} ({repeated / size:.1%}) {verb} an earlier text."
    if facts["missing_labels"]:
        yield f"{split} has no row with {_listed(facts['missing_labels'])}."
    if facts["rare_labels"]:
        each = " each" if len(facts["rare_labels"]) > 1 else ""
        yield f"{split} has a single row{each} with {_listed(facts['rare_labels'])}."


def _about_names(labels: Sequence[str]) -> Iterable[str]:
    folded: dict[str, str] = {}
    for name in labels:
        twin = folded.setdefault(rows.normalised(name), name)
        if twin != name:
            yield f"The labels '{twin}' and '{name}' differ only in case or spacing; are they one?"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _listed(names: Sequence[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names[:_MAX_LISTED])
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    return f"{'the label' if len(names) == 1 else 'the labels'} {quoted}{more}"
