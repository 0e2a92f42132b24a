"""What the scores say in plain words, from reports/evaluation.json alone: no torch, no model."""

from collections.abc import Mapping
from typing import Any

from pipeline.scores import decimals, fitting, gain, is_share, number, readable

Metrics = Mapping[str, Any]
"""What reports/evaluation.json holds."""

NO_INTERVAL = "no interval: every resample gives the same"


def headline_score(metrics: Metrics) -> str:
    """The score that a headline names: the task's first."""
    return str(next(iter(metrics["test"])))


def strongest(metrics: Metrics) -> str | None:
    """The baseline with the best test score; None where a task has no baselines."""
    score = headline_score(metrics)
    values = {name: found[score]["value"] for name, found in metrics["baselines"].items()}
    # Of equals the later one: tasks name the strongest method last.
    return max(
        reversed(values), key=lambda name: -1e300 if values[name] is None else gain(score, values[name]), default=None
    )


def places(metrics: Metrics) -> dict[str, int]:
    """With how many decimals the numbers of each score stand below each other; see `pipeline.scores.decimals`."""
    parties = [metrics["test"], metrics["validation"], *metrics["baselines"].values()]
    return {
        score: decimals((party[score]["value"] for party in parties if score in party), score)
        for score in metrics["test"]
    }


def places_of_runs(comparison: Mapping[str, Any]) -> dict[str, int]:
    """Likewise for what `lifecycle.compare` found, with one decimal more: such runs are near each other."""
    runs = [run["scores"] for run in comparison["runs"]]
    return {score: decimals((run[score]["value"] for run in runs), score, more=1) for score in runs[0]}


def more_than_noise(difference: Mapping[str, float | None]) -> bool:
    """Whether the whole interval of a difference lies on one side of zero."""
    low, high = difference["low"], difference["high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def p_value(value: float | None) -> str:
    """``"0.013"``, ``"< 0.001"``; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def compared(metrics: Metrics) -> dict[str, float]:
    """What metrics/evaluation.json holds: the few numbers by which people compare experiments with DVC.

    The test scores, the first with its interval; the first score of the strongest baseline; by how much the model
    leads it, paired, with the interval. Flat and with short names, as each is a column of `dvc metrics show`; without
    what is not defined.
    """
    score, baseline = headline_score(metrics), strongest(metrics)
    ours = metrics["test"]
    found = {name: interval["value"] for name, interval in ours.items()}
    found |= {f"{score}_low": ours[score]["low"], f"{score}_high": ours[score]["high"]}
    if baseline is not None:
        lead = metrics["versus"][baseline][score]
        found["baseline"] = metrics["baselines"][baseline][score]["value"]
        found |= {"lead": lead["difference"], "lead_low": lead["low"], "lead_high": lead["high"]}
    return {name: value for name, value in found.items() if value is not None}


def headline(metrics: Metrics) -> str:
    """One sentence: the test score with its interval, and whether it is better than the strongest baseline."""
    score, baseline = headline_score(metrics), strongest(metrics)
    found = metrics["test"][score]
    sentence = f"Test {score.replace('_', ' ')} is {readable(score, found['value'])}"
    if found["low"] is not None:
        level = f"{metrics['confidence_level'] * 100:g}%"
        sentence += f" ({level} interval {readable(score, found['low'])} to {readable(score, found['high'])})"
    elif found["value"] is not None:
        sentence += f" ({NO_INTERVAL} score)"
    if baseline is not None:
        sentence += f", {_comparison(metrics['versus'][baseline][score], score, baseline)}"
    return f"{sentence}."


def _comparison(versus: Mapping[str, float | None], score: str, baseline: str) -> str:
    difference, low, high = versus["difference"], versus["low"], versus["high"]
    against = f"the strongest baseline, {baseline}"
    if difference is None:
        return f"which cannot be compared with {against}"
    if low is None or high is None:
        if difference == 0:
            return f"the same as {against}, in every resample"
        return f"{_signed(score, difference)} against {against} ({NO_INTERVAL} difference)"
    points = f"{_signed(score, difference)} ({_signed(score, low, '')} to {_signed(score, high, '')})"
    if more_than_noise(versus):
        return f"{'better' if gain(score, low) > 0 else 'worse'} than {against}, by more than noise: {points}"
    word = "worse" if gain(score, difference) < 0 else "better"
    return f"not clearly {word} than {against}: the difference of {points} may be noise"


def _signed(score: str, value: float, unit: str = " points") -> str:
    return f"{number(value * 100, 1, '+')}{unit}" if is_share(score) else fitting(score, value, "+")


def on_other_targets(comparison: Mapping[str, Any]) -> str:
    """What a comparison of two runs has to warn of where a mean is over other targets; empty where it is not."""
    found = comparison["other_targets"]
    if found is None:
        return ""
    theirs, ours = found["targets"]
    instead = " Compare bits_per_byte instead." if "bits_per_byte" in comparison["differences"] else ""
    return (
        f"Not to be compared: {', '.join(found['scores'])}. They are means over targets, of which these rows have "
        f"{theirs:,} in the reference and {ours:,} in the run: another tokenizer or length makes others.{instead}"
    )
