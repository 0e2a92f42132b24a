"""The gate: whether a candidate may replace the champion, from what both answered to the same rows.

A rule is held only if a one-sided bound says so, so noise passes nothing:

- a floor: the lower bound of the score is not below it; of a score of which less is better, the upper bound is not
  above it;
- the score that decides: the lower bound of the gain over the champion is above zero, and of accuracy McNemar's test
  agrees, which is right where few rows differ, too; or, if non-inferiority is enough, above minus the margin, and
  counted against the best of all champions on these rows, or else each could be a margin worse than the one before;
- a guarded score or slice: the lower bound of its gain over the champion is above minus its margin. So many bounds
  hold together with the confidence of one, after Holm, "A Simple Sequentially Rejective Multiple Test Procedure",
  Scandinavian Journal of Statistics 6 (1979), pages 65-70.

Where a bound falls short because the rows are too few, and not because the model is worse, nobody can tell, and
`on_uncertain` decides. A bootstrap cannot see errors that did not occur: no bound is taken for nearer to its value
than the share of rows that may err though none of as many did (Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is
Everything All Right?", JAMA 249 (1983), pages 1743-1745). A row weighs 1 there, as in a share, or as much as the rows
do on average where that is more, as in a perplexity.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.errors import UserError, did_you_mean
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.paired import Pair, mcnemar, per_other_targets
from pipeline.evaluation.statistics import Resampled, intervals
from pipeline.params import Promotion
from pipeline.scores import ends_at_one, fitting, gain, is_share, less_is_better

Outcome = Literal["held", "broken", "cannot tell"]
_ON, _IS = " on ", "="
# A point of a score that ends at 1.
_POINT = 0.01
# A bound needs so many resamples beyond it.
_RESAMPLES_IN_TAIL = 10


@dataclass(frozen=True)
class Check:
    """One rule, and what came of it.

    Attributes:
        rule: what is asked.
        value: the score, or its gain over the champion; None if there is no row, or it is infinite, as the loss of a
            champion that does not know a label.
        low: its one-sided lower bound, likewise; the upper one where a score must be at most something.
        limit: what the bound must not fall short of, or not exceed.
        confidence: of the bound; higher than what was asked where many bounds must hold together.
        rows: how many rows tell.
        reason: the outcome in words.
    """

    rule: str
    outcome: Outcome
    value: float | None
    low: float | None
    limit: float
    confidence: float
    rows: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says."""

    passed: bool
    checks: tuple[Check, ...]


def judge(
    candidate: Examples, champion: Examples | None, earlier: Sequence[Examples], settings: Promotion, n_resamples: int
) -> Verdict:
    """Whether the candidate may become champion.

    Args:
        champion: its answers to the same rows in the same order; None if there is no champion.
        earlier: likewise those of earlier champions; those that count by other targets are left out.

    Raises:
        UserError: the settings name a score or a slice that there is not, or one that the two count by other targets.
    """
    _check_names(candidate, settings)
    if champion is not None:
        _check_targets(candidate, champion, settings)
    champion = None if champion is None else _scored_as(candidate, champion)
    score = [primary(candidate, settings)]
    earlier = [_scored_as(candidate, one) for one in earlier if not per_other_targets(candidate, one, score)]
    n_resamples = _enough(n_resamples, 1 - settings.confidence_level)
    checks = list(_floors(candidate, settings, n_resamples))
    if champion is not None:
        checks.append(_decisive(candidate, champion, earlier, settings, n_resamples))
        checks += _guarded(candidate, champion, settings, n_resamples)
    accepted = {"held", "cannot tell"} if settings.on_uncertain == "accept" else {"held"}
    written = (replace(check, value=_finite(check.value), low=_finite(check.low)) for check in checks)
    return Verdict(all(check.outcome in accepted for check in checks), tuple(written))


def _scored_as(candidate: Examples, other: Examples) -> Examples:
    """With the metrics of the user's own that the candidate is judged by, which it may be older than."""
    return replace(other, task=replace(other.task, metrics=candidate.task.metrics))


def primary(candidate: Examples, settings: Promotion) -> str:
    """The score that decides."""
    return settings.metric or candidate.task.score_names[0]


