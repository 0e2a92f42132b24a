"""The report: one page that opens offline, and the same for the same results, byte for byte."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.evaluation import page
from pipeline.evaluation.look import Drawing
from pipeline.evaluation.mistakes import Confusion, Mistake
from pipeline.evaluation.slices import MOST_VALUES
from pipeline.evaluation.verdict import headline, headline_score, more_than_noise, places, strongest
from pipeline.params import Params
from pipeline.scores import decimals, gain, less_is_better, number
from pipeline.views import Table, View

_TEMPLATE = "report.html.j2"
_FEW_ROWS = 100
_WITHOUT = "no interval"
_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "scikit-learn", "numpy")
# What a page about an experiment does not say: where it is tracked, and what becomes of it.
_LEFT_OUT = {"tracking", "promotion"}


@dataclass(frozen=True)
class Findings:
    """All that the page shows.

    Attributes:
        confusions: None where a row's answer is not one of some labels; likewise `mistakes`.
        metrics: what reports/evaluation.json holds.
        training: what metrics/train.json holds.
        audit: what data/prepared/audit.json holds.
        truncation: what data/tokenized/truncation.json holds.
        columns: what the model reads of a row.
        digests: SHA-256 of the data and of the model, by path.
        device: what it was computed on, in words.
        minimised: what the loss of the training was taken with, such as `smoothed labels`, and that of the evaluations
            was not.
    """

    params: Params
    metrics: Mapping[str, Any]
    training: Mapping[str, Any]
    audit: Mapping[str, Any]
    truncation: Mapping[str, Mapping[str, int]]
    confusions: Sequence[Confusion] | None
    mistakes: Sequence[Mistake] | None
    drawings: Sequence[Drawing]
    views: Sequence[View]
    columns: Sequence[str]
    digests: Mapping[str, str]
    device: str
    minimised: str = ""


def write(findings: Findings, folder: Path, texts: bool = True) -> None:
    """Write index.html and figures/*.png into the folder of the report; see `render` for the texts."""
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for drawing in findings.drawings:
        (figures / f"{drawing.name}.png").write_bytes(drawing.png)
    (folder / "index.html").write_text(render(findings, texts), encoding="utf-8", newline="\n")


def render(findings: Findings, texts: bool = True) -> str:
    """The page. Nothing in it comes from outside, and nothing in it runs.

    Args:
        texts: whether texts of rows stand in it; else only where each row stands.
    """
    metrics = findings.metrics
    score = headline_score(metrics)
    table = _table(metrics)
    return page.template(Path(__file__).with_name(_TEMPLATE)).render(
        findings=findings,
        headline=headline(metrics),
        score=score,
        score_name=score.replace("_", " "),
        scores=list(metrics["test"]),
        less_is_better={name for name in metrics["test"] if less_is_better(name)},
        level=f"{metrics['confidence_level'] * 100:g}%",
        table=table,
        facts=_facts(findings.audit, findings.truncation),
        texts=texts,
        slices=_slices(metrics),
        most_values=MOST_VALUES,
        few_rows=metrics["rows"]["test"] < _FEW_ROWS,
        without_interval=any(cell["bounds"] == _WITHOUT for row in table for cell in row["cells"].values()),
        tables={view.name: _columns(view, texts) for view in findings.views if isinstance(view, Table) and view.rows},
        figures={drawing.name: drawing for drawing in findings.drawings},
        params=_resolved(findings.params),
        versions=_versions(),
    )


def _table(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the scores' table: the model, the baselines, by how much it beats the strongest, its validation."""
    best, digits = strongest(metrics), places(metrics)
    rows = [{"kind": "model", "name": "This model", "cells": _cells(metrics["test"], "value", digits)}]
    for name in sorted(metrics["baselines"], key=lambda name: name != best):
        rows.append({"kind": "baseline", "name": name, "cells": _cells(metrics["baselines"][name], "value", digits)})
        if name == best:
            rows.append(
                {"kind": "versus", "name": name, "cells": _cells(metrics["versus"][name], "difference", digits)}
            )
    rows.append({"kind": "validation", "name": "This model", "cells": _cells(metrics["validation"], "value", digits)})
    return rows


def _slices(metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The groups of every slice, the worst first, with the headline score as text."""
    score, digits = headline_score(metrics), places(metrics)
    return {
        name: [
            {"group": group, "rows": found["rows"], **_cells({score: found[score]}, "value", digits)[score]}
            for group, found in groups.items()
        ]
        for name, groups in metrics["slices"].items()
    }


def _cells(
    found: Mapping[str, Mapping[str, float | None]], key: str, digits: Mapping[str, int]
) -> dict[str, dict[str, str]]:
    """value, interval and verdict of every score, as text, with so many decimals."""
    sign = "+" if key == "difference" else ""
    cells = {}
    for name, interval in found.items():
        low, high = interval["low"], interval["high"]
        written = partial(number, digits=digits[name], sign=sign)
        bounds = "not defined" if interval[key] is None else _WITHOUT
        if low is not None and high is not None:
            bounds = f"{written(low)} to {written(high)}"
        verdict = ""
        if key == "difference" and low is not None:
            ahead = interval["difference"] is not None and gain(name, interval["difference"]) > 0
            verdict = ("better" if ahead else "worse") if more_than_noise(interval) else "may be noise"
        cells[name] = {"value": written(interval[key]), "bounds": bounds, "verdict": verdict}
    return cells


def _columns(view: Table, texts: bool) -> list[dict[str, Any]]:
    """The columns of a table that are shown, with their cells as text."""
    return [
        _column(column.title, cells)
        for column, cells in zip(view.columns, zip(*view.rows, strict=True), strict=True)
        if texts or not column.is_text
    ]


def _column(title: str, cells: Sequence[str | int | float]) -> dict[str, Any]:
    digits = decimals(cell for cell in cells if isinstance(cell, float))
    written = [
        cell if isinstance(cell, str) else number(cell, digits if isinstance(cell, float) else 0) for cell in cells
    ]
    return {"title": title, "is_number": any(not isinstance(cell, str) for cell in cells), "cells": written}


def _facts(audit: Mapping[str, Any], truncation: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """What is known of each split, a list with an entry a split for every fact."""
    splits = audit["splits"]
    facts = {
        "rows": [f"{found['rows']:,}" for found in splits.values()],
        "rows removed, their text being in validation or test": [f"{found['removed']:,}" for found in splits.values()],
        "empty texts": [f"{found['empty_texts']:,}" for found in splits.values()],
        "exact duplicates": [f"{found['exact_duplicates']:,}" for found in splits.values()],
        "duplicates but for case and spacing": [f"{found['normalised_duplicates']:,}" for found in splits.values()],
        **(_facts_of_labels(splits) if splits["train"]["labels"] else {}),
        "words a row, median": [f"{found['words']['median']:,}" for found in splits.values()],
    }
    cut = [truncation[split] for split in splits]
    facts["tokens, longest example"] = [f"{found['longest']:,}" for found in cut]
    facts["rows cut by max_seq_length"] = [_part(found["rows_cut"], found["rows"]) for found in cut]
    facts["tokens cut by max_seq_length"] = [_part(found["tokens_cut"], found["tokens"]) for found in cut]
    if any(found["rows_dropped"] for found in cut):
        facts["rows dropped, being longer"] = [_part(found["rows_dropped"], found["rows"]) for found in cut]
    for name in (name for name in cut[0] if name.startswith("lost_")):
        facts[f"{name.removeprefix('lost_')} lost by it"] = [f"{found[name]:,}" for found in cut]
    return facts


def _facts_of_labels(splits: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        "labels without a row": [f"{len(found['missing_labels']):,}" for found in splits.values()],
        "labels with a single row": [f"{len(found['rare_labels']):,}" for found in splits.values()],
    }


def _part(some: int, whole: int) -> str:
    return f"{some:,} ({some / max(whole, 1):.1%})"


def _resolved(params: Params) -> dict[str, dict[str, str]]:
    """Every section's keys with their values as JSON; the keys that stand alone come first."""
    values = params.model_dump(mode="json", exclude=_LEFT_OUT)
    shown: dict[str, dict[str, str]] = {"": {}}
    for name, value in values.items():
        if isinstance(value, dict):
            shown[name] = {key: json.dumps(inner, ensure_ascii=False) for key, inner in value.items()}
        else:
            shown[""][name] = json.dumps(value, ensure_ascii=False)
    return shown


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES}
