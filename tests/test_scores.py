"""What a score's name says."""

import pytest

from pipeline.scores import ends_at_one, gain, is_share, less_is_better, percent, readable


@pytest.mark.parametrize("name", ["loss", "perplexity", "calibration_error", "bits_per_byte", "mse", "mae", "my_error"])
def test_less_is_better(name: str) -> None:
    assert less_is_better(name)
    assert not is_share(name)
    assert gain(name, 0.5) == -0.5
    assert gain(name, 0.0) == 0.0


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "precision", "exact_match", "rouge1", "token_accuracy"])
def test_shares_are_read_in_percent(name: str) -> None:
    assert is_share(name)
    assert ends_at_one(name)
    assert gain(name, 0.5) == 0.5
    assert readable(name, 0.8012) == "80.1%"


def test_other_scores_are_read_as_numbers() -> None:
    assert readable("perplexity", 12.345678) == "12.35"
    assert ends_at_one("pearson")
    assert not ends_at_one("bleu")
    assert readable("pearson", -0.25) == "−0.25"
    assert readable("bleu", None) == "–"


def test_percent() -> None:
    assert [percent(value) for value in (0.8012, 0.0, 1.0, None)] == ["80.1%", "0.0%", "100.0%", "–"]