def _floors(candidate: Examples, settings: Promotion, n_resamples: int) -> Iterator[Check]:
    if not settings.floors:
        return
    level = settings.confidence_level
    resampled = Pair.of(candidate, candidate, n_resamples).ours
    for score, floor in settings.floors.items():
        value, worst = resampled.values[score], _worst(resampled, score, level)
        short = gain(score, value - floor) < 0
        outcome: Outcome = "broken" if short else "held" if gain(score, worst - floor) >= 0 else "cannot tell"
        rule, bad, good = ("most", "above", "below") if less_is_better(score) else ("least", "below", "above")
        reason = {
            "held": f"{fitting(score, value)}, and surely {fitting(score, worst)}",
            "broken": f"{fitting(score, value)} is {bad} it",
            "cannot tell": f"{fitting(score, value)} is {good} it, but with {len(candidate):,} rows it may be "
            f"{fitting(score, worst)}",
        }[outcome]
        yield Check(f"{score} is at {rule} {floor:g}", outcome, value, worst, floor, level, len(candidate), reason)


def _decisive(
    candidate: Examples, champion: Examples, earlier: Sequence[Examples], settings: Promotion, n_resamples: int
) -> Check:
    score, level, rows = primary(candidate, settings), settings.confidence_level, len(candidate)
    if settings.required == "better":
        pair = Pair.of(candidate, champion, n_resamples)
        gained, low = _gain(pair, score), _low(pair, score, level)
        held = low > 0 and (score != pair.ours.share_of_rows or mcnemar(pair.won, pair.lost) / 2 <= 1 - level)
        found, worst = (fitting(score, number, "+") for number in (gained, low))
        noise = f"{found} is no gain" if gained <= 0 else f"{found} may be noise: it may be {worst}"
        reason = f"{found}, and surely above {worst}" if held else noise
        outcome: Outcome = "held" if held else "broken"
        return Check(f"{score} is better than the champion's", outcome, gained, low, 0.0, level, rows, reason)
    margin = _margin(score, settings)
    best = max([champion, *earlier], key=lambda found: gain(score, found.task.all_scores(found.predictions)[score]))
    side = "above" if less_is_better(score) else "below"
    rule = f"{score} is at most {margin:g} {side} that of the best champion on these rows"
    return _not_worse(rule, Pair.of(candidate, best, n_resamples), score, margin, level)


def _margin(score: str, settings: Promotion) -> float:
    """How much worse than the best champion a model that is non-inferior may be."""
    if settings.margin is not None:
        return settings.margin
    if ends_at_one(score):
        return _POINT
    raise UserError(
        f"params.yaml: promotion.margin: how much worse a model may be by {score} and still count as no worse is yours "
        "to say.\nSet it, in units of this score, or set promotion.required: better."
    )


def _guarded(candidate: Examples, champion: Examples, settings: Promotion, n_resamples: int) -> list[Check]:
    """The guarded scores and slices, tested together."""
    asked = list(_places(candidate, settings.guarded))
    alpha = 1 - settings.confidence_level
    pairs = {
        name: Pair.of(candidate.take(places), champion.take(places), _enough(n_resamples, alpha / len(asked)))
        for name, _, _, places in asked
    }

    def check(name: str, score: str, margin: float, among: int) -> Check:
        rule = f"{name} {'rose' if less_is_better(score) else 'fell'} by at most {margin:g}"
        return _not_worse(rule, pairs[name], score, margin, 1 - alpha / among)

    # Holm's steps: all are tested at the level of as many as are not held yet, until no more are.
    found: dict[str, Check] = {}
    while len(found) < len(asked):
        among = len(asked) - len(found)
        tried = {name: check(name, score, margin, among) for name, score, margin, _ in asked if name not in found}
        if not (held := {name: one for name, one in tried.items() if one.outcome == "held"}):
            found |= tried
        found |= held
    return [found[name] for name, *_ in asked]


