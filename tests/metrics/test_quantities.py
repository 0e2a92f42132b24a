"""The correlations are SciPy's."""

import numpy as np
import pytest
from scipy import stats

from pipeline.metrics.quantities import pearson, spearman


def test_both_are_what_scipy_computes() -> None:
    draw = np.random.default_rng(0)
    target = np.round(draw.random(200) * 5, 1).astype(np.float32)
    prediction = (target + draw.normal(size=200) + 1000).astype(np.float32)
    both = target.astype(np.float64), prediction.astype(np.float64)
    assert pearson(target, prediction) == pytest.approx(stats.pearsonr(*both).statistic, abs=1e-9)
    assert spearman(target, prediction) == pytest.approx(stats.spearmanr(*both).statistic, abs=1e-9)


def test_a_constant_column_has_no_correlation() -> None:
    varied = np.arange(5.0)
    for constant in (np.full(5, 0.1), np.full(5, 1e9, np.float32)):
        assert np.isnan(pearson(varied, constant))
        assert np.isnan(spearman(constant, varied))
