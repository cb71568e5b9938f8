"""The model: published equations, new lines, cells and drugs, what validation decides, and the process that it may stand on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import scdrug
from scdrug.metrics import auroc
from scdrug.model import MTIGCN, KernelRidge, load_pretrained
from scdrug.model.mtigcn._labels import Labelling
from scdrug.model.mtigcn._sensitivity import DEFAULT_SLOPES, SensitivityPrior, fit_slopes
from scdrug.model.prior import Context, ProcessOptions

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.corrcoef(a, b)[: len(a), len(a) :]


# ---------------------------------------------------------------------- published form


def test_presets_have_the_published_sizes(screen) -> None:
    adata = screen.copy()
    MTIGCN.setup_anndata(adata)
    presets = ("mtigcn", "mtigcn_released", "nihgcn")
    published, released, nihgcn = (MTIGCN(adata, preset=name).settings for name in presets)
    for settings in (published, released, nihgcn):
        assert (settings.hidden, settings.width, settings.alpha) == (1024, 1024, 0.25)
        assert (settings.lr, settings.weight_decay, settings.decoupled) == (1e-3, 1e-5, False)
        assert (settings.gamma, settings.regression_scale, settings.edges) == (8.0, 15.0, "binary")
        assert settings.dropout == settings.edge_dropout == settings.node_dropout == settings.rank == 0
    assert (published.epsilon, released.epsilon) == (3.0, 2.0)
    assert (published.tie_similarity_heads, released.tie_similarity_heads) == (False, True)
    assert nihgcn.tasks == ("classification",)


def test_published_predictions_are_scaled_correlations_of_embeddings(published, screen) -> None:
    net, module = published.module.net, published.module
    lines, drugs = module.line_codes.numpy(), module.drug_codes.numpy()
    mapped = [
        codes @ side.weight.detach().numpy().T + side.bias.detach().numpy()
        for codes, side in ((lines, net.response.left), (drugs, net.response.right))
    ]
    predicted = published.predict(screen.copy(), key_added=None)
    np.testing.assert_allclose(predicted, 15 * pearson(*mapped), atol=1e-4)


def test_sensitivity_is_the_sigmoid_of_eight_times_the_correlation(screen, make) -> None:
    model = make(screen, preset="nihgcn")
    codes = model.module.line_codes.numpy(), model.module.drug_codes.numpy()
    expected = 1 / (1 + np.exp(-8 * pearson(*codes)))
    predicted = model.predict(screen.copy(), key_added=None)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    assert model.reference.response["direction"] == "higher is more sensitive"


def test_recovered_similarities_are_symmetric_and_one_on_the_diagonal(published, screen) -> None:
    recovered = published.similarities()
    assert list(recovered["lines"].index) == list(screen.obs_names)
    assert list(recovered["drugs"].columns) == list(screen.obsm["response"].columns)
    for table in recovered.values():
        np.testing.assert_allclose(table, table.T, atol=1e-5)
        np.testing.assert_allclose(np.diag(table), 1 / (1 + np.exp(-15)), atol=1e-5)


def test_a_model_without_the_similarity_task_says_so(screen, make) -> None:
    with pytest.raises(ValueError, match="no similarity task"):
        make(screen, tasks=["regression"]).similarities()


def test_history_has_a_curve_for_each_task(published) -> None:
    losses = {"classification", "regression", "lines", "drugs"}
    assert {f"train_{name}_loss" for name in losses} | {"train_loss"} == set(published.history)
    assert len(published.history["train_loss"]) == 2


def test_training_lowers_every_loss(screen, make) -> None:
    model = make(screen, preset="mtigcn", train={"max_epochs": 12, "early_stopping": False})
    for name, curve in model.history.items():
        assert curve.iloc[-1, 0] < curve.iloc[0, 0], name


def test_the_seed_decides_the_weights(screen, make) -> None:
    first, same, other = (make(screen, train={"seed": seed}).module.state_dict() for seed in (0, 0, 1))
    weight = "net.encoder.lines.projection.weight"
    assert torch.equal(first[weight], same[weight])
    assert not torch.equal(first[weight], other[weight])


# ---------------------------------------------------------------------- what was not in training


def test_a_training_line_under_another_name_is_scored_from_expression_alone(published, screen) -> None:
    response = screen.obsm["response"]
    edges = (response < response.quantile(0.12)).sum(axis=1)
    stranger = screen[[int(edges.argmax())]].copy()
    known = published.predict(stranger, key_added=None)
    stranger.obs_names = ["stranger"]
    unknown = published.predict(stranger, key_added=None)
    assert not np.allclose(known, unknown, atol=1e-3)  # its edges are gone
    net, module = published.module.net, published.module
    expression = torch.from_numpy(np.asarray(stranger.X))
    with torch.no_grad():
        codes = net.encoder.new_lines((expression - module.gene_mean) / module.gene_scale @ module.loadings)
        expected = net.response(codes, module.drug_codes)
    np.testing.assert_allclose(unknown, expected, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"preset": "mtigcn"}, {"prior": "process"}, {"prior": "process", "target": "sensitivity"}]
)
def test_cells_and_new_drugs_are_scored_together_without_retraining(screen, make, options) -> None:
    model = make(screen, **options)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    cells = scdrug.datasets.toy_cells(n_cells=60)
    known = model.drugs["name"].iloc[3]
    scdrug.tl.predict_response(cells, model, drugs=[known, ASPIRIN])
    table = cells.obsm["predicted_response"]
    assert table.shape == (60, 2)
    assert np.isfinite(table.to_numpy()).all()
    assert table.iloc[:, 1].nunique() > 10  # a new drug acts differently on different cells
    after = model.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_order_of_genes_does_not_matter(published, screen) -> None:
    shuffled = screen[:, np.random.default_rng(0).permutation(screen.n_vars)].copy()
    shuffled.obs_names = [f"new-{name}" for name in shuffled.obs_names]
    straight = screen.copy()
    straight.obs_names = shuffled.obs_names
    np.testing.assert_allclose(
        published.predict(shuffled, key_added=None), published.predict(straight, key_added=None), atol=1e-4
    )


def test_planted_responses_of_cells_are_recovered(screen, make) -> None:
    model = make(scdrug.datasets.toy(), prior="process")
    cells = scdrug.datasets.toy_cells(n_cells=150)
    scdrug.tl.predict_response(cells, model)
    by_clone = lambda table: table.groupby(cells.obs["clone"].to_numpy()).mean()
    truth = cells.obsm["true_response"]
    p, t = by_clone(cells.obsm["predicted_response"][truth.columns]), by_clone(truth)
    contrast = lambda table: (table - table.mean()).to_numpy().ravel()
    assert np.corrcoef(contrast(p), contrast(t))[0, 1] > 0.6


@pytest.mark.parametrize("prior", [None, "process"])
def test_fingerprints_of_the_table_take_no_structures(screen, make, prior) -> None:
    adata = screen.copy()
    bits = np.random.default_rng(0).integers(0, 2, (len(adata.uns["drugs"]), 16)).astype(str)
    adata.uns["drugs"]["fingerprint"] = ["".join(row) for row in bits]
    adata.uns["drugs"]["smiles"] = ""
    model = make(adata, drug_features="table", prior=prior)
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()
    with pytest.raises(ValueError, match="cannot predict drugs from their structure"):
        model.predict(drugs={"aspirin": ASPIRIN}, key_added=None)


def test_files_hold_what_validation_decided(screen, make, tmp_path) -> None:
    model = make(screen, prior="process", target="sensitivity")
    model.save(tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    assert again.shares_ == model.shares_
    np.testing.assert_allclose(again.prior_.slopes, model.prior_.slopes, atol=1e-6)
    for part in (None, "network", "prior"):
        expected = model.predict(screen.copy(), part=part, key_added=None)
        np.testing.assert_allclose(again.predict(screen.copy(), part=part, key_added=None), expected, atol=1e-5)
    assert again.similarities(given=True)["lines"].equals(model.similarities(given=True)["lines"])


# ---------------------------------------------------------------------- beside a process


def test_the_network_stands_alone_by_default(screen, make) -> None:
    model = make(screen)
    assert model.prior_ is None
    lines = screen.copy()
    model.predict(lines)
    assert lines.uns["predicted_response"]["network_share"] == 1
    with pytest.raises(ValueError, match="no prior"):
        model.predict(screen.copy(), part="prior", key_added=None)


@pytest.mark.parametrize("target", ["response", "sensitivity"])
def test_a_prediction_is_the_prior_and_a_share_of_what_the_network_adds(screen, make, target) -> None:
    model = make(screen, prior="process", target=target)
    model.shares_ = type(model.shares_).all(0.25)
    network, prior, both = (
        model.predict(screen.copy(), part=part, key_added=None).to_numpy() for part in ("network", "prior", None)
    )
    np.testing.assert_allclose(both, prior + 0.25 * (network - prior), atol=1e-5)
    if target == "sensitivity":
        assert min(network.min(), prior.min()) >= 0
        assert max(network.max(), prior.max()) <= 1


def test_the_process_is_that_of_kernel_ridge(screen, make) -> None:
    adata = screen.copy()
    KernelRidge.setup_anndata(adata)
    ridge = KernelRidge(adata, kernel="mean", couple_drugs=True)
    ridge.train()
    model = make(screen, prior="process")
    prior = model.predict(screen.copy(), part="prior", key_added=None)
    np.testing.assert_allclose(prior, ridge.predict(screen.copy(), key_added=None), atol=1e-4)


def test_validation_responses_are_in_no_loss_but_in_the_final_process(screen, make) -> None:
    held = pd.DataFrame(False, index=screen.obs_names, columns=screen.obsm["response"].columns)
    held.iloc[:6] = screen.obsm["response"].iloc[:6].notna()
    changed = screen.copy()
    changed.obsm["response"].iloc[:6] += 3.0
    options = {"prior": "process", "train": {"validation": held, "max_epochs": 1}}
    first, second = (make(adata, **options) for adata in (screen, changed))
    line = screen[:6].copy()
    by_network, by_prior = (
        [model.predict(line.copy(), part=part, key_added=None).to_numpy() for model in (first, second)]
        for part in ("network", "prior")
    )
    np.testing.assert_array_equal(*by_network)
    assert not np.allclose(*by_prior, atol=0.1)


# ---------------------------------------------------------------------- sensitivity


def test_the_prior_s_probabilities_rank_labels_and_fit_held_out_ones() -> None:
    screen = scdrug.datasets.toy()
    response = screen.obsm["response"]
    held = np.random.default_rng(0).random(response.shape) < 0.3
    labelling = Labelling(None, response.columns, lower=True)
    labels = labelling.labels(response.to_numpy())
    seen = np.where(held, np.nan, response)
    prior = SensitivityPrior.fit(np.asarray(screen.X), seen, None, ProcessOptions(), labelling=labelling)
    lines = np.arange(len(seen))
    before = prior.predict(screen.X, lines)
    after = prior.calibrated(screen.X, np.where(held, labels, np.nan)).predict(screen.X, lines)
    held &= np.isfinite(labels)
    assert auroc(before[held], labels[held]) > 0.85
    assert after[held].mean() == pytest.approx(labels[held].mean(), abs=0.005)
    assert np.square(after - labels)[held].mean() < np.square(before - labels)[held].mean()


def test_slopes_are_those_of_the_labels_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    distance, other = rng.normal(size=(2, 400, 10))
    labels = (rng.random(distance.shape) < 1 / (1 + np.exp(-(2 * distance - other - 1)))).astype(float)
    context = np.zeros(distance.shape, dtype=int)
    context[:, 9] = Context.NEW_DRUG
    labels[:, 9] = np.nan  # no label: the slopes of all pairs
    slopes = fit_slopes(distance, other, labels, context)
    assert slopes[Context.KNOWN][0] == pytest.approx(1.7, abs=0.3)
    assert slopes[Context.KNOWN][1] == 0
    np.testing.assert_array_equal(slopes[Context.NEW_DRUG], slopes[Context.KNOWN])
    few = np.where(np.cumsum(labels == 1).reshape(labels.shape) <= 10, labels, np.nan)
    np.testing.assert_array_equal(fit_slopes(distance, other, few, context), DEFAULT_SLOPES)


def test_directions_mirror_each_other(screen, make) -> None:
    mirrored = screen.copy()
    mirrored.obsm["response"] *= -1
    mirrored.uns["response"]["direction"] = "higher is more sensitive"
    options = {"prior": "process", "target": "sensitivity", "train": {"early_stopping": False}}
    first, second = make(screen, **options), make(mirrored, **options)
    assert first.calibration.held_out is False  # a probability has no interval in the unit of the response
    np.testing.assert_allclose(
        first.predict(screen.copy(), key_added=None), second.predict(mirrored.copy(), key_added=None), atol=1e-3
    )


def test_the_process_beats_means_on_missing_pairs(tmp_path) -> None:
    screen = scdrug.datasets.toy()
    splits = scdrug.benchmark.make_splits(screen, "pair", n_folds=3)
    specs = [
        scdrug.benchmark.ModelSpec("means", "AdditiveMean"),
        scdrug.benchmark.ModelSpec(
            "MTIGCN", MTIGCN, params={"n_hidden": 16, "n_latent": 16, "prior": "process"}, train={"max_epochs": 5}
        ),
    ]
    results = scdrug.benchmark.run(screen, [splits], specs, out=tmp_path / "out")
    rmse = results.summary(["rmse"])["rmse"]["mean"].droplevel("split")
    assert rmse["MTIGCN"] < rmse["means"] - 0.1
