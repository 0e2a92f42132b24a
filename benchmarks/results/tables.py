"""The tables of docs/results.md, from the lines that run.py wrote."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.scores import is_share, readable

RUNS = Path(__file__).resolve().parent / "runs.jsonl"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"
REPRISE, TRAINER = "Reprise", "Trainer"

Run = Mapping[str, Any]


def runs() -> list[Run]:
    """The last run of each dataset, contestant and seed, in this order."""
    lines = map(json.loads, RUNS.read_text(encoding="utf-8").splitlines())
    last = {(run["dataset"], run["by"], run["seed"]): run for run in lines}
    return [last[key] for key in sorted(last)]


def beside_trainer(found: Sequence[Run]) -> str:
    """Mean and standard deviation over the seeds that both contestants ran, a row for each score that both have."""
    rows = []
    for name in sorted({run["dataset"] for run in found if run["by"] == TRAINER}):
        of = {by: {r["seed"]: r for r in found if (r["dataset"], r["by"]) == (name, by)} for by in (REPRISE, TRAINER)}
        seeds = sorted(of[REPRISE].keys() & of[TRAINER].keys())
        scores = of[TRAINER][seeds[0]]["scores"] if seeds else []
        for score in scores:
            cells = [_mean(score, [of[by][seed]["scores"][score]["value"] for seed in seeds]) for by in of]
            rows.append([f"`{name}`", score, *cells, ", ".join(map(str, seeds))])
    return _table(["Dataset", "Test score", REPRISE, TRAINER, "Seeds"], rows)


def said(found: Sequence[Run]) -> str:
    """What the report says of the first run of each dataset: its score, the interval, the strongest baseline."""
    first = {run["dataset"]: run for run in reversed(found) if run["by"] == REPRISE}
    lines = []
    for name, run in sorted(first.items()):
        rows = ", ".join(f"{count:,} {split}" for split, count in run["rows"].items())
        lines.append(f"- **{name}**, {run['task']}, seed {run['seed']}; rows: {rows}. {run['said']}")
    return "\n".join(lines)


def every(found: Sequence[Run]) -> str:
    """A row for each run, with all its test scores."""
    rows = []
    for run in found:
        scores = ", ".join(f"{name} {readable(name, score['value'])}" for name, score in run["scores"].items())
        rows.append([f"`{run['dataset']}`", run["by"], run["seed"], scores, run["seconds"], run["cpu_seconds"]])
    return _table(["Dataset", "By", "Seed", "Test scores", "Seconds", "of CPU"], rows)


def ran_on(found: Sequence[Run]) -> str:
    """The machines and the versions of the packages."""
    machines = sorted({run["machine"] for run in found})
    versions = sorted({", ".join(f"{name} {number}" for name, number in run["versions"].items()) for run in found})
    return f"Machine: {'; '.join(machines)}. Versions: {'; '.join(versions)}."


PARTS = {"beside-trainer": beside_trainer, "said": said, "every": every, "ran-on": ran_on}


def filled(page: str, found: Sequence[Run]) -> str:
    """The page with the parts between its markers written anew."""
    for name, part in PARTS.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        assert found_begin and found_end, f"{PAGE.name} has no {begin} ... {end}"
        page = f"{before}{begin}\n\n{part(found)}\n\n{end}{after}"
    return page


def _mean(score: str, values: Sequence[float]) -> str:
    """``"84.1% ± 0.5"``: the standard deviation of single runs, with n - 1; without it where there is one run."""
    mean = readable(score, statistics.mean(values))
    if len(values) == 1:
        return mean
    deviation = statistics.stdev(values)
    return f"{mean} ± {deviation * 100:.1f}" if is_share(score) else f"{mean} ± {deviation:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
