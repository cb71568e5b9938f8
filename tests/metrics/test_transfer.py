from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scdrug.metrics import transfer_correlation


def _five_lines(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(scale=3, size=40), rng.uniform(0.3, 3, size=40)
    observed = mean + sd * rng.normal(size=(5, 40))
    predicted = observed + sd * rng.normal(size=(5, 40))
    observed[rng.random((5, 40)) < 0.2] = np.nan
    observed[:, 3] = np.nan  # never measured in these lines
    observed[1:, 4] = np.nan  # measured once
    observed[0, 4] = 1.0
    return predicted, observed, mean, sd


def test_scores_follow_their_definition() -> None:
    predicted, observed, mean, sd = _five_lines()
    a, b = (predicted - mean) / sd, (observed - mean) / sd
    seen = ~np.isnan(b)
    score = transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd)
    assert score.flat == pytest.approx(stats.pearsonr(a[seen], b[seen]).statistic)
    a_centred, b_centred, kept = a.copy(), b.copy(), seen.copy()
    for drug in range(40):
        lines = seen[:, drug]
        kept[:, drug] &= lines.sum() > 1
        if lines.any():
            a_centred[:, drug] -= a[lines, drug].mean()
            b_centred[:, drug] -= b[lines, drug].mean()
    assert score.contrast == pytest.approx(stats.pearsonr(a_centred[kept], b_centred[kept]).statistic)


def test_drug_effects_count_in_flat_but_not_in_contrast() -> None:
    predicted, observed, mean, sd = _five_lines()
    shift = sd * np.random.default_rng(1).normal(scale=5, size=40)
    before = transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd)
    after = transfer_correlation(predicted + shift, observed, train_mean=mean, train_sd=sd)
    assert after.contrast == pytest.approx(before.contrast)
    assert after.flat < before.flat - 0.1


def test_unit_of_a_drug_does_not_matter() -> None:
    predicted, observed, mean, sd = _five_lines()
    factor = np.linspace(0.1, 10, 40)
    before = transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd)
    after = transfer_correlation(predicted * factor, observed * factor, train_mean=mean * factor, train_sd=sd * factor)
    assert after == pytest.approx(before)


def test_training_mean_scores_zero() -> None:
    _, observed, mean, sd = _five_lines()
    assert transfer_correlation(np.broadcast_to(mean, observed.shape), observed, train_mean=mean, train_sd=sd) == (
        0.0,
        0.0,
    )
    single = np.tile(mean.astype(np.float32), (5, 1))
    assert transfer_correlation(single, observed, train_mean=mean, train_sd=sd) == (0.0, 0.0)


def test_drugs_without_truth_need_no_training_statistics() -> None:
    predicted, observed, mean, sd = _five_lines()
    before = transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd)
    mean[3], sd[3] = np.nan, 0.0
    assert transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd) == before


def test_bad_input_is_refused_with_the_reason() -> None:
    predicted, observed, mean, sd = _five_lines()
    with pytest.raises(ValueError, match="`train_sd` must hold one value"):
        transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd[:3])
    with pytest.raises(ValueError, match="positive"):
        transfer_correlation(predicted, observed, train_mean=mean, train_sd=sd * 0)
    with pytest.raises(ValueError, match="no finite prediction"):
        transfer_correlation(predicted * np.nan, observed, train_mean=mean, train_sd=sd)
