"""Attribution of predictions to pathways and genes: completeness, sign, invariance, provenance."""

from __future__ import annotations

import warnings
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from scipy import stats

import scdrug
from scdrug import datasets, pp, tl
from scdrug.model import KernelRidge, PathwayTransfer
from scdrug.model._explain import Explained
from scdrug.tl import _attribute_run, _attribution

pytest.importorskip("captum")
pytestmark = pytest.mark.filterwarnings("ignore:There are lines only")
DRUG = "trametinib"


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    before, scdrug.settings.progress = scdrug.settings.progress, False
    yield
    scdrug.settings.progress = before


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    adata = datasets.toy(n_lines=60)
    pp.pathway_mask(adata, "toy")
    return adata


@pytest.fixture(scope="module")
def toy_cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=60)


@pytest.fixture
def cells(toy_cells) -> ad.AnnData:
    return toy_cells.copy()


def make(reference: ad.AnnData, *, seed: int = 0, **options: Any) -> PathwayTransfer:
    adata = reference.copy()
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, **{"n_hidden": 16, "n_head": (12,), **options})
    model.train(max_epochs=2, seed=seed)
    return model


@pytest.fixture(scope="module")
def models(reference) -> list[PathwayTransfer]:
    return [make(reference, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def with_linear_path(reference) -> PathwayTransfer:
    model = make(reference, prior="linear")
    model.module.gate.fill_(0.4)
    return model


@pytest.fixture(scope="module")
def classifier(reference) -> PathwayTransfer:
    return make(reference, target="sensitivity")


@pytest.fixture(scope="module")
def ridge(reference) -> KernelRidge:
    adata = reference.copy()
    KernelRidge.setup_anndata(adata)
    model = KernelRidge(adata)
    model.train()
    return model


def predicted(cells: ad.AnnData, model: Any) -> np.ndarray:
    other = cells.copy()
    tl.predict_response(other, model, drugs=[DRUG])
    return other.obsm["predicted_response"][DRUG].to_numpy(dtype=float)


def summed(cells: ad.AnnData, key: str, sign: float = -1.0) -> np.ndarray:
    """Baseline and contributions, in the unit and direction of the response."""
    return cells.uns[key]["summary"].loc[DRUG, "baseline"] + sign * cells.obsm[f"{key}_{DRUG}"].sum(axis=1).to_numpy()


@pytest.mark.parametrize("baseline", ["lines", "zero"])
@pytest.mark.parametrize("name", ["models", "with_linear_path"])
def test_pathways_and_baseline_add_up_to_the_prediction(name, baseline, cells, request) -> None:
    model = request.getfixturevalue(name)
    model = model[0] if isinstance(model, list) else model
    tl.attribute_pathways(cells, model, DRUG, baseline=baseline)
    np.testing.assert_allclose(summed(cells, "pathway_ig"), predicted(cells, model), atol=0.02)
    assert cells.uns["pathway_ig"]["summary"].loc[DRUG, "completeness_error"] <= 0.01


@pytest.mark.parametrize("name", ["models", "with_linear_path", "ridge"])
def test_genes_and_baseline_add_up_to_the_prediction(name, cells, request) -> None:
    model = request.getfixturevalue(name)
    model = model[0] if isinstance(model, list) else model
    tl.attribute_genes(cells, model, DRUG)
    np.testing.assert_allclose(summed(cells, "gene_ig"), predicted(cells, model), atol=0.02)
    assert list(cells.obsm[f"gene_ig_{DRUG}"].columns) == list(model.genes)


def test_a_classification_is_explained_in_log_odds(classifier, cells) -> None:
    tl.attribute_pathways(cells, classifier, DRUG)
    probability = predicted(cells, classifier)
    log_odds = np.log(probability / (1 - probability))
    np.testing.assert_allclose(summed(cells, "pathway_ig", sign=1.0), log_odds, atol=0.02)
    assert cells.uns["pathway_ig"]["params"]["unit"] == "log-odds"


def test_a_linear_model_contributes_weight_times_distance_from_the_lines(ridge, cells, reference) -> None:
    tl.attribute_genes(cells, ridge, DRUG)
    weights, _ = ridge._linear_weights(np.array([list(ridge.drugs.index).index(DRUG)]))
    harmonized = np.asarray(pp.harmonize(cells, reference).X)
    expected = -(harmonized - np.asarray(reference.X).mean(axis=0)) * weights[:, 0]
    np.testing.assert_allclose(cells.obsm[f"gene_ig_{DRUG}"].to_numpy(), expected, atol=2e-4)


def test_a_pathway_that_raises_ln_ic50_supports_resistant(reference, cells) -> None:
    model = make(reference, n_head=())
    head = next(layer for layer in model.module.head.modules() if hasattr(layer, "weight"))
    column = list(model.drugs.index).index(DRUG)
    with torch.no_grad():
        head.weight[column] = 0
        head.weight[column, 2] = 1.5  # the third pathway alone raises ln IC50
    tl.attribute_pathways(cells, model, DRUG)
    table = cells.obsm[f"pathway_ig_{DRUG}"]
    code = model.get_latent_representation(pp.harmonize(cells, reference))[:, 2] - float(model.module.code_mean[2])
    np.testing.assert_allclose(table.iloc[:, 2], -1.5 * float(model.module.drug_sd[column]) * code, atol=1e-3)
    assert np.abs(table.drop(columns=table.columns[2])).to_numpy().max() < 1e-5
    best = cells.uns["pathway_ig"]["table"].iloc[0]
    assert best["pathway"] == model.pathways_[2]
    assert best["supports"] == ("resistant" if code.mean() > 0 else "sensitive")


def test_results_do_not_depend_on_gene_order_cell_order_or_block_size(models, cells) -> None:
    rng = np.random.default_rng(0)
    shuffled = cells[rng.permutation(cells.n_obs), rng.permutation(cells.n_vars)].copy()
    tl.attribute_pathways(cells, models[0], DRUG)
    tl.attribute_pathways(shuffled, models[0], DRUG, chunk_size=7)
    one, other = cells.obsm[f"pathway_ig_{DRUG}"], shuffled.obsm[f"pathway_ig_{DRUG}"]
    np.testing.assert_allclose(other.loc[one.index, one.columns], one, atol=1e-4)
    tl.attribute_genes(cells, models[0], DRUG)
    tl.attribute_genes(shuffled, models[0], DRUG, chunk_size=7)
    one, other = cells.obsm[f"gene_ig_{DRUG}"], shuffled.obsm[f"gene_ig_{DRUG}"]
    np.testing.assert_allclose(other.loc[one.index, one.columns], one, atol=1e-4)


def test_several_models_are_averaged_and_kept(models, cells) -> None:
    tl.attribute_pathways(cells, models, [DRUG, "Paclitaxel"])
    each = []
    for model in models:
        other = cells.copy()
        with pytest.warns(UserWarning, match="Replacing"):
            tl.attribute_pathways(other, model, DRUG)
        assert "pathway_ig_paclitaxel" not in other.obsm and f"pathway_ig_{DRUG}_models" not in other.obsm
        each.append(other.obsm[f"pathway_ig_{DRUG}"].to_numpy())
    np.testing.assert_allclose(cells.obsm[f"pathway_ig_{DRUG}"], np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(cells.obsm[f"pathway_ig_{DRUG}_models"], np.stack(each, axis=2), atol=1e-5)
    held = cells.uns["pathway_ig"]
    assert list(held["summary"].index) == [DRUG, "paclitaxel"]
    assert held["summary"]["stability"].between(-1, 1).all()
    assert held["params"]["n_models"] == 3
    assert {"importance_sd", "sign_agreement"} <= set(held["table"])
    spread = np.array([np.abs(values).mean(axis=0) for values in each]).std(axis=0, ddof=1)
    table = held["table"][held["table"]["drug"] == DRUG].set_index("pathway")
    np.testing.assert_allclose(table["importance_sd"].loc[cells.obsm[f"pathway_ig_{DRUG}"].columns], spread, atol=1e-5)
    # what a mean over three models is shrunk by: one minus its squared error over its square
    by_model = np.stack(each, axis=2)
    share = 1 - (by_model.var(axis=2, ddof=1) / 3).sum(axis=0) / (by_model.mean(axis=2) ** 2).sum(axis=0)
    found = table["stability"].loc[cells.obsm[f"pathway_ig_{DRUG}"].columns]
    np.testing.assert_allclose(found, np.clip(share, 0, 1), atol=1e-4)
    t = stats.t.ppf(0.975, 2)
    assert (table["repeats"] == (table["stability"] >= 1 - 1 / t**2)).all()
    assert (table["importance"] * table["stability"]).is_monotonic_decreasing


def test_free_nodes_are_one_column_since_they_are_interchangeable(models, cells) -> None:
    tl.attribute_pathways(cells, models[0], DRUG)
    columns = list(cells.obsm[f"pathway_ig_{DRUG}"].columns)
    assert columns[-1] == "free nodes" and len(columns) == len(models[0].pathways_) - 4
    table = cells.uns["pathway_ig"]["table"].set_index("pathway")
    assert table.loc["free nodes", "kind"] == "free nodes" and not table.loc["free nodes", "identified"]


def test_summaries_need_no_contributions_of_cells(ridge, cells) -> None:
    tl.attribute_genes(cells, ridge, DRUG)
    small = cells.copy()
    with pytest.warns(UserWarning, match="Replacing"):
        tl.attribute_genes(small, ridge, DRUG, per_cell=False, chunk_size=11)
    assert f"gene_ig_{DRUG}" not in small.obsm
    one, other = (adata.uns["gene_ig"]["table"].set_index("gene") for adata in (cells, small))
    np.testing.assert_allclose(other.loc[one.index, "importance"], one["importance"], rtol=1e-5)
    with pytest.raises(KeyError, match="each cell kept"):
        scdrug.get.attribute_genes_df(small, by_cell=True)


def test_genes_that_cells_lack_are_marked(ridge, cells) -> None:
    part = cells[:, : cells.n_vars // 2].copy()
    tl.attribute_genes(part, ridge, DRUG)
    table = part.uns["gene_ig"]["table"].set_index("gene")
    assert set(table.index[table["measured"]]) == set(part.var_names) & set(ridge.genes)
    assert 0 < part.uns["gene_ig"]["summary"].loc[DRUG, "measured_share"] < 1


def test_everything_survives_a_file(models, cells, tmp_path) -> None:
    tl.attribute_pathways(cells, models, DRUG)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    back = ad.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_allclose(back.obsm[f"pathway_ig_{DRUG}"], cells.obsm[f"pathway_ig_{DRUG}"])
    np.testing.assert_allclose(back.obsm[f"pathway_ig_{DRUG}_models"], cells.obsm[f"pathway_ig_{DRUG}_models"])
    tl.rank_pathways(back, "clone", reference="normal", sample_key="sample", min_cells=2)
    back.write_h5ad(tmp_path / "ranked.h5ad")
    assert len(scdrug.get.rank_pathways_df(ad.read_h5ad(tmp_path / "ranked.h5ad"), "clone-a")) == 9


def test_a_copy_leaves_the_cells_alone(ridge, cells) -> None:
    result = tl.attribute_genes(cells, ridge, DRUG, copy=True)
    assert "gene_ig" in result.uns and "gene_ig" not in cells.uns


def test_differences_between_groups_add_up_to_the_difference_of_predictions(models, cells) -> None:
    tl.attribute_pathways(cells, models, DRUG)
    with pytest.warns(UserWarning, match="not independent replicates"):
        tl.rank_pathways(cells, "clone", reference="normal")
    table = scdrug.get.rank_pathways_df(cells, "clone-a")
    values = np.mean([predicted(cells, model) for model in models], axis=0)
    mine, other = (values[(cells.obs["clone"] == name).to_numpy()].mean() for name in ("clone-a", "normal"))
    assert table["score"].sum() == pytest.approx(-(mine - other), abs=0.02)
    assert (table["score"].abs() * table["stability"]).is_monotonic_decreasing
    assert ((table["supports"] == "sensitive") == (table["score"] >= 0)).all()
    by_model = cells.obsm[f"pathway_ig_{DRUG}_models"]
    clone = cells.obs["clone"].to_numpy()
    difference = by_model[clone == "clone-a"].mean(axis=0) - by_model[clone == "normal"].mean(axis=0)
    row = table.set_index("pathway").loc["HYPOXIA"]
    position = list(cells.obsm[f"pathway_ig_{DRUG}"].columns).index("HYPOXIA")
    assert row["score_sd"] == pytest.approx(difference[position].std(ddof=1), rel=1e-3)
    error = difference[position].var(ddof=1) / 3
    assert row["stability"] == pytest.approx(max(1 - error / row["score"] ** 2, 0), abs=1e-3)


@pytest.mark.parametrize("sample_key", [None, "donor"])
def test_the_planted_pathway_makes_the_tumour_resistant(make_attributed, sample_key) -> None:
    adata = make_attributed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.rank_pathways(adata, "group", "Beta/2", reference="normal", sample_key=sample_key, min_cells=5)
    table = scdrug.get.rank_pathways_df(adata, "tumour", supports="resistant")
    best = table.iloc[0]
    assert best["pathway"] == "HALLMARK_DNA_REPAIR" and best["rank"] == 1
    assert best["score"] == pytest.approx(-1.0, abs=0.15) and best["fdr"] < 0.01 and best["sign_agreement"] == 1
    assert best["n_samples"] == (0 if sample_key is None else 4)


# ------------------------------------------------------------------------- gene sets, and what comes back


@pytest.fixture(scope="module")
def halves() -> list[KernelRidge]:
    """Linear models on halves of 120 lines."""
    whole, rng, models = datasets.toy(), np.random.default_rng(0), []
    for _ in range(6):
        adata = whole[np.sort(rng.permutation(whole.n_obs)[: whole.n_obs // 2])].copy()
        KernelRidge.setup_anndata(adata)
        models.append(KernelRidge(adata))
        models[-1].train()
    return models


@pytest.mark.parametrize("name", ["models", "with_linear_path", "ridge"])
def test_genes_share_their_contribution_among_the_sets_that_hold_them(name, cells, request) -> None:
    model = request.getfixturevalue(name)
    genes = [str(gene) for gene in (model[0] if isinstance(model, list) else model).genes]
    sets = {"a/b": genes[:30], "c": genes[20:40], "few": genes[:4]}
    tl.attribute_pathways(cells, model, DRUG, pathways=sets)
    tl.attribute_genes(cells, model, DRUG)
    table, by_gene = cells.obsm[f"pathway_ig_{DRUG}"], cells.obsm[f"gene_ig_{DRUG}"].to_numpy()
    assert list(table.columns) == ["a|b", "c", "no pathway"]
    shared = by_gene[:, 20:30].sum(axis=1) / 2
    expected = by_gene[:, :20].sum(axis=1) + shared, by_gene[:, 30:40].sum(axis=1) + shared, by_gene[:, 40:].sum(axis=1)
    np.testing.assert_allclose(table.to_numpy().T, expected, atol=1e-4)
    kinds = cells.uns["pathway_ig"]["table"].set_index("pathway")["kind"]
    assert kinds.to_dict() == {"a|b": "pathway", "c": "pathway", "no pathway": "no pathway"}


def test_planted_pathways_come_back_and_others_are_shrunk(halves) -> None:
    cells = datasets.toy_cells(n_cells=120)
    effects = datasets.toy().uns["truth"]
    drugs = list(effects.index[:6])
    tl.attribute_pathways(cells, halves, drugs, pathways="toy", resampled=True)
    planted, repeats, first = [], [], []
    for drug in drugs:
        table = scdrug.get.attribute_pathways_df(cells, drug).query("kind == 'pathway'").set_index("pathway")
        true = effects.loc[drug].to_numpy() != 0
        planted.append(true)
        repeats.append(table["repeats"].loc[effects.columns].to_numpy(dtype=bool))
        first.append(true[list(effects.columns).index(table.index[0])])
        strongest = effects.loc[drug].abs().idxmax()
        activity = cells.obsm["true_pathway_activity"][strongest]
        found = np.corrcoef(cells.obsm[f"pathway_ig_{drug}"][strongest], -effects.loc[drug, strongest] * activity)[0, 1]
        assert found > 0.9
    assert all(first)
    planted, repeats = np.array(planted), np.array(repeats)
    assert repeats[planted].mean() > 0.7 and repeats[~planted].mean() < 0.3


def test_models_of_other_lines_are_shrunk_by_how_much_they_differ(halves, cells) -> None:
    found = {}
    for resampled in (False, True):
        other = cells.copy()
        tl.attribute_pathways(other, halves, DRUG, pathways="toy", resampled=resampled)
        found[resampled] = other.uns["pathway_ig"]["table"].set_index("pathway")["stability"]
    assert (found[True] <= found[False].loc[found[True].index]).all()
    lost = 1 - found[False][found[False] > 0.9]
    np.testing.assert_allclose(1 - found[True].loc[lost.index], 6 * lost, rtol=1e-3)


# ------------------------------------------------------------------------- errors and warnings


def test_contributions_that_do_not_add_up_raise_a_warning(models, cells, monkeypatch) -> None:
    exact = _attribution.integrate_gradients

    def coarse(function: Any, rows: np.ndarray, start: np.ndarray, **options: Any) -> Any:
        found = exact(function, rows, start, **options)
        return found._replace(error=found.error + 0.2)

    monkeypatch.setattr(_attribution, "integrate_gradients", coarse)
    with pytest.warns(UserWarning, match="miss what they should add up to"):
        tl.attribute_pathways(cells, models[0], DRUG)


def test_a_network_without_share_is_named(reference, cells) -> None:
    model = make(reference, prior="linear")
    model.module.gate.fill_(0.05)
    with pytest.warns(UserWarning, match="network has 5% of these predictions"):
        tl.attribute_pathways(cells, model, DRUG)
    assert cells.uns["pathway_ig"]["params"]["network_share"] == pytest.approx(0.05)
    assert "linear path" in cells.obsm[f"pathway_ig_{DRUG}"]


def test_models_without_pathways_are_refused(ridge, reference, cells) -> None:
    with pytest.raises(TypeError, match="found a KernelRidge"):
        tl.attribute_pathways(cells, ridge, DRUG)
    with pytest.raises(TypeError, match="without pathways"):
        tl.attribute_pathways(cells, make(reference, variant="shared", n_latent=6), DRUG)


def test_a_model_that_cannot_be_taken_apart_is_refused(reference, cells) -> None:
    adata = reference.copy()
    KernelRidge.setup_anndata(adata)
    model = KernelRidge(adata, kernel="rbf")
    model.train()
    with pytest.raises(TypeError, match="linear models"):
        tl.attribute_genes(cells, model, DRUG)


def test_models_that_differ_are_refused(models, with_linear_path, reference, ridge, cells) -> None:
    with pytest.raises(ValueError, match="linear path"):
        tl.attribute_pathways(cells, [models[0], with_linear_path], DRUG)
    with pytest.raises(ValueError, match="different pathways"):
        tl.attribute_pathways(cells, [models[0], make(reference, n_free=2)], DRUG)
    with pytest.raises(ValueError, match="different classes"):
        tl.attribute_genes(cells, [models[0], ridge], DRUG)
    with pytest.raises(ValueError, match="empty list"):
        tl.attribute_pathways(cells, [], DRUG)


def test_wrong_arguments_are_named(models, cells) -> None:
    with pytest.raises(KeyError, match="rametinib"):
        tl.attribute_pathways(cells, models[0], "trametinob")
    with pytest.raises(ValueError, match="baseline"):
        tl.attribute_pathways(cells, models[0], DRUG, baseline="mean")
    with pytest.raises(ValueError, match="n_steps"):
        tl.attribute_genes(cells, models[0], DRUG, n_steps=0)
    with pytest.raises(ValueError, match="at least one drug"):
        tl.attribute_genes(cells, models[0], [])
    cells.uns["pathway_ig"] = {"mine": 1}
    with pytest.raises(ValueError, match="did not make"):
        tl.attribute_pathways(cells, models[0], DRUG)
    assert cells.uns["pathway_ig"] == {"mine": 1}


def test_what_must_run_first_is_named(cells, make_attributed) -> None:
    with pytest.raises(KeyError, match="attribute_pathways"):
        tl.rank_pathways(cells, "clone")
    with pytest.raises(ValueError, match="Name one as `drug`"):
        tl.rank_pathways(make_attributed(), "group")
    with pytest.raises(KeyError, match="Did you mean 'alpha-1'"):
        tl.rank_pathways(make_attributed(), "group", "alpha 11")
    with pytest.raises(ValueError, match="min_cells"):
        tl.rank_pathways(make_attributed(), "group", "alpha-1", min_cells=1)


def test_keys_of_a_drug_are_those_of_the_documentation() -> None:
    assert _attribute_run.cell_key("pathway_ig", DRUG) == "pathway_ig_trametinib"
    assert _attribute_run.model_key("gene_ig", DRUG) == "gene_ig_trametinib_models"


class Saturating(KernelRidge):
    """A model that is no linear map: a network as small as they come, with the one method that explains it."""

    def _linear_weights(self, drugs: np.ndarray) -> None:
        return None

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> None:
        return None

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        return np.tanh(expression @ self.module.array("weights")[:, drugs] / 5).astype(np.float32)

    def _explained(self, drugs: np.ndarray, *, baseline: str, of: str = "genes") -> Explained:
        if of != "genes":
            return super()._explained(drugs, baseline=baseline, of=of)
        weights = torch.from_numpy(self.module.array("weights")[:, drugs])

        def network(expression: torch.Tensor, drug: int) -> torch.Tensor:
            return torch.tanh(expression @ weights[:, drug] / 5)

        return Explained.of_expression(
            self.reference,
            self.profile,
            baseline=baseline,
            network=network,
            scale=np.ones(len(drugs)),
            network_share=1.0,
        )


def test_a_network_on_expression_is_explained_by_one_method(reference, cells) -> None:
    adata = reference.copy()
    Saturating.setup_anndata(adata)
    model = Saturating(adata)
    model.train()
    tl.attribute_genes(cells, model, DRUG)
    np.testing.assert_allclose(summed(cells, "gene_ig"), predicted(cells, model), atol=0.02)
    assert cells.uns["gene_ig"]["params"]["network_share"] == 1.0
    with pytest.raises(TypeError, match="found a Saturating"):
        tl.attribute_pathways(cells, model, DRUG)


def test_drugs_that_were_not_in_training_are_refused(reference, cells) -> None:
    adata = reference.copy()
    KernelRidge.setup_anndata(adata)
    model = KernelRidge(adata, drug_kernel="tanimoto")
    model.train()
    with pytest.raises(ValueError, match="drugs of the training"):
        tl.attribute_genes(cells, model, ["CCCCO"])
