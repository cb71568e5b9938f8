"""Input that cannot work is refused, with what to do instead; input that works badly gets a warning."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pytest

from scdrug import datasets, pp
from scdrug.model import PathwayTransfer


def make(adata: ad.AnnData, *, train: dict[str, Any] | None = None, **options: Any) -> PathwayTransfer:
    adata = adata.copy()
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, **{"n_hidden": 8, "n_head": (8,), **options})
    model.train(**{"max_epochs": 2, **(train or {})})
    return model


# ---------------------------------------------------------------------- domains


def test_lines_without_cells_train_with_a_warning(reference) -> None:
    with pytest.warns(UserWarning, match=r"lines only.*Create the model with `cells`"):
        model = make(reference)
    assert model.n_cells_ == 0
    assert not len(model.module.autoencoder.private)


def test_options_of_a_prior_need_one(reference) -> None:
    with pytest.raises(ValueError, match=r"`linear_ridge` is an option of the prior.*`prior='linear'`"):
        make(reference, linear_ridge=2.0)


@pytest.mark.parametrize("options", [{"variant": "adversarial_shared"}, {"align": "adversarial"}])
def test_a_critic_needs_two_domains(reference, options) -> None:
    with pytest.raises(ValueError, match="compares two domains"):
        make(reference, **options)


def test_cells_without_lines_are_refused(reference, cells) -> None:
    joined = pp.join_domains(reference, cells)
    with pytest.raises(ValueError, match="cells only.*join_domains"):
        make(joined[joined.obs["domain"] == "cells"].copy())


def test_cells_come_from_one_place(reference, cells) -> None:
    with pytest.raises(ValueError, match="leave out `cells`"):
        make(pp.join_domains(reference, cells), cells=cells)


def test_labels_on_cells_are_refused(reference, cells) -> None:
    joined = pp.join_domains(reference, cells)
    joined.obsm["response"].iloc[-3:] = 1.0
    with pytest.raises(ValueError, match="3 cells have responses.*leak into training"):
        PathwayTransfer.setup_anndata(joined)


def test_unknown_domains_are_named(reference, cells) -> None:
    joined = pp.join_domains(reference, cells)
    joined.obs["domain"] = joined.obs["domain"].astype(str).replace("cells", "sc")
    with pytest.raises(ValueError, match="found 'sc'"):
        PathwayTransfer.setup_anndata(joined)


def test_cells_on_another_scale_than_stated_are_refused(reference, cells) -> None:
    with pytest.raises(ValueError, match="was stated"):
        make(reference, cells=cells, cells_scale="log")


def test_cells_of_another_species_are_refused(reference, cells) -> None:
    mouse = cells.copy()
    mouse.var_names = [f"Mrpl{number}" for number in range(mouse.n_vars)]
    with pytest.raises(ValueError, match="genes"):
        make(reference, cells=mouse)


def test_cells_that_are_harmonized_already_are_taken_as_they_are(reference, cells) -> None:
    placed = pp.harmonize(cells, reference)
    by_model, before = (
        make(reference, cells=part, **options) for part, options in ((cells, {}), (placed, {"cells_method": "none"}))
    )
    first, second = by_model.module.state_dict(), before.module.state_dict()
    for name in first:
        np.testing.assert_allclose(first[name].numpy(), second[name].numpy(), atol=1e-3)


# ---------------------------------------------------------------------- responses


def test_one_class_only_is_refused(reference) -> None:
    labelled = reference.copy()
    labelled.obsm["response"] = labelled.obsm["response"] * 0 + 1
    with pytest.raises(ValueError, match="lines of one class only"):
        make(labelled, target="sensitivity")


def test_fewer_than_ten_lines_are_refused(reference) -> None:
    with pytest.raises(ValueError, match="fewer than 10 lines to train on"):
        make(reference[:8].copy())


def test_a_drug_with_few_lines_is_named(reference) -> None:
    sparse = reference.copy()
    name = sparse.obsm["response"].columns[3]
    sparse.obsm["response"].iloc[12:, 3] = np.nan
    sparse.obsm["response"].iloc[:6, 3] = np.nan
    with pytest.warns(UserWarning, match=f"1 drugs have fewer than 10 lines.*{name}"):
        make(sparse)


# ---------------------------------------------------------------------- pathways


def test_a_model_of_pathways_needs_pathways(cells) -> None:
    with pytest.raises(KeyError, match=r"pathway_mask\(adata, 'hallmark'\)"):
        make(datasets.toy(n_lines=30))
    with pytest.raises(TypeError, match="pathway_mask"):
        make(datasets.toy(n_lines=30), pathways={"A": ["TP53"]})
    with pytest.raises(ValueError, match="Did you mean 'hallmark'"):
        make(datasets.toy(n_lines=30), pathways="halmark")


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        (["Trp53", "Brca1", "Cdkn2a"], "None of the 3 genes of the sets.*mouse symbols.*orthologues"),
        (["NOGENE1", "NOGENE2"], "None of the 2 genes of the sets"),
    ],
)
def test_sets_of_which_no_gene_is_read_are_refused(reference, tmp_path, genes, message) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("SET\tsource\t" + "\t".join(genes) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        make(reference, pathways=str(path))
    with pytest.raises(ValueError, match=message):
        pp.pathway_mask(reference.copy(), {"SET": genes})


def test_empty_and_repeated_sets_in_a_file_are_refused(reference, tmp_path) -> None:
    path = tmp_path / "sets.gmt"
    genes = "\t".join(datasets.gene_sets("toy")["HYPOXIA"])
    path.write_text(f"A\tsource\t{genes}\nB\tsource\t\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Line 2"):
        make(reference, pathways=str(path))
    path.write_text(f"A\tsource\t{genes}\nA\tsource\t{genes}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="'A' twice"):
        make(reference, pathways=str(path))
    with pytest.raises(ValueError, match="1 gene sets are empty: 'B'"):
        pp.pathway_mask(reference.copy(), {"A": genes.split("\t"), "B": []})


def test_equal_sets_become_one_node_or_are_reported(reference) -> None:
    sets = datasets.gene_sets("toy")
    twice = {**sets, "ZZ HYPOXIA": sets["HYPOXIA"]}
    adata = reference.copy()
    with pytest.warns(UserWarning, match="ZZ HYPOXIA"):
        pp.pathway_mask(adata, twice)
    assert "ZZ HYPOXIA" not in make(adata).pathways_
    pp.pathway_mask(adata, twice, max_jaccard=None)
    table = make(adata).get_pathway_table()
    assert table.loc["ZZ HYPOXIA", ["nearest", "jaccard"]].tolist() == ["HYPOXIA", 1.0]
    assert not table.loc[["HYPOXIA", "ZZ HYPOXIA"], "identified"].any()
    assert table.loc["free 1", ["nearest", "jaccard"]].tolist() == ["", 0.0]


def test_pathways_that_are_too_small_for_what_is_read_are_refused(reference) -> None:
    with pytest.raises(ValueError, match="Lower `min_genes`"):
        make(reference, min_genes=26)


def test_variants_without_pathways_have_none_to_show(reference, cells) -> None:
    model = make(reference, variant="shared", cells=cells)
    for call in (model.get_pathway_activity, model.get_pathway_table):
        with pytest.raises(ValueError, match="has no pathways"):
            call()