def _places(candidate: Examples, guarded: Mapping[str, float]) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Name, score, margin and rows of everything that is guarded; of a slice without a value, each value."""
    for name, margin in guarded.items():
        score, _, where = name.partition(_ON)
        if not where:
            yield score, score, margin, np.arange(len(candidate))
            continue
        column, given, value = where.partition(_IS)
        values = candidate.slices[column]
        for each in [value] if given else sorted(set(values.tolist()), key=str):
            yield f"{score}{_ON}{column}{_IS}{each}", score, margin, np.flatnonzero(values == each)


def _not_worse(rule: str, pair: Pair, score: str, margin: float, level: float) -> Check:
    gained, low, rows = _gain(pair, score), _low(pair, score, level), pair.ours.examples
    found, worst = (fitting(score, number, "+") for number in (gained, low))
    if low > -margin:
        outcome, reason = "held", f"{found}, and surely above {worst}"
    elif gained <= -margin:
        outcome, reason = "broken", f"{found}: it is worse by as much or more"
    elif gained - low >= margin:
        outcome = "cannot tell"
        reason = f"{found}, but {rows:,} rows are too few: it may be {worst}"
    else:
        outcome, reason = "broken", f"{found}, and it may be {worst}"
    return Check(rule, outcome, gained, low, -margin, level, rows, reason)  # type: ignore[arg-type]


def _gain(pair: Pair, score: str) -> float:
    return gain(score, pair.ours.values[score] - pair.theirs.values[score])


def _low(pair: Pair, score: str, level: float) -> float:
    """The lower bound of a gain."""
    gained = _gain(pair, score)
    widest = gained - _unseen(pair.ours, score, level)
    bound = pair.bound(score, level)
    return widest if bound is None else min(bound, widest)


def _worst(resampled: Resampled, score: str, level: float) -> float:
    """The bound of a score on its bad side: the end of the interval that leaves as much on the other side."""
    value, unseen = resampled.values[score], _unseen(resampled, score, level)
    found = intervals(resampled, 2 * level - 1)[score]
    if less_is_better(score):
        return value + unseen if found["high"] is None else max(found["high"], value + unseen)
    return value - unseen if found["low"] is None else min(found["low"], value - unseen)


def _enough(n_resamples: int, alpha: float) -> int:
    """As many resamples, or more where so few of them would lie beyond a bound that it would be one of the last."""
    return max(n_resamples, math.ceil(_RESAMPLES_IN_TAIL / alpha))


def _unseen(resampled: Resampled, score: str, level: float) -> float:
    """What a score may be off by, since a share of the rows may be otherwise though none of these is."""
    share = 1.0 - float((1 - level) ** (1 / resampled.examples))
    return share * (1.0 if is_share(score) else max(1.0, abs(resampled.values[score])))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _check_targets(candidate: Examples, champion: Examples, settings: Promotion) -> None:
    asked = {
        primary(candidate, settings): "promotion.metric",
        **{name.partition(_ON)[0]: "promotion.guarded" for name in settings.guarded},
    }
    for score in per_other_targets(candidate, champion, asked):
        ours, theirs = (int(examples.predictions["targets"].sum()) for examples in (candidate, champion))
        others = [name for name in candidate.task.score_names if not per_other_targets(candidate, champion, [name])]
        raise UserError(
            f"{asked[score]}: {score} cannot be compared: it is a mean over {ours:,} targets of the candidate and "
            f"{theirs:,} of the champion in the same rows, as with another tokenizer.\n"
            + (f"Judge by {', '.join(others)}." if others else "Train with the champion's tokenizer.")
        )


def _check_names(candidate: Examples, settings: Promotion) -> None:
    scores = candidate.task.all_score_names
    asked = [("promotion.metric", primary(candidate, settings), (*scores, "loss"))]
    asked += [("promotion.floors", name, (*scores, "loss")) for name in settings.floors]
    for name in settings.guarded:
        score, _, where = name.partition(_ON)
        asked.append(("promotion.guarded", score, (*scores, "loss")))
        column, given, value = where.partition(_IS)
        if where and column not in candidate.slices:
            there = ", ".join(candidate.slices) or "none"
            raise UserError(
                f"params.yaml: promotion.guarded: '{name}': the test rows have no slice '{column}'; there is {there}."
                f"{did_you_mean(column, candidate.slices)}\nSlices are made by evaluate: see evaluate.slices."
            )
        if given and value not in (values := sorted(set(candidate.slices[column].tolist()), key=str)):
            raise UserError(
                f"params.yaml: promotion.guarded: '{name}': no test row has the {column} '{value}'; "
                f"there is {', '.join(map(str, values))}.{did_you_mean(value, map(str, values))}"
            )
    for key, name, known in asked:
        if name not in known:
            raise UserError(
                f"params.yaml: {key}: there is no score '{name}' here; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
