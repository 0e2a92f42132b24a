"""A comparison as tables that fit into a terminal of 80 columns."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation.verdict import on_other_targets, p_value, places_of_runs
from pipeline.scores import decimals, number

_MOST_LISTED = 5
_MOST_TESTS = 10
_STYLES = {"better": "green", "worse": "red", "may be noise": "dim"}
_LONGEST_VALUE = 24
_SPREAD = "_std"


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what `lifecycle.compare` found."""
    first = found["runs"][0]["name"]
    shared = "" if found["rows"] == found["rows_of_reference"] else f" that all have, of {found['rows_of_reference']:,}"
    console.print(Text(f"\n{found['rows']:,} {found['split']} rows{shared}; the reference is {first}", "bold"))
    if found["looks"]:
        times = "once" if found["looks"] == 1 else f"{found['looks']} times"
        console.print(Text(f"This test set has been looked at {times}.", "yellow"))
    console.print("", _differing(found), _scores(found), sep="\n")
    for comparison in found["comparisons"]:
        console.print(_differences(comparison, found))
        if warning := on_other_targets(comparison):
            console.print(Text(f"{warning}\n", "yellow"))
        _show_slices(comparison, places_of_runs(found), console)
        _show_flipped(comparison, console)


def of_seeds(seeds: Sequence[str], scores: Mapping[str, float]) -> Table:
    """Mean and standard deviation of every score over the seeds."""
    table = _table(f"{len(seeds)} seeds: {', '.join(seeds)}")
    for name in ("", "mean", "standard deviation"):
        table.add_column(name)
    for name, mean in scores.items():
        if not name.endswith(_SPREAD):
            digits = decimals([mean], name, more=1)
            table.add_row(name, number(mean, digits), number(scores.get(f"{name}{_SPREAD}"), digits))
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


def _differing(found: Mapping[str, Any]) -> Table:
    table = _table("What differed")
    for name in ("", ""):
        table.add_column(name)
    for run in found["runs"]:
        table.add_column(Text(run["name"]), overflow="fold")
    for section, names in found["differing"].items():
        if not names:
            table.add_row(section, Text("nothing", "dim"))
        for place, (name, values) in enumerate(names.items()):
            shown = (Text("–" if value is None else _short(value)) for value in values)
            table.add_row("" if place else section, Text(name), *shown)
    return table


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 1]}…"


def _scores(found: Mapping[str, Any]) -> Table:
    table = _table("Scores")
    table.add_column("", no_wrap=True)
    for run in found["runs"]:
        name = Text(run["name"])
        if run["seeds"] > 1:
            name.append(f"\n{run['seeds']} seeds", "dim")
        table.add_column(name, overflow="fold")
    for score, digits in places_of_runs(found).items():
        table.add_row(score, *(_score(run["scores"][score], digits) for run in found["runs"]))
    return table


def _score(found: Mapping[str, float | None], digits: int) -> Text:
    shown = Text(number(found["value"], digits))
    return shown if found["std"] is None else shown.append(f"\n± {number(found['std'], digits)}", "dim")


def _differences(comparison: Mapping[str, Any], found: Mapping[str, Any]) -> Table:
    table = _table(f"{comparison['name']} minus {found['runs'][0]['name']}, on the same rows")
    level = f"{found['confidence_level'] * 100:g}% interval"
    table.padding = 0  # the widest names and numbers fit beside each other
    for name in ("", "difference", level, "p-value", "smallest", ""):
        table.add_column(name, no_wrap=name != level)  # what is too wide all the same breaks between two numbers
    digits = places_of_runs(found)
    for score, difference in comparison["differences"].items():
        signed = partial(number, digits=digits[score], sign="+")
        low, high = difference["low"], difference["high"]
        table.add_row(
            score,
            signed(difference["difference"]),
            "no interval" if low is None else f"{signed(low)} to {signed(high)}",
            p_value(difference["p_value"]),
            number(difference["smallest"], digits[score]),
            _verdict(difference),
        )
    said = "smallest: the difference that so many rows show four times out of five"
    if comparison["with_seeds"]:
        said += "\nIntervals count in the chance of the seeds; groups and rows: the first seeds"
    table.caption, table.caption_justify = Text(said, "dim"), "left"
    return table


def _verdict(found: Mapping[str, Any]) -> Text:
    return Text(found["verdict"], _STYLES[found["verdict"]])


def _show_slices(comparison: Mapping[str, Any], digits: Mapping[str, int], console: Console) -> None:
    tests = comparison["slices"]
    if not tests:
        return
    clear = [test for test in tests if test["verdict"] != "may be noise"]
    names = ", ".join(sorted({test["slice"] for test in tests}))
    said = f"{len(clear)} of {len(tests)} tests of groups by {names} show more than chance"
    if len(clear) > _MOST_TESTS:
        said += f"; the clearest {_MOST_TESTS}"
    if not clear:
        console.print(Text(f"{said}\n"))
        return
    table = _table(said)
    for name in ("group", "rows", "score", "difference", "adjusted p-value", ""):
        table.add_column(name)
    for test in clear[:_MOST_TESTS]:
        table.add_row(
            Text(_short(test["group"])).append(f" ({test['slice']})", "dim"),
            f"{test['rows']:,}",
            test["score"],
            number(test["difference"], digits[test["score"]], "+"),
            p_value(test["adjusted"]),
            _verdict(test),
        )
    console.print(table)


def _show_flipped(comparison: Mapping[str, Any], console: Console) -> None:
    if comparison["flipped"] is None:
        return
    for name, title in (("to_wrong", "right before, wrong now"), ("to_right", "wrong before, right now")):
        rows = comparison["flipped"][name]
        more = f"; the {_MOST_LISTED} whose loss changed most" if len(rows) > _MOST_LISTED else ""
        console.print(Text(f"{len(rows):,} {title}{more}", "bold"))
        for row in rows[:_MOST_LISTED]:
            answers = f"{row['target']}: {row['reference']} → {row['run']}" if "target" in row else ""
            console.print(Text(f"  {row['id']}  ").append(answers, "dim"), soft_wrap=True)
    console.print()
