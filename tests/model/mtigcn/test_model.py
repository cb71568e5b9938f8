"""The model: published equations, new lines, cells and drugs, what validation decides, and the Gaussian process."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import scdrug
from scdrug.model import MTIGCN, load_pretrained
from scdrug.model.mtigcn._blend import KNOWN, NEW_BOTH, NEW_DRUG, NEW_LINE, contexts, network_shares, sensitivity_slopes
from scdrug.model.mtigcn._finish import hold_out_each
from scdrug.model.mtigcn._process import fit_process, squash
from scdrug.model.mtigcn._settings import PRESETS

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.corrcoef(a, b)[: len(a), len(a) :]


# ---------------------------------------------------------------------- published form


def test_presets_have_the_published_sizes(screen) -> None:
    published, released, nihgcn = (PRESETS[name] for name in ("mtigcn", "mtigcn_released", "nihgcn"))
    for settings in (published, released, nihgcn):
        assert (settings.hidden, settings.width, settings.alpha) == (1024, 1024, 0.25)
        assert (settings.lr, settings.weight_decay, settings.decoupled) == (1e-3, 1e-5, False)
        assert (settings.gamma, settings.regression_scale, settings.edges) == (8.0, 15.0, "binary")
        assert not settings.process
        assert settings.dropout == settings.edge_dropout == settings.node_dropout == settings.rank == 0
    assert (published.epsilon, released.epsilon) == (3.0, 2.0)
    assert (published.tie_similarity_heads, released.tie_similarity_heads) == (False, True)
    assert nihgcn.tasks == ("classification",)


def test_published_predictions_are_scaled_correlations_of_embeddings(published, screen) -> None:
    net, module = published.module.net, published.module
    lines, drugs = module.array("line_codes"), module.array("drug_codes")
    mapped = [
        codes @ side.weight.detach().numpy().T + side.bias.detach().numpy()
        for codes, side in ((lines, net.response.left), (drugs, net.response.right))
    ]
    predicted = published.predict(screen.copy(), key_added=None)
    np.testing.assert_allclose(predicted, 15 * pearson(*mapped), atol=1e-4)


def test_sensitivity_is_the_sigmoid_of_eight_times_the_correlation(screen, make) -> None:
    model = make(screen, preset="nihgcn")
    codes = (model.module.array(name) for name in ("line_codes", "drug_codes"))
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
        make(screen, tasks=["regression"], process=False).similarities()


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
    net = published.module.net
    features = torch.from_numpy(published.posterior.factors.transform(np.asarray(stranger.X)))
    with torch.no_grad():
        codes = net.encoder.new_lines(features)
        expected = net.response(codes, torch.from_numpy(published.module.array("drug_codes")))
    np.testing.assert_allclose(unknown, expected, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"preset": "mtigcn"}, {"predicts": "sensitivity"}, {"network": False}])
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
    model = make(scdrug.datasets.toy(), hidden=32, width=32, train={"max_epochs": 10})
    cells = scdrug.datasets.toy_cells(n_cells=150)
    scdrug.tl.predict_response(cells, model)
    by_clone = lambda table: table.groupby(cells.obs["clone"].to_numpy()).mean()
    truth = cells.obsm["true_response"]
    p, t = by_clone(cells.obsm["predicted_response"][truth.columns]), by_clone(truth)
    contrast = lambda table: (table - table.mean()).to_numpy().ravel()
    assert np.corrcoef(contrast(p), contrast(t))[0, 1] > 0.6


def test_fingerprints_of_the_table_take_no_structures(screen, make) -> None:
    adata = screen.copy()
    bits = np.random.default_rng(0).integers(0, 2, (len(adata.uns["drugs"]), 16)).astype(str)
    adata.uns["drugs"]["fingerprint"] = ["".join(row) for row in bits]
    adata.uns["drugs"]["smiles"] = ""
    model = make(adata, drug_features="table")
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()
    with pytest.raises(ValueError, match="cannot predict drugs from their structure"):
        model.predict(drugs={"aspirin": ASPIRIN}, key_added=None)


def test_files_hold_what_validation_decided(screen, make, tmp_path) -> None:
    model = make(screen, predicts="sensitivity")
    model.save(tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    assert again.network_shares_ == model.network_shares_
    assert again.sensitivity_slopes_ == model.sensitivity_slopes_
    np.testing.assert_allclose(
        again.predict(screen.copy(), key_added=None), model.predict(screen.copy(), key_added=None), atol=1e-5
    )


# ---------------------------------------------------------------------- what validation decides


def test_the_network_counts_by_what_it_saves_beyond_one_standard_error() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 20))
    process, network = (truth + rng.normal(size=truth.shape) for _ in range(2))
    context = contexts(np.arange(60) < 45, np.arange(20) < 15)
    shares = network_shares(process, network, truth, context, np.ones(20))
    for code in (KNOWN, NEW_LINE, NEW_DRUG):
        errors = [
            ((process + w * (network - process) - truth)[context == code] ** 2).sum() for w in np.linspace(0, 1, 101)
        ]
        best = np.argmin(errors) / 100
        assert best - 0.15 < shares[code] < best
    few = contexts(np.arange(60) < 58, np.arange(20) < 18)
    assert network_shares(process, network, truth, few, np.ones(20))[NEW_BOTH] == 0  # four pairs cannot decide
    assert network_shares(truth, process, truth, context, np.ones(20))[KNOWN] == 0
    assert network_shares(process, truth, truth, context, np.ones(20))[NEW_DRUG] == pytest.approx(1)


def test_a_network_that_errs_by_drug_is_doubted_for_new_drugs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 4))
    process = truth + rng.normal(size=truth.shape)
    network = truth + np.array([0.0, 0.0, 0.0, 3.0])
    lines = network_shares(process, network, truth, np.full(truth.shape, NEW_LINE), np.ones(4))[NEW_LINE]
    drugs = network_shares(process, network, truth, np.full(truth.shape, NEW_DRUG), np.ones(4))[NEW_DRUG]
    assert lines > drugs + 0.05


def test_probabilities_are_calibrated_on_held_out_labels() -> None:
    rng = np.random.default_rng(0)
    distance = rng.normal(size=(400, 10))
    labels = (rng.random(distance.shape) < 1 / (1 + np.exp(-(2 * distance - 1)))).astype(float)
    zeros = np.zeros_like(distance)
    context = np.zeros(distance.shape, dtype=int)
    slopes = sensitivity_slopes({"distance": distance, "squashed": zeros, "logit": zeros}, labels, context)
    assert slopes[KNOWN][0] == pytest.approx(2, abs=0.2)
    assert slopes[KNOWN][3] == pytest.approx(-1, abs=0.2)


def test_held_out_pairs_cover_new_lines_and_new_drugs() -> None:
    measured = np.random.default_rng(0).random((100, 40)) < 0.9
    marked = hold_out_each(measured, ["CCO"] * 40, seed=0)
    assert not (marked & ~measured).any()
    assert np.array_equal(marked, hold_out_each(measured, ["CCO"] * 40, seed=0))
    gone = measured & ~marked
    assert (~gone.any(axis=1)).sum() == 5  # lines
    assert (~gone.any(axis=0)).sum() == 2  # drugs
    without = hold_out_each(measured, [""] * 40, seed=0)
    assert (measured & ~without).any(axis=0).all()  # a drug without a structure cannot be a new one


def test_the_network_leaves_the_process_alone_where_it_does_not_help(screen, make) -> None:
    alone, both = make(screen, network=False), make(screen)
    assert alone.network_shares_ == [0.0] * 4
    both.network_shares_ = [0.0] * 4
    np.testing.assert_allclose(
        both.predict(screen.copy(), key_added=None), alone.predict(screen.copy(), key_added=None), atol=1e-4
    )


def test_validation_responses_are_in_no_loss_but_in_the_final_process(screen, make) -> None:
    held = pd.DataFrame(False, index=screen.obs_names, columns=screen.obsm["response"].columns)
    held.iloc[:6] = screen.obsm["response"].iloc[:6].notna()
    changed = screen.copy()
    changed.obsm["response"].iloc[:6] += 3.0
    weight = "net.encoder.lines.projection.weight"
    first, second = (make(adata, train={"validation": held, "max_epochs": 1}) for adata in (screen, changed))
    assert torch.equal(first.module.state_dict()[weight], second.module.state_dict()[weight])
    assert not np.allclose(first.module.array("response_fitted"), second.module.array("response_fitted"), atol=0.1)


# ---------------------------------------------------------------------- process


def test_the_process_completes_a_matrix_of_low_rank() -> None:
    from scdrug.model.prior._decomposition import decompose_kernel

    rng = np.random.default_rng(0)
    lines, drugs = rng.normal(size=(80, 3)), rng.normal(size=(12, 3))
    truth = lines @ drugs.T
    hidden = rng.random(truth.shape) < 0.2
    kernel = decompose_kernel(np.exp(-((lines[:, None] - lines[None]) ** 2).sum(axis=2) / 6))
    process = fit_process(np.where(hidden, np.nan, truth), kernel)
    assert np.corrcoef(process.fitted[hidden], truth[hidden])[0, 1] > 0.9
    assert np.abs(process.new_lines(kernel.kernel[:5]) - truth[:5]).mean() < 1.0


@pytest.mark.parametrize("lower", [True, False])
def test_squashed_responses_are_zero_at_the_threshold_and_level_off(lower) -> None:
    response = np.array([[-100.0], [0.5], [100.0], [np.nan]])
    values = squash(response, np.array([0.5]), lower_is_sensitive=lower).ravel()
    assert values[1] == 0
    assert np.isnan(values[3])
    assert (values[0] > 0.9) == lower
    assert np.abs(values[[0, 2]]).max() < 1


def test_directions_mirror_each_other(screen, make) -> None:
    mirrored = screen.copy()
    mirrored.obsm["response"] *= -1
    mirrored.uns["response"]["direction"] = "higher is more sensitive"
    options = {"network": False, "predicts": "sensitivity", "train": {"early_stopping": False}}
    first, second = make(screen, **options), make(mirrored, **options)
    np.testing.assert_allclose(
        first.predict(screen.copy(), key_added=None), second.predict(mirrored.copy(), key_added=None), atol=1e-3
    )


def test_the_default_beats_means_on_missing_pairs(tmp_path) -> None:
    screen = scdrug.datasets.toy()
    splits = scdrug.benchmark.make_splits(screen, "pair", n_folds=3)
    specs = [
        scdrug.benchmark.ModelSpec("means", "AdditiveMean"),
        scdrug.benchmark.ModelSpec("MTIGCN", MTIGCN, params={"hidden": 16, "width": 16}, train={"max_epochs": 5}),
    ]
    results = scdrug.benchmark.run(screen, [splits], specs, out=tmp_path / "out")
    rmse = results.summary(["rmse"])["rmse"]["mean"].droplevel("split")
    assert rmse["MTIGCN"] < rmse["means"] - 0.1
