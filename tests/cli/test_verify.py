"""`reprise verify`: the scores beside those that were recorded."""

import io

from rich.console import Console

from pipeline.cli import verify as verify_command
from pipeline.lifecycle.verify import Score


def test_scores_stand_beside_those_recorded_with_the_decimals_that_tell() -> None:
    scores = (
        Score("test", "perplexity", 1234.56, 1200.0, 1260.2, 1231.5),
        Score("test", "mse", 0.000123, 0.0001, 0.00015, 0.000124),
        Score("test", "auroc", None, None, None, 0.5),
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(verify_command._table(scores))
    rows = [line.split() for line in console.export_text().splitlines() if line.strip().startswith("test/")]
    assert rows == [
        ["test/perplexity", "1,234.6", "1,200.0", "to", "1,260.2", "1,231.5", "−3.1"],
        ["test/mse", "0.000123", "0.000100", "to", "0.000150", "0.000124", "+0.000001"],
        ["test/auroc", "–", "–", "0.5000", "–"],
    ]
