"""The gate: what passes, what does not, and where nobody can tell."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.examples import Examples
from pipeline.lifecycle.gate import Check, Verdict, judge
from pipeline.params import Promotion
from pipeline.tasks.causal_lm import CausalLM
from pipeline.tasks.text_classification import TextClassification
from pipeline.tasks.text_regression import TextRegression

TASK = TextClassification(("bad", "good"))
RESAMPLES = 300


def answered(right: np.ndarray, slices: dict[str, np.ndarray] | None = None) -> Examples:
    """Examples of two labels by turns, answered rightly where `right` says so."""
    rows = len(right)
    target = np.arange(rows) % 2
    predictions = {
        "target": target,
        "prediction": np.where(right, target, 1 - target),
        "score": np.full(rows, 0.8),
        "loss": np.where(right, 0.2, 1.6),
    }
    names = np.array([str(row) for row in range(rows)], dtype=object)
    return Examples(TASK, names, names, predictions, slices or {})


def wrong(rows: int, *places: range) -> np.ndarray:
    """All right but for these places."""
    right = np.ones(rows, bool)
    for place in places:
        right[list(place)] = False
    return right


def decided(candidate: Examples, champion: Examples | None, *earlier: Examples, **settings: object) -> Verdict:
    return judge(candidate, champion, earlier, Promotion.model_validate(settings), RESAMPLES)


def only(verdict: Verdict) -> Check:
    (check,) = verdict.checks
    return check


CHAMPION = answered(wrong(1000, range(200)))
BETTER = answered(wrong(1000, range(140)))
WORSE = answered(wrong(1000, range(260)))


# The score that decides


def test_a_clear_gain_passes_with_its_bound() -> None:
    verdict = decided(BETTER, CHAMPION)
    check = only(verdict)
    assert verdict.passed
    assert check.outcome == "held"
    assert check.value == pytest.approx(0.06)
    assert check.low is not None
    assert 0.03 < check.low < 0.06


def test_a_loss_does_not_pass() -> None:
    verdict = decided(WORSE, CHAMPION)
    assert not verdict.passed
    assert (only(verdict).outcome, only(verdict).reason) == ("broken", "−0.060 is no gain")


def test_a_tie_is_not_better_but_non_inferior() -> None:
    assert not decided(CHAMPION, CHAMPION).passed
    assert decided(CHAMPION, CHAMPION, required="non-inferior", margin=0.01).passed


def test_a_gain_that_may_be_noise_does_not_pass() -> None:
    # Two rows more of a thousand, in five that one has right and three the other.
    candidate = answered(wrong(1000, range(5, 200), range(300, 303)))
    verdict = decided(candidate, CHAMPION)
    assert not verdict.passed
    assert "may be noise" in only(verdict).reason


def test_a_gain_on_a_handful_of_rows_is_no_evidence() -> None:
    assert not decided(answered(wrong(5)), answered(wrong(5, range(3)))).passed


def test_noise_passes_no_more_often_than_it_may() -> None:
    draw, passed = np.random.default_rng(1), 0
    for _ in range(100):
        ours, theirs = (answered(draw.random(300) < 0.8) for _ in range(2))
        passed += judge(ours, theirs, [], Promotion(), 200).passed
    assert passed <= 12, "5% of 100 is 5; more than 12 has a probability of 0.1%"


def test_a_champion_that_does_not_know_a_label_leaves_a_decision_that_can_be_written() -> None:
    loss = np.where(np.arange(1000) == 3, np.inf, CHAMPION.predictions["loss"])
    champion = replace(CHAMPION, predictions={**CHAMPION.predictions, "loss": loss})
    verdict = decided(BETTER, champion, metric="loss", guarded={"loss": 0.1})
    assert verdict.passed
    assert [(check.value, check.low) for check in verdict.checks] == [(None, None)] * 2


def test_a_high_confidence_gets_the_resamples_that_it_needs() -> None:
    """Among the 300 resamples that were asked for, the least of all would be the bound."""
    ours, theirs = (answered(np.random.default_rng(seed).random(2000) < 0.8) for seed in (1, 2))
    few, many = (judge(ours, theirs, [], Promotion(confidence_level=0.999), number) for number in (300, 10_000))
    assert few == many


def test_the_loss_is_guarded_against_a_rise() -> None:
    (_, check) = decided(BETTER, CHAMPION, guarded={"loss": 0.1}).checks
    assert check.rule == "loss rose by at most 0.1"
    assert check.outcome == "held"


def test_another_score_may_decide_the_loss_included() -> None:
    assert decided(BETTER, CHAMPION, metric="mcc").passed
    assert decided(BETTER, CHAMPION, metric="loss").passed
    assert not decided(WORSE, CHAMPION, metric="loss").passed


# Creeping


def test_margins_do_not_add_up_over_champions() -> None:
    """Each is a little worse than the one before, by less than the margin; together they are worse by more."""
    row = [answered(wrong(2000, range(200 + 30 * step))) for step in range(4)]
    settings = {"required": "non-inferior", "margin": 0.03}
    assert decided(row[1], row[0], **settings).passed
    # Against the champion alone every step would pass.
    assert decided(row[2], row[1], **settings).passed
    assert decided(row[3], row[2], **settings).passed
    verdict = decided(row[3], row[2], row[0], row[1], **settings)
    assert not verdict.passed
    assert only(verdict).value == pytest.approx(-0.045)


def test_the_margin_is_a_point_of_a_score_that_ends_at_one() -> None:
    row = [answered(wrong(60_000, range(6000 + step))) for step in (0, 300, 900)]
    assert decided(row[1], row[0], required="non-inferior").passed
    assert only(decided(row[2], row[0], required="non-inferior")).limit == -0.01
    assert not decided(row[2], row[0], required="non-inferior").passed


def test_the_margin_of_another_score_is_the_users_to_say() -> None:
    loss = {"required": "non-inferior", "metric": "loss"}
    with pytest.raises(UserError, match=r"promotion.margin: how much worse a model may be by loss .*\nSet it"):
        decided(BETTER, CHAMPION, **loss)
    assert decided(BETTER, CHAMPION, **loss, margin=0.1).passed
    assert decided(BETTER, CHAMPION, metric="loss").passed, "what must be better needs no margin"


def test_better_is_counted_against_the_champion() -> None:
    assert decided(CHAMPION, WORSE, BETTER).passed


# Non-inferiority and too few rows


def test_too_few_rows_cannot_tell_and_the_settings_decide() -> None:
    few = answered(wrong(40, range(8)))
    settings = {"required": "non-inferior", "margin": 0.02}
    assert only(decided(few, few, **settings)).outcome == "cannot tell"
    assert not decided(few, few, **settings).passed
    assert decided(few, few, **settings, on_uncertain="accept").passed


def test_what_fell_by_the_margin_is_no_matter_of_few_rows() -> None:
    verdict = decided(
        answered(wrong(40, range(12))),
        answered(wrong(40, range(8))),
        required="non-inferior",
        margin=0.02,
        on_uncertain="accept",
    )
    assert only(verdict).outcome == "broken"
    assert not verdict.passed


def test_rows_that_suffice_and_still_leave_it_open_are_against_it() -> None:
    candidate = answered(wrong(1000, range(212)))
    check = only(decided(candidate, CHAMPION, required="non-inferior", margin=0.015, on_uncertain="accept"))
    assert check.outcome == "broken"
    assert check.value == pytest.approx(-0.012)


# Guarded scores and slices


def sliced(examples: Examples) -> Examples:
    half = np.where(np.arange(1000) < 500, "short", "long").astype(object)
    return Examples(examples.task, examples.ids, examples.keys, examples.predictions, {"length": half})


def test_a_guarded_slice_that_is_worse_stops_a_model_that_is_better() -> None:
    # 160 rows mended among the short ones, 60 broken among the long ones.
    candidate = sliced(answered(wrong(1000, range(40), range(500, 560))))
    champion = sliced(CHAMPION)
    assert decided(candidate, champion).passed
    verdict = decided(candidate, champion, guarded={"accuracy on length": 0.05})
    assert not verdict.passed
    by_rule = {check.rule.split(" fell")[0]: check for check in verdict.checks[1:]}
    assert by_rule["accuracy on length=short"].outcome == "held"
    assert by_rule["accuracy on length=long"].outcome == "broken"
    assert by_rule["accuracy on length=long"].value == pytest.approx(-0.12)
    assert decided(candidate, champion, guarded={"accuracy on length=short": 0.05}).passed


def test_a_guarded_score_within_its_margin_passes() -> None:
    verdict = decided(sliced(BETTER), sliced(CHAMPION), guarded={"f1_macro": 0.02, "mcc on length=long": 0.05})
    assert verdict.passed, verdict
    assert [check.outcome for check in verdict.checks] == ["held"] * 3


def test_a_small_slice_cannot_tell_even_if_no_row_changed() -> None:
    rare = np.where(np.arange(1000) < 990, "often", "rare").astype(object)
    ours, theirs = (
        Examples(found.task, found.ids, found.keys, found.predictions, {"kind": rare}) for found in (BETTER, CHAMPION)
    )
    verdict = decided(ours, theirs, guarded={"accuracy on kind": 0.05})
    outcomes = {check.rule.split(" fell")[0]: check.outcome for check in verdict.checks}
    assert outcomes["accuracy on kind=rare"] == "cannot tell"
    assert outcomes["accuracy on kind=often"] == "held"
    assert not verdict.passed
    assert decided(ours, theirs, guarded={"accuracy on kind": 0.05}, on_uncertain="accept").passed


def test_a_value_of_a_slice_without_rows_is_refused() -> None:
    """It may be misspelt, and a guard that nobody sees missing guards nothing."""
    with pytest.raises(UserError, match=r"no test row has the length 'huge'; there is "):
        decided(sliced(BETTER), sliced(CHAMPION), guarded={"accuracy on length=huge": 0.05})


def test_many_guards_are_corrected_after_holm() -> None:
    """Alone, a slice holds its margin; among many that do not, it must do so with more confidence."""
    draw = np.random.default_rng(3)
    names = np.array([f"s{row % 10}" for row in range(3000)], dtype=object)
    base = draw.random(3000) < 0.7
    other = np.where(draw.random(3000) < 0.1, ~base, base)
    ours, theirs = answered(other, {"s": names}), answered(base, {"s": names})
    alone = decided(ours, theirs, guarded={"accuracy on s=s0": 0.09}).checks[1]
    many = decided(ours, theirs, guarded={"accuracy on s": 0.09}).checks[1:]
    assert len(many) == 10
    assert alone.confidence == pytest.approx(0.95)
    left = sum(check.outcome != "held" for check in many)
    assert left > 1, "the test needs slices that are not held"
    for check in many:
        if check.outcome != "held":
            assert check.confidence == pytest.approx(1 - 0.05 / left), "tested among those that are left"
        else:
            assert check.confidence >= 1 - 0.05 / left


# Floors


def test_with_no_champion_the_floors_alone_decide() -> None:
    assert decided(WORSE, None) == Verdict(True, ())
    assert decided(CHAMPION, None, floors={"accuracy": 0.75}, guarded={"accuracy": 0.01}).passed
    verdict = decided(CHAMPION, None, floors={"accuracy": 0.75, "mcc": 0.9})
    assert [check.outcome for check in verdict.checks] == ["held", "broken"]
    assert not verdict.passed


def test_a_floor_must_hold_beyond_noise() -> None:
    few = answered(wrong(50, range(10)))
    verdict = decided(few, None, floors={"accuracy": 0.78})
    assert only(verdict).outcome == "cannot tell"
    assert not verdict.passed
    assert decided(few, None, floors={"accuracy": 0.78}, on_uncertain="accept").passed
    assert not decided(few, None, floors={"accuracy": 0.81}, on_uncertain="accept").passed


def test_a_floor_stops_a_model_that_is_better() -> None:
    assert not decided(BETTER, CHAMPION, floors={"accuracy": 0.9}).passed


def test_a_perfect_score_has_a_bound_all_the_same() -> None:
    check = only(decided(answered(wrong(20)), None, floors={"f1_macro": 0.95}))
    assert check.outcome == "cannot tell"
    assert check.low == pytest.approx(0.05 ** (1 / 20))


# Settings that do not fit


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "acuracy"}, r"promotion.metric: there is no score 'acuracy'.*Did you mean 'accuracy'\?"),
        ({"floors": {"los": 0.5}}, r"promotion.floors: there is no score 'los'.*Did you mean 'loss'\?"),
        ({"guarded": {"f2": 0.5}}, r"promotion.guarded: there is no score 'f2'"),
        ({"guarded": {"accuracy on lenght": 0.5}}, r"no slice 'lenght'; there is length. Did you mean 'length'\?"),
    ],
)
def test_a_name_that_is_not_there_is_told(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        decided(sliced(BETTER), sliced(CHAMPION), **settings)


def test_the_same_inputs_give_the_same_verdict() -> None:
    settings = {"guarded": {"mcc": 0.05, "accuracy on length": 0.05}, "floors": {"f1_macro": 0.7}}
    assert decided(sliced(BETTER), sliced(CHAMPION), **settings) == decided(
        sliced(BETTER), sliced(CHAMPION), **settings
    )


# Tasks without labels, and scores that are no shares


def measured(error: float, rows: int = 400) -> Examples:
    """Numbers that are told with an error of about this size."""
    draw = np.random.default_rng(5)
    target = draw.uniform(0, 5, rows)
    prediction = target + error * draw.normal(0, 1, rows)
    names = np.array([str(row) for row in range(rows)], dtype=object)
    found = {"target": target, "prediction": prediction, "loss": np.square(prediction - target)}
    return Examples(TextRegression(), names, names, found, {})


def read(surprise: float, rows: int = 400, tokens: int = 20) -> Examples:
    """Texts of so many tokens and 100 bytes, each token of which surprises by so many nats, more or less."""
    draw = np.random.default_rng(6)
    loss = tokens * (surprise + 0.05 * draw.normal(0, 1, rows))
    names = np.array([str(row) for row in range(rows)], dtype=object)
    found = {"loss": loss, "targets": np.full(rows, tokens), "bytes": np.full(rows, 100)}
    return Examples(CausalLM(), names, names, found, {})


def test_a_regression_is_judged_by_its_correlation_and_a_floor_of_an_error_is_the_most() -> None:
    better, worse = measured(0.5), measured(1.0)
    assert decided(better, worse, floors={"mse": 0.4, "pearson": 0.9}, guarded={"mae": 0.1}).passed
    assert not decided(worse, better).passed
    above = only(decided(better, None, floors={"mse": 0.1}))
    assert (above.rule, above.outcome) == ("mse is at most 0.1", "broken")
    near = only(decided(better, None, floors={"mse": 0.26}))
    assert near.outcome == "cannot tell"
    assert near.low is not None and near.value is not None
    assert near.value < 0.26 < near.low, "what an error may be lies above it"


def test_a_perplexity_must_fall_and_may_have_a_floor_and_a_margin_above_one() -> None:
    better, worse = read(3.0), read(3.1)
    gained = decided(better, worse, floors={"perplexity": 25}, guarded={"bits_per_byte": 0.05})
    assert gained.passed
    first = next(iter(gained.checks))
    assert first.rule == "perplexity is at most 25"
    assert re.fullmatch(r"20\.\d\d, and surely 2\d\.\d\d", first.reason), "with as many decimals as tell"
    assert not decided(worse, better).passed
    near = {"required": "non-inferior", "metric": "perplexity"}
    assert decided(worse, better, margin=4, **near).passed
    assert not decided(worse, better, margin=1, **near).passed
    assert only(decided(worse, better, margin=4, **near)).rule.startswith("perplexity is at most 4 above")


def test_perplexities_of_other_tokenizers_are_refused_and_bits_per_byte_are_compared() -> None:
    # Half as many tokens, each of which surprises more: a higher perplexity, and fewer bits a byte.
    ours, theirs = read(5.0, tokens=10), read(3.0)
    said = (
        r"^promotion\.metric: perplexity cannot be compared: it is a mean over 4,000 targets of the candidate and "
        r"8,000 of the champion in the same rows, as with another tokenizer\.\nJudge by bits_per_byte\.$"
    )
    with pytest.raises(UserError, match=said):
        decided(ours, theirs)
    with pytest.raises(UserError, match=r"^promotion\.guarded: loss cannot be compared"):
        decided(ours, theirs, metric="bits_per_byte", guarded={"loss": 1})
    assert decided(ours, theirs, metric="bits_per_byte", guarded={"bits_per_byte": 0.1}).passed
    assert decided(ours, None, floors={"perplexity": 200}).passed, "a floor compares nothing"


def test_earlier_champions_with_other_tokenizers_are_none_to_compare_with() -> None:
    settings = Promotion(required="non-inferior", margin=1, metric="perplexity")
    ours, theirs, other = read(3.0), read(3.01), read(1.0, tokens=40)
    assert judge(ours, theirs, [other], settings, 200).passed
    assert not judge(ours, theirs, [read(1.0)], settings, 200).passed


def test_rows_that_nobody_saw_count_as_much_as_a_row_does() -> None:
    same = read(3.0, rows=40)
    check = only(decided(same, same, required="non-inferior", margin=0.5))
    share = 1 - 0.05 ** (1 / 40)
    assert check.low == pytest.approx(-share * same.task.scores(same.predictions)["perplexity"])
    assert check.outcome == "cannot tell"
