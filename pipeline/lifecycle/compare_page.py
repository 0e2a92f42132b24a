"""The comparison as one page that opens offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation import figures, page
from pipeline.evaluation.look import Drawing
from pipeline.evaluation.verdict import on_other_targets, p_value, places_of_runs
from pipeline.lifecycle.compare import Comparison
from pipeline.scores import ends_at_one, less_is_better, number

_TEMPLATE = Path(__file__).with_name("compare.html.j2")
_MOST_FLIPPED = 50
_MOST_TESTS = 40


def render(comparison: Comparison) -> str:
    """The page. Nothing in it comes from outside, and nothing in it runs."""
    reference, digits = comparison["runs"][0]["name"], places_of_runs(comparison)
    return page.template(_TEMPLATE).render(
        comparison=comparison,
        reference=reference,
        level=f"{comparison['confidence_level'] * 100:g}%",
        figures=[_figure(found, reference) for found in comparison["comparisons"]],
        number=lambda score, value: number(value, digits[score]),
        signed=lambda score, value: number(value, digits[score], "+"),
        p_value=p_value,
        on_other_targets=on_other_targets,
        less_is_better=less_is_better,
        most_flipped=_MOST_FLIPPED,
        most_tests=_MOST_TESTS,
    )


def _figure(found: Mapping[str, Any], reference: str) -> Drawing | None:
    """The differences of the scores that end at 1; None if there is none, as others have no common axis."""
    if not any(map(ends_at_one, found["differences"])):
        return None
    differences = {
        score: {name: difference[name] for name in ("difference", "low", "high")}
        for score, difference in found["differences"].items()
    }
    return figures.differences(differences, reference, found["name"])
