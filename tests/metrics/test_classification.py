from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from scdrug.metrics import (
    accuracy,
    auprc,
    auroc,
    balanced_accuracy,
    f1,
    mcc,
    per_drug_auprc,
    per_drug_auroc,
    per_drug_prevalence,
    prevalence,
)


def _labels(seed: int, shape: tuple[int, ...] = (40, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and labels with gaps; both classes occur for every drug."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(shape) < 0.3).astype(float)
    scores = np.round(labels + rng.normal(size=shape), 1)
    labels[rng.random(shape) < 0.2] = np.nan
    labels[0], labels[1] = 1, 0
    return scores, labels


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_pooled_ranking_metrics_agree_with_scikit_learn(seed: int) -> None:
    scores, labels = _labels(seed)
    seen = ~np.isnan(labels)
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels[seen], scores[seen]))
    assert auprc(scores, labels) == pytest.approx(reference.average_precision_score(labels[seen], scores[seen]))


def test_per_drug_ranking_metrics_are_means_over_drugs() -> None:
    scores, labels = _labels(0)
    for ours, theirs in (
        (per_drug_auroc, reference.roc_auc_score),
        (per_drug_auprc, reference.average_precision_score),
    ):
        expected = []
        for drug in range(6):
            seen = ~np.isnan(labels[:, drug])
            expected.append(theirs(labels[seen, drug], scores[seen, drug]))
        assert ours(scores, labels) == pytest.approx(np.mean(expected))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_decision_metrics_agree_with_scikit_learn(seed: int) -> None:
    scores, labels = _labels(seed)
    decisions = (scores > 0.5).astype(int)
    seen = ~np.isnan(labels)
    truth, call = labels[seen], decisions[seen]
    assert accuracy(decisions, labels) == pytest.approx(reference.accuracy_score(truth, call))
    assert balanced_accuracy(decisions, labels) == pytest.approx(reference.balanced_accuracy_score(truth, call))
    assert f1(decisions, labels) == pytest.approx(reference.f1_score(truth, call))
    assert mcc(decisions, labels) == pytest.approx(reference.matthews_corrcoef(truth, call))


def test_calling_everything_sensitive_shows_how_little_accuracy_and_f1_say() -> None:
    """950 of 1,302 cells are sensitive in GSE117872: the constant call reaches the published scores."""
    labels = np.repeat([1.0, 0.0], [950, 352])
    constant = np.ones_like(labels)
    assert accuracy(constant, labels) == pytest.approx(0.7296, abs=1e-4)
    assert f1(constant, labels) == pytest.approx(0.8437, abs=1e-4)
    assert balanced_accuracy(constant, labels) == 0.5
    assert mcc(constant, labels) == 0
    assert auroc(constant, labels) == 0.5
    assert auprc(constant, labels) == pytest.approx(prevalence(labels))


def test_scores_in_reverse_mirror_the_area() -> None:
    scores, labels = _labels(1)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))


def test_only_the_order_of_scores_counts() -> None:
    scores, labels = _labels(2)
    for metric in (auroc, auprc, per_drug_auroc, per_drug_auprc):
        assert metric(np.exp(scores), labels) == pytest.approx(metric(scores, labels))


def test_drugs_of_one_class_do_not_count() -> None:
    scores, labels = _labels(3)
    all_but_two = per_drug_auroc(scores[:, 2:], labels[:, 2:])
    labels[:, 0] = 1
    labels[:, 1] = np.nan
    assert per_drug_auroc(scores, labels) == pytest.approx(all_but_two)
    assert per_drug_prevalence(labels) == pytest.approx(np.nanmean(labels[:, 2:], axis=0).mean())
    assert np.isnan(per_drug_auroc(scores[:, :1], labels[:, :1]))


def test_no_right_call_gives_zero_and_a_single_class_is_defined() -> None:
    assert f1(np.array([0, 0]), np.array([1, 0])) == 0
    assert balanced_accuracy(np.array([1, 0, 1]), np.array([1, 1, 1])) == pytest.approx(2 / 3)
    assert mcc(np.array([1, 0]), np.array([1, 1])) == 0


def test_bad_input_is_refused_with_the_reason() -> None:
    scores, labels = _labels(4)
    with pytest.raises(ValueError, match="All 3 known entries are sensitive"):
        auroc(np.arange(4.0), np.array([1, 1, 1, np.nan]))
    with pytest.raises(ValueError, match="binarize_response"):
        auroc(scores, labels + 0.5)
    with pytest.raises(ValueError, match="Compare scores with a threshold"):
        accuracy(scores, labels)
    with pytest.raises(ValueError, match="no finite prediction"):
        auprc(np.where(labels == 1, np.nan, scores), labels)
    with pytest.raises(ValueError, match="shape"):
        mcc(scores[:2], labels)
    with pytest.raises(ValueError, match="Nothing was observed"):
        prevalence(np.full(3, np.nan))
    with pytest.raises(ValueError, match="lines × drugs"):
        per_drug_auroc(scores[:, 0], labels[:, 0])
