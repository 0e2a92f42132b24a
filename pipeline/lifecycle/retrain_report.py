"""The Markdown report of a retraining: numbers, names and hashes, and never a row's text."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.scores import decimals, number
from pipeline.tracking.values import flatten, without_secrets

if TYPE_CHECKING:
    from pipeline.lifecycle.decide import Decision

_MOST = 40  # lines of one table; a pull request's comment has an end
_FIGURE = re.compile(r"^!\[[^]]*\]\([^)]*\)\n+", re.MULTILINE)


@dataclass(frozen=True)
class Facts:
    """What the report tells.

    Attributes:
        decision: of the gate.
        lock_before: the text of the committed dvc.lock, empty if there is none.
        scores_before: the committed metrics/evaluation.json.
        results: reports/evaluation.json.
        run: the name of the MLflow run; `link` its address, if a server has it.
        figures: the names of the drawings.
        notes: sentences on what was left out.
    """

    title: str
    decision: "Decision"
    lock_before: str
    lock: str
    scores_before: Mapping[str, float]
    results: Mapping[str, Any]
    base: str
    version: str
    run: str
    link: str | None
    figures: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def render(facts: Facts) -> str:
    """The report."""
    run = f"[{_plain(facts.run)}]({facts.link})" if facts.link else _code(facts.run)
    parts = [
        f"# {_plain(facts.title)}",
        f"Commit {_code(facts.base[:12] or 'none')}, registered as {_code(facts.version)}, MLflow run {run}.",
        *map(_plain, facts.notes),
        "## The gate",
        *_gate(facts.decision),
        "The alias `champion` has not moved: promotion is a step of its own.",
        "## Scores",
        *_scores(facts.results, facts.scores_before),
        "## What changed since the committed results",
        *_changes(facts.lock_before, facts.lock),
    ]
    if facts.figures:
        parts += ["## Figures", *(f"![{name}](figures/{name})" for name in facts.figures)]
    return "\n\n".join(parts) + "\n"


def as_comment(report: str) -> str:
    """The report for a place that does not see the folder's figures."""
    without = _FIGURE.sub("", f"{report}\n").rstrip() + "\n"
    return without.replace("## Figures\n", "## Figures\n\nThey lie beside the report, and with the MLflow run.\n")


def _gate(decision: "Decision") -> Iterator[str]:
    against = f"version {decision.champion}" if decision.champion else "none yet"
    yield f"**{decision.verdict.capitalize()}**, against the champion ({against})."
    if decision.checks:
        rows = [f"| {_plain(check.rule)} | {check.outcome} | {_plain(check.reason)} |" for check in decision.checks]
        yield "\n".join(["| Rule | Outcome | Why |", "|---|---|---|", *rows])
    else:
        yield "There is no champion, and `promotion.floors` in params.yaml asks nothing."
    yield f"{decision.rows:,} test rows, look {decision.looks} at them."


def _scores(results: Mapping[str, Any], before: Mapping[str, float]) -> Iterator[str]:
    level, rows = f"{results['confidence_level'] * 100:g}%", results["rows"]
    lines = [
        f"| Score | test ({rows['test']:,} rows) | validation ({rows['validation']:,} rows) | committed, test |",
        "|---|---|---|---|",
    ]
    for name, found in results["test"].items():
        digits = decimals([found["value"]], name)
        test, validation = (_scored(results[split].get(name), digits) for split in ("test", "validation"))
        lines.append(f"| {_cell(name)} | {test} | {validation} | {number(before.get(name), digits)} |")
    yield f"With {level} intervals."
    yield "\n".join(lines)


def _scored(found: Mapping[str, float | None] | None, digits: int) -> str:
    if found is None:
        return "–"
    value, low, high = (number(found[name], digits) for name in ("value", "low", "high"))
    return value if found["low"] is None else f"{value} ({low} to {high})"


def _changes(before: str, after: str) -> Iterator[str]:
    if not before:
        yield "There are no committed results yet: everything is new."
        return
    old, new = _locked(before), _locked(after)
    for heading, kind in (("Parameter", "params"), ("Data", "data"), ("Result", "outs")):
        names = sorted(name for name in {*old[kind], *new[kind]} if old[kind].get(name) != new[kind].get(name))
        if names:
            rows = [
                f"| {_cell(name)} | {_cell(old[kind].get(name, '–'))} | {_cell(new[kind].get(name, '–'))} |"
                for name in names[:_MOST]
            ]
            yield "\n".join([f"| {heading} | before | now |", "|---|---|---|", *rows])
            if names[_MOST:]:
                yield f"... and {len(names) - _MOST} more."
    code = sorted(name for name in {*old["code"], *new["code"]} if old["code"].get(name) != new["code"].get(name))
    if code:
        more = f" and {len(code) - _MOST} more" if code[_MOST:] else ""
        yield f"Code: {', '.join(map(_code, code[:_MOST]))}{more}."
    if old == new:
        yield "Nothing: the committed results were made again."


def _locked(lock: str) -> dict[str, dict[str, str]]:
    """Params, data, code and outputs of all stages as a dvc.lock has them, each by its name."""
    found: dict[str, dict[str, str]] = {"params": {}, "data": {}, "code": {}, "outs": {}}
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    made = {out["path"] for entry in stages.values() for out in entry.get("outs", ())}
    for entry in stages.values():
        for values in entry.get("params", {}).values():
            found["params"] |= flatten(values)
        for dep in entry.get("deps", ()):
            if dep["path"] not in made:
                kind = "data" if dep["path"].startswith("data/") else "code"
                found[kind][dep["path"]] = _hashed(dep)
        found["outs"] |= {out["path"]: _hashed(out) for out in entry.get("outs", ())}
    return found


def _hashed(entry: Mapping[str, Any]) -> str:
    files = f", {entry['nfiles']:,} files" if "nfiles" in entry else ""
    return f"{str(entry.get('md5', ''))[:12]}{files}, {entry.get('size', 0):,} bytes"


def _cell(text: str) -> str:
    return _code(text) if text != "–" else text


def _code(text: str) -> str:
    """Text that Markdown shows as it is, also in a table."""
    shown = without_secrets(" ".join(text.split())).replace("`", "'").replace("|", "\\|")
    return f"`{shown if len(shown) <= 200 else shown[:197] + '...'}`" if shown else "(empty)"


def _plain(text: str) -> str:
    """A sentence that Markdown does not take for a link, HTML, or a mention of somebody."""
    shown = without_secrets(" ".join(text.split()))
    return re.sub(r"([\\`*_\[\]<>|#@])", lambda found: f"\\{found[0]}" if found[0] != "@" else "@\u200b", shown)


def read_scores(text: str) -> dict[str, float]:
    """A committed metrics/evaluation.json; nothing if there is none, or it is none."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
