"""Comparing runs with a reference, on the same rows: what differed when they were made, and what differs now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline import project
from pipeline.errors import UserError, did_you_mean
from pipeline.evaluation import paired, seeds
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.evaluation.paired import Difference
from pipeline.lifecycle import sides
from pipeline.lifecycle.differing import differing
from pipeline.lifecycle.sides import Side
from pipeline.params import Evaluate, Params
from pipeline.scores import gain
from pipeline.tasks import find
from pipeline.tracking import looks

Comparison = dict[str, Any]
"""What `--json` writes: docs/comparing.md names every key."""


def compare(
    called: Sequence[str], params: Params, split: str = "validation", common: bool = False, only: str | None = None
) -> Comparison:
    """Compare the first run, the reference, with each of the others.

    Args:
        called: what the runs are called, as in `records.find`.
        params: of the project; `evaluate` and `tracking` of it are used.
        split: `validation` or `test`. Of the test rows each comparison is counted.
        common: compare the rows that all have, where they were evaluated on others, too.
        only: the one slice whose groups are tested; all of them else.

    Raises:
        UserError: a run is not there or was not evaluated, the rows differ, there is no such slice, or MLflow does not
            answer.
    """
    loaded = sides.load(called, split, params.tracking.experiment_name)
    test_set = loaded[0].answers[0].digest
    reference, *others = sides.same_rows(loaded, common)
    groups = _slices(reference, only)
    texts = _texts(params, split)
    found = {
        "split": split,
        "rows": len(reference.answers[0]),
        "rows_of_reference": len(loaded[0].answers[0]),
        "confidence_level": params.evaluate.confidence_level,
        "looks": None,
        "runs": [_run(side, params.evaluate) for side in (reference, *others)],
        "differing": differing([side.runs[0] for side in (reference, *others)]),
        "comparisons": [_compared(reference, other, groups, texts, params.evaluate) for other in others],
    }
    if split == "test":
        for other in others:
            looks.look(other.record, test_set, f"compare with {reference.record.id}")
        found["looks"] = looks.count(reference.record.experiment, test_set)
    return found


def _run(side: Side, settings: Evaluate) -> dict[str, Any]:
    scored = [examples.task.all_scores(examples.predictions) for examples in side.answers]
    return {
        "name": side.name,
        "id": side.record.id,
        "seeds": len(side.runs),
        "scores": {
            score: {
                "value": float(np.mean([values[score] for values in scored])),
                "std": float(np.std([values[score] for values in scored], ddof=1)) if len(scored) > 1 else None,
            }
            for score in scored[0]
        },
    }


def _compared(
    reference: Side,
    other: Side,
    groups: Mapping[str, np.ndarray],
    texts: Mapping[str, Sequence[str]],
    settings: Evaluate,
) -> dict[str, Any]:
    """The other minus the reference. Rows and slices are those of the first seed of each."""
    theirs, ours = reference.answers[0], other.answers[0]
    with_seeds = min(len(reference.runs), len(other.runs)) > 1
    differences = (
        seeds.differences(other.answers, reference.answers, settings)
        if with_seeds
        else paired.differences(ours, theirs, settings)
    )
    return {
        "name": other.name,
        "with_seeds": with_seeds,
        "differences": {
            score: {**asdict(found), "verdict": verdict(score, found, settings)} for score, found in differences.items()
        },
        "other_targets": _other_targets(ours, theirs, differences),
        "flipped": _flipped(ours, theirs, texts),
        "slices": _tested(ours, theirs, groups, settings),
    }


def verdict(score: str, found: Difference, settings: Evaluate, p_value: float | None = None) -> str:
    """`better`, `worse`, or `may be noise` for a difference that its p-value does not tell from chance.

    Args:
        p_value: an adjusted one to judge by, instead of the difference's own.
    """
    judged = found.p_value if p_value is None else p_value
    if judged is None or judged >= 1 - settings.confidence_level:
        return "may be noise"
    return "better" if gain(score, found.difference) > 0 else "worse"


def _other_targets(ours: Examples, theirs: Examples, scores: Iterable[str]) -> dict[str, Any] | None:
    """The scores that are means over other targets here and there, and how many these are; None if none is."""
    told = paired.per_other_targets(ours, theirs, scores)
    counts = [int(examples.predictions["targets"].sum()) for examples in (theirs, ours) if told]
    return {"scores": told, "targets": counts} if told else None


def _slices(reference: Side, only: str | None) -> Mapping[str, np.ndarray]:
    """The groups by which the reference was evaluated: another tokenizer counts lengths otherwise."""
    groups = reference.answers[0].slices
    if only is None:
        return groups
    if only not in groups:
        raise UserError(
            f"{reference.name} was not evaluated by the slice '{only}'; its slices are {', '.join(groups) or 'none'}."
            f"{did_you_mean(only, groups)}\nName it in evaluate.slices, and evaluate again: dvc repro"
        )
    return {only: groups[only]}


def _tested(
    ours: Examples, theirs: Examples, groups: Mapping[str, np.ndarray], settings: Evaluate
) -> list[dict[str, Any]]:
    """The first score and the loss in every group, tested together; the likeliest real differences first."""
    scores = (ours.task.score_names[0], "loss")
    listed = []
    for name, of_row in groups.items():
        for value in sorted(set(of_row)):
            places = np.flatnonzero(of_row == value)
            pair = paired.Pair.of(ours.take(places), theirs.take(places), settings.n_resamples)
            for score in scores:
                listed.append((name, value, score, pair.difference(score, settings.confidence_level)))
    known = {str(place): found.p_value for place, (*_, found) in enumerate(listed) if found.p_value is not None}
    adjusted = paired.holm(known)
    tested = [
        {
            "slice": name,
            "group": value,
            "score": score,
            **asdict(found),
            "adjusted": adjusted.get(str(place)),
            "verdict": verdict(score, found, settings, adjusted.get(str(place))),
        }
        for place, (name, value, score, found) in enumerate(listed)
    ]
    return sorted(
        tested, key=lambda test: (2.0 if test["adjusted"] is None else test["adjusted"], test["p_value"] or 0)
    )


def _flipped(
    ours: Examples, theirs: Examples, texts: Mapping[str, Sequence[str]]
) -> dict[str, list[dict[str, Any]]] | None:
    """The rows that one of the two has right, those whose loss changed most first; None where rows are not just right.

    What was said stands beside them where a row's answer is one value.
    """
    right, was_right = (examples.task.right(examples.predictions) for examples in (ours, theirs))
    if right is None or was_right is None:
        return None
    change = np.abs(ours.predictions["loss"] - theirs.predictions["loss"])
    columns = [examples.task.columns(examples.predictions) for examples in (ours, theirs)]
    asked = {"target": (0, "target"), "reference": (1, "prediction"), "run": (0, "prediction")}
    named = {
        name: [_in_words(value) for value in columns[side][column].to_pylist()]
        for name, (side, column) in asked.items()
        if column in columns[side]
    }

    def listed(places: np.ndarray) -> list[dict[str, Any]]:
        order = places[np.argsort(-change[places], kind="stable")]
        return [
            {
                "id": ours.ids[place],
                **{name: values[place] for name, values in named.items()},
                **({"texts": list(texts[ours.keys[place]])} if ours.keys[place] in texts else {}),
            }
            for place in order.tolist()
        ]

    return {
        "to_right": listed(np.flatnonzero(right & ~was_right)),
        "to_wrong": listed(np.flatnonzero(was_right & ~right)),
    }


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)


def _texts(params: Params, split: str) -> dict[str, Sequence[str]]:
    """The texts of the prepared rows by key, if they are here and may be shown."""
    path = project.PREPARED / f"{split}.parquet"
    if params.evaluate.publish_texts == "none" or not path.exists():
        return {}
    rows = pq.read_table(path)
    task = find(params.task).load(project.PREPARED)
    return dict(zip(keys_of(rows, task.labels), task.texts(rows), strict=True))
