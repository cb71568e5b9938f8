"""Plots of a screen and of the network that fills it."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import scdrug
from scdrug.model import MTIGCN, AdditiveMean


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def filled():
    """A screen with its model and predictions."""
    progress, scdrug.settings.progress = scdrug.settings.progress, False
    screen = scdrug.datasets.toy(n_lines=60)
    MTIGCN.setup_anndata(screen)
    model = MTIGCN(screen, n_hidden=8, n_latent=8)
    model.train(max_epochs=3)
    model.predict(screen)
    scdrug.settings.progress = progress
    return screen, model


def test_missing_pairs_shows_the_table_and_the_tested_lines(filled) -> None:
    screen, _ = filled
    ax = scdrug.pl.missing_pairs(screen, "trametinib", n_lines=5)
    table = scdrug.get.missing_pairs_df(screen, drugs="trametinib", n_lines=5)
    ranked, *tested = ax.lines
    np.testing.assert_allclose(ranked.get_xdata(), table["predicted"])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:5] == table["line"].tolist()
    n_tested = int(screen.obsm["response"]["trametinib"].notna().sum())
    assert labels[5] == f"{n_tested} tested"
    assert sum(len(line.get_xdata()) for line in tested) == n_tested
    assert "more sensitive  ←  →  less sensitive" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "Trametinib"


def test_missing_pairs_of_a_complete_drug_are_refused(filled) -> None:
    screen = filled[0].copy()
    screen.obsm["response"]["trametinib"] = 0.0
    with pytest.raises(ValueError, match="tested in all lines"):
        scdrug.pl.missing_pairs(screen, "trametinib")


def test_curves_have_a_panel_for_each_task(filled) -> None:
    _, model = filled
    axes = scdrug.pl.training_curves(model)
    titles = [ax.get_title(loc="left") for ax in axes]
    tasks = ["classification", "regression", "similarity of lines", "similarity of drugs", "ranking (1 − AUROC)"]
    assert titles == ["all tasks", *tasks]
    train, validation, best = axes[0].lines
    np.testing.assert_allclose(train.get_ydata(), model.history["train_loss"].iloc[:, 0])
    np.testing.assert_allclose(validation.get_ydata(), model.history["validation_loss"].iloc[:, 0])
    assert best.get_xdata()[0] == model.best_epoch_ + 1
    assert len(axes[3].lines) == 2  # similarities are not validated


def test_a_model_without_a_network_has_no_curves(filled) -> None:
    adata = filled[0].copy()
    AdditiveMean.setup_anndata(adata)
    model = AdditiveMean(adata)
    model.train()
    with pytest.raises(ValueError, match="no curves"):
        scdrug.pl.training_curves(model)


@pytest.mark.parametrize(("of", "n"), [("drugs", 12), ("lines", 60)])
def test_similarity_compares_what_was_given_with_what_came_out(filled, of, n) -> None:
    _, model = filled
    given, recovered = (model.similarities(given=given)[of].to_numpy() for given in (True, False))
    upper = np.triu_indices(n, 1)
    ax = scdrug.pl.similarities(model, of)
    r = np.corrcoef(given[upper], recovered[upper])[0, 1]
    assert ax.get_title(loc="left") == f"similarity of {of}, r = {r:.2f}"
    assert ax.collections[0].get_array().sum() == n * (n - 1) / 2
    with pytest.raises(ValueError, match="of"):
        scdrug.pl.similarities(model, "genes")
