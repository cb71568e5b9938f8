"""Embeddings: official file formats, agreement with plain torch, and what must not change a vector."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import scdrug
from scdrug.nn._transformer import AttentionBlock
from scdrug.pp import embed_cells
from scdrug.pp._embed_scfoundation import depths
from scdrug.pp._embed_scgpt import bin_values, tokenize

WIDTH, HEADS, LAYERS = 16, 2, 2
GENES = list(scdrug.datasets.toy().var_names[:160])


def plain_layers(n: int, n_hidden: int) -> nn.ModuleList:
    """What torch has for a post-norm transformer, with weights that are not at their initial values."""
    torch.manual_seed(1)
    layers = nn.ModuleList(
        nn.TransformerEncoderLayer(WIDTH, HEADS, n_hidden, batch_first=True, dropout=0.0) for _ in range(n)
    ).eval()
    for parameter in layers.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layers


def write_scgpt(folder: Path, names: list[str], *, fused: bool = True, **arguments) -> dict[str, torch.Tensor]:
    """A checkpoint folder as the model zoo holds them."""
    folder.mkdir()
    vocabulary = {name: i for i, name in enumerate([*names, "<pad>", "<cls>", "<eoc>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    sizes = {"embsize": WIDTH, "nheads": HEADS, "d_hid": 24, "nlayers": LAYERS, "pad_token": "<pad>", "pad_value": -2}
    (folder / "args.json").write_text(json.dumps(sizes | {"n_bins": 51, "dropout": 0.2} | arguments))
    torch.manual_seed(0)
    state = {
        "encoder.embedding.weight": torch.randn(len(vocabulary), WIDTH),
        "encoder.enc_norm.weight": torch.rand(WIDTH) + 0.5,
        "encoder.enc_norm.bias": torch.randn(WIDTH),
        "value_encoder.linear1.weight": torch.randn(WIDTH, 1),
        "value_encoder.linear1.bias": torch.randn(WIDTH),
        "value_encoder.linear2.weight": torch.randn(WIDTH, WIDTH),
        "value_encoder.linear2.bias": torch.randn(WIDTH),
        "value_encoder.norm.weight": torch.rand(WIDTH) + 0.5,
        "value_encoder.norm.bias": torch.randn(WIDTH),
        "flag_encoder.weight": torch.randn(2, WIDTH),
        "decoder.fc.0.weight": torch.randn(WIDTH, WIDTH),
        "mvc_decoder.gene2query.weight": torch.randn(WIDTH, WIDTH),
    }
    for name, value in plain_layers(LAYERS, 24).state_dict().items():
        name = name.replace("self_attn.in_proj_", "self_attn.Wqkv.") if fused else name
        state[f"transformer_encoder.layers.{name}"] = value
    torch.save(state, folder / "best_model.pt")
    return state


def write_scfoundation(folder: Path, genes: list[str], **changes) -> dict[str, torch.Tensor]:
    """A checkpoint as it is released: three models in one file, of which the one for cells is read."""
    folder.mkdir()
    rows = "\n".join(f"{gene}\t{i}" for i, gene in enumerate(genes))
    (folder / "OS_scRNA_gene_index.19264.tsv").write_text(f"gene_name\tindex\n{rows}\n")
    torch.manual_seed(0)
    state = {
        "token_emb.mlp.weight": torch.randn(10, 1),
        "token_emb.mlp.bias": torch.randn(10),
        "token_emb.mlp2.weight": torch.randn(10, 10),
        "token_emb.mlp2.bias": torch.randn(10),
        "token_emb.emb.weight": torch.randn(10, WIDTH),
        "token_emb.emb_mask.weight": torch.randn(1, WIDTH),
        "token_emb.emb_pad.weight": torch.randn(1, WIDTH),
        "pos_emb.weight": torch.randn(len(genes) + 3, WIDTH),
        "encoder.norm.weight": torch.rand(WIDTH) + 0.5,
        "encoder.norm.bias": torch.randn(WIDTH),
        "decoder_embed.weight": torch.randn(8, WIDTH),
        "to_final.weight": torch.randn(1, 8),
    }
    for name, value in plain_layers(LAYERS, 4 * WIDTH).state_dict().items():
        state[f"encoder.transformer_encoder.{name}"] = value
    encoder = {"hidden_dim": WIDTH, "heads": HEADS, "depth": LAYERS, "module_type": "transformer"} | changes
    sizes = {"encoder": encoder, "decoder": {"hidden_dim": 8}, "bin_num": 10, "bin_alpha": 0.7, "n_class": 104}
    config = {
        "model": "mae_autobin",
        "model_config": {"mae_autobin": sizes},
        "dataset_config": {"rnaseq": {"seq_len": len(genes) + 2, "pad_token_id": 103, "mask_token_id": 102}},
    }
    part = {"config": config, "state_dict": {f"model.{name}": value for name, value in state.items()}}
    torch.save({"gene": part, "cell": part, "rde": part}, folder / "models.ckpt")
    return state


@pytest.fixture
def cells() -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.6, 3.0, size=len(GENES)), size=(7, len(GENES)))
    obs = pd.DataFrame(index=[f"cell-{i}" for i in range(7)])
    return ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=GENES))


@pytest.fixture
def scgpt(tmp_path: Path) -> Path:
    write_scgpt(tmp_path / "scGPT_human", GENES[:120])
    return tmp_path / "scGPT_human"


@pytest.fixture
def scfoundation(tmp_path: Path) -> Path:
    write_scfoundation(tmp_path / "scfoundation", GENES[:120])
    return tmp_path / "scfoundation"


def vectors(adata: ad.AnnData, model: str, checkpoint: Path, **options) -> np.ndarray:
    done = embed_cells(adata, model, checkpoint=checkpoint, cache=options.pop("cache", False), copy=True, **options)
    return done.obsm[options.get("key_added") or f"X_{model}"]


# ---------------------------------------------------------------------- the transformer


def test_attention_blocks_are_torch_s_layers() -> None:
    theirs = plain_layers(1, 24)[0]
    ours = AttentionBlock(WIDTH, HEADS, 24).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 9, WIDTH)
    padding = torch.zeros(3, 9, dtype=torch.bool)
    padding[1, 5:] = True
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
        got, expected = ours(x, padding), theirs(x, src_key_padding_mask=padding)
    torch.testing.assert_close(got[~padding], expected[~padding], atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------------- scGPT


def test_scgpt_agrees_with_plain_torch(cells: ad.AnnData, tmp_path: Path) -> None:
    state = write_scgpt(tmp_path / "zoo", GENES[:120])
    got = vectors(cells, "scgpt", tmp_path / "zoo")
    row = cells.X[2].toarray()[0, :120]
    (genes, levels), *_ = tokenize(np.flatnonzero(row), row[row > 0], max_length=1200)
    tokens = torch.tensor([121, *genes])
    values = torch.tensor([-2.0, *levels])[:, None]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return nn.functional.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"])

    x = norm(state["encoder.embedding.weight"][tokens], "encoder.enc_norm")
    hidden = torch.relu(values @ state["value_encoder.linear1.weight"].T + state["value_encoder.linear1.bias"])
    hidden = hidden @ state["value_encoder.linear2.weight"].T + state["value_encoder.linear2.bias"]
    x = (x + norm(hidden, "value_encoder.norm"))[None]
    with torch.no_grad():
        for layer in plain_layers(LAYERS, 24):
            x = layer(x)
    expected = nn.functional.normalize(x[0, 0], dim=0).numpy()
    np.testing.assert_allclose(got[2], expected, atol=1e-5)


def test_fused_and_plain_names_of_attention_give_the_same(cells: ad.AnnData, tmp_path: Path) -> None:
    write_scgpt(tmp_path / "fused", GENES[:120])
    write_scgpt(tmp_path / "plain", GENES[:120], fused=False)
    np.testing.assert_array_equal(
        vectors(cells, "scgpt", tmp_path / "fused"), vectors(cells, "scgpt", tmp_path / "plain")
    )


@pytest.mark.parametrize("model", ["scgpt", "scfoundation"])
def test_vectors_do_not_depend_on_order_batches_blocks_or_absent_genes(
    model: str, cells: ad.AnnData, request, monkeypatch
) -> None:
    folder = request.getfixturevalue(model)
    expected = vectors(cells, model, folder)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(cells.n_obs), rng.permutation(cells.n_vars)
    shuffled = cells[rows][:, columns].copy()
    np.testing.assert_allclose(vectors(shuffled, model, folder, batch_size=2), expected[rows], atol=1e-5)
    monkeypatch.setattr(scdrug.settings, "chunk_size", 3)
    dense = ad.AnnData(cells.X.toarray(), obs=cells.obs, var=cells.var)
    np.testing.assert_allclose(vectors(dense, model, folder), expected, atol=1e-5)
    wider = ad.concat(
        [cells, ad.AnnData(np.zeros((7, 3)), cells.obs, pd.DataFrame(index=["NOT1", "NOT2", "NOT3"]))], axis=1
    )
    np.testing.assert_allclose(vectors(wider, model, folder), expected, atol=1e-5)


def test_scgpt_reads_ranks_so_counts_and_logarithms_are_one(cells: ad.AnnData, scgpt: Path) -> None:
    expected = vectors(cells, "scgpt", scgpt)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-5)
    logged = cells.copy()
    logged.X = logged.X.log1p()
    np.testing.assert_allclose(vectors(logged, "scgpt", scgpt), expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=200), st.integers(0, 100))
def test_levels_rise_with_expression_and_survive_monotone_transforms(counts: list[int], seed: int) -> None:
    values = np.array(counts, dtype=np.float32)
    levels = bin_values(values, np.random.default_rng(seed))
    assert levels.min() >= 1
    assert levels.max() <= 50
    order = np.argsort(values)
    means = pd.Series(levels).groupby(values).mean()
    assert means.is_monotonic_increasing
    assert (
        pd.Series(levels).groupby(values).min().iloc[1:].to_numpy()
        >= pd.Series(levels).groupby(values).max().iloc[:-1].to_numpy()
    ).all()
    for transform in (np.log1p, np.sqrt, lambda v: 3 * v):
        np.testing.assert_array_equal(bin_values(transform(values), np.random.default_rng(seed)), levels)
    assert len(order) == len(levels)


def test_levels_of_distinct_values_are_their_quantiles() -> None:
    values = np.arange(1, 101, dtype=np.float64)
    levels = bin_values(values, np.random.default_rng(0))
    edges = np.quantile(values, np.linspace(0, 1, 50))
    inner = (values > edges[0]) & (values < edges[-1])
    np.testing.assert_array_equal(levels[inner], np.digitize(values[inner], edges))


def test_long_cells_are_sampled_by_seed_and_samples_are_averaged(cells: ad.AnnData, scgpt: Path) -> None:
    whole = vectors(cells, "scgpt", scgpt)
    first, again, other = (vectors(cells, "scgpt", scgpt, max_length=20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    many = vectors(cells, "scgpt", scgpt, max_length=20, n_samples=30)
    assert np.linalg.norm(many - whole, axis=1).mean() < np.linalg.norm(first - whole, axis=1).mean()
    samples = tokenize(np.arange(30), np.arange(1.0, 31.0), max_length=11, n_samples=2)
    assert [len(genes) for genes, _ in samples] == [10, 10]


# ---------------------------------------------------------------------- scFoundation


@pytest.mark.parametrize("pool", ["max", "all"])
def test_scfoundation_agrees_with_plain_torch(pool: str, cells: ad.AnnData, tmp_path: Path) -> None:
    state = write_scfoundation(tmp_path / "release", GENES[:120])
    got = vectors(cells, "scfoundation", tmp_path / "release", pool=pool)
    row = cells.X[4].toarray()[0, :120].astype(np.float64)
    genes = np.flatnonzero(row)
    logged = np.log1p(row[genes] / row.sum() * 1e4)
    values = torch.tensor([*logged, 4.0, np.log10(row.sum())], dtype=torch.float32)[:, None]
    hidden = nn.functional.leaky_relu(values @ state["token_emb.mlp.weight"].T + state["token_emb.mlp.bias"], 0.1)
    mixed = hidden @ state["token_emb.mlp2.weight"].T + state["token_emb.mlp2.bias"] + 0.7 * hidden
    x = mixed.softmax(dim=1) @ state["token_emb.emb.weight"]
    x = (x + state["pos_emb.weight"][torch.tensor([*genes, 120, 121])])[None]
    with torch.no_grad():
        for layer in plain_layers(LAYERS, 4 * WIDTH):
            x = layer(x)
    x = nn.functional.layer_norm(x[0], (WIDTH,), state["encoder.norm.weight"], state["encoder.norm.bias"])
    parts = [x.amax(dim=0)] if pool == "max" else [x[-1], x[-2], x[:-2].amax(dim=0), x[:-2].mean(dim=0)]
    np.testing.assert_allclose(got[4], torch.cat(parts).numpy(), atol=1e-4)


def test_depths_are_what_each_kind_of_sample_needs() -> None:
    block = sp.csr_matrix(np.array([[10.0, 0.0, 30.0], [1.0, 1.0, 0.0]], dtype=np.float32))
    values, target, source = depths(block, "counts", sample="cells")
    np.testing.assert_allclose(values.toarray()[0], np.log1p([2500, 0, 7500]), rtol=1e-5)
    np.testing.assert_allclose(target, 4)
    np.testing.assert_allclose(source, np.log10([40, 2]))
    values, target, source = depths(block, "log", sample="bulk_sum")
    np.testing.assert_array_equal(values.toarray(), block.toarray())
    np.testing.assert_allclose(target, [40, 2])
    np.testing.assert_allclose(source, target)
    np.testing.assert_allclose(depths(block, "log", sample="bulk")[1], np.log10([40, 2]))


def test_scfoundation_sees_depth(cells: ad.AnnData, scfoundation: Path) -> None:
    deep = cells.copy()
    deep.X = deep.X * 10
    assert (
        np.abs(vectors(deep, "scfoundation", scfoundation) - vectors(cells, "scfoundation", scfoundation)).max() > 1e-4
    )
    logged = cells.copy()
    logged.X = logged.X.log1p()
    assert np.isfinite(vectors(logged, "scfoundation", scfoundation, sample="bulk_sum")).all()


# ---------------------------------------------------------------------- checkpoints and input


@pytest.mark.parametrize("model", ["scgpt", "scfoundation"])
def test_vectors_are_read_from_the_cache_and_say_where_they_come_from(
    model: str, cells: ad.AnnData, request, tmp_path: Path, monkeypatch
) -> None:
    folder = request.getfixturevalue(model)
    embed_cells(cells, model, checkpoint=folder, cache=tmp_path / "cache")
    first = cells.obsm[f"X_{model}"].copy()
    described = cells.uns["embeddings"][f"X_{model}"]
    assert not described["cached"]
    assert described["n_genes"] == 120
    assert all(len(value) == 64 for value in described["sha256"].values())
    monkeypatch.setattr("scdrug.pp._embed_common.aligned_rows", None)
    for name in ("scgpt", "scfoundation"):
        monkeypatch.setattr(f"scdrug.pp._embed_{name}.aligned_rows", None)
    embed_cells(cells, model, checkpoint=folder, cache=tmp_path / "cache")
    assert cells.uns["embeddings"][f"X_{model}"]["cached"]
    np.testing.assert_array_equal(cells.obsm[f"X_{model}"], first)
    cells.X[0, 0] += 1  # other data are another entry
    with pytest.raises(TypeError):
        embed_cells(cells, model, checkpoint=folder, cache=tmp_path / "cache")
    cells.write_h5ad(tmp_path / "cells.h5ad")


def test_a_damaged_cache_entry_is_made_again(cells: ad.AnnData, scgpt: Path, tmp_path: Path) -> None:
    expected = vectors(cells, "scgpt", scgpt, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(b"half")
    with pytest.warns(UserWarning, match="damaged"):
        np.testing.assert_array_equal(vectors(cells, "scgpt", scgpt, cache=tmp_path / "cache"), expected)


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("scgpt", "vocab.json"),
        ("scgpt", "best_model.pt"),
        ("scfoundation", "models.ckpt"),
        ("scfoundation", "OS_scRNA_gene_index.19264.tsv"),
    ],
)
def test_incomplete_folders_are_named(model: str, file: str, cells: ad.AnnData, request, tmp_path: Path) -> None:
    folder = request.getfixturevalue(model)
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} is missing"):
        embed_cells(cells, model, checkpoint=folder)
    with pytest.raises(FileNotFoundError, match="No folder"):
        embed_cells(cells, model, checkpoint=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs `checkpoint`"):
        embed_cells(cells, model)


def test_checkpoints_of_another_architecture_or_with_code_are_refused(cells: ad.AnnData, tmp_path: Path) -> None:
    write_scgpt(tmp_path / "a", GENES[:120], nlayers=3)
    with pytest.raises(ValueError, match="another architecture.*missing"):
        embed_cells(cells, "scgpt", checkpoint=tmp_path / "a")
    write_scgpt(tmp_path / "b", GENES[:120], input_emb_style="category")
    with pytest.raises(ValueError, match="input_emb_style is 'category'"):
        embed_cells(cells, "scgpt", checkpoint=tmp_path / "b")
    (tmp_path / "b" / "args.json").write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        embed_cells(cells, "scgpt", checkpoint=tmp_path / "b")
    write_scgpt(tmp_path / "c", GENES[:120])
    torch.save({"weights": nn.Linear(2, 2)}, tmp_path / "c" / "best_model.pt")
    with pytest.raises(ValueError, match="could run code"):
        embed_cells(cells, "scgpt", checkpoint=tmp_path / "c")
    write_scfoundation(tmp_path / "d", GENES[:120], module_type="performer")
    with pytest.raises(ValueError, match="another architecture.*performer"):
        embed_cells(cells, "scfoundation", checkpoint=tmp_path / "d")
    write_scfoundation(tmp_path / "e", GENES[:120], hidden_dim=32)
    with pytest.raises(ValueError, match="of another size"):
        embed_cells(cells, "scfoundation", checkpoint=tmp_path / "e")
    write_scfoundation(tmp_path / "f", GENES[:120])
    torch.save({"gene": {}}, tmp_path / "f" / "models.ckpt")
    with pytest.raises(ValueError, match="must hold 'cell'"):
        embed_cells(cells, "scfoundation", checkpoint=tmp_path / "f")


@pytest.mark.parametrize("model", ["scgpt", "scfoundation"])
def test_cells_that_cannot_be_embedded_are_named(model: str, cells: ad.AnnData, request) -> None:
    folder = request.getfixturevalue(model)
    strange = cells.copy()
    strange.var_names = [f"gene{i}" for i in range(cells.n_vars)]
    with pytest.raises(ValueError, match="Only 0 genes .* in the vocabulary"):
        embed_cells(strange, model, checkpoint=folder, cache=False)
    empty = cells.copy()
    empty.X[3] = 0
    with pytest.raises(ValueError, match="1 cells express no gene.*'cell-3'"):
        embed_cells(empty, model, checkpoint=folder, cache=False)
    centred = cells.copy()
    centred.X = centred.X.toarray() - 1
    with pytest.raises(ValueError, match="negative"):
        embed_cells(centred, model, checkpoint=folder, cache=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model": "scgtp"}, "Did you mean 'scgpt'"), ({"pool": "mean"}, "pool"), ({"batch_size": 0}, "batch_size")],
)
def test_unknown_choices_are_refused(options: dict, message: str, cells: ad.AnnData) -> None:
    with pytest.raises(ValueError, match=message):
        embed_cells(cells, **options)
    with pytest.raises(TypeError, match="get_latent_representation"):
        embed_cells(cells, 3)


# ---------------------------------------------------------------------- the official vocabularies


def test_the_official_vocabularies_fit_real_lines(shared_data: Path, tmp_path: Path) -> None:
    lines = scdrug.datasets.ccle(path=shared_data / "ccle")[:3].copy()
    names = list(json.loads((shared_data / "vocab" / "default_gene_vocab.json").read_text()))
    write_scgpt(tmp_path / "scgpt", names)
    embed_cells(lines, "scgpt", checkpoint=tmp_path / "scgpt", cache=False)
    assert lines.obsm["X_scgpt"].shape == (3, WIDTH)
    assert lines.uns["embeddings"]["X_scgpt"]["n_genes"] >= 690, "of 697"
    genes = pd.read_csv(shared_data / "vocab" / "OS_scRNA_gene_index.19264.tsv", sep="\t")["gene_name"].tolist()
    assert len(genes) == 19_264
    write_scfoundation(tmp_path / "scfoundation", genes)
    embed_cells(lines, "scfoundation", checkpoint=tmp_path / "scfoundation", sample="bulk_sum", cache=False)
    assert lines.uns["embeddings"]["X_scfoundation"]["n_genes"] >= 690


# ---------------------------------------------------------------------- without a checkpoint


@pytest.mark.parametrize(("model", "key"), [("factors", "X_factors"), ("pca", "X_reference_pca")])
def test_directions_of_a_reference_hold_for_lines_and_cells(model: str, key: str) -> None:
    reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    embed_cells(reference, model, n_components=8)
    embed_cells(cells, model, reference=reference, n_components=8)
    assert reference.obsm[key].shape == (reference.n_obs, 8)
    assert cells.obsm[key].shape == (cells.n_obs, 8)
    profile = scdrug.pp._profile.ReferenceProfile.fit(reference.X, reference.var_names)
    again = embed_cells(reference, model, reference=profile, method="none", n_components=8, copy=True)
    np.testing.assert_allclose(again.obsm[key], reference.obsm[key], atol=1e-4)
    activity = reference.obsm["true_pathway_activity"].to_numpy()
    fit = np.linalg.lstsq(np.column_stack([reference.obsm[key], np.ones(len(activity))]), activity, rcond=None)[0]
    explained = np.column_stack([reference.obsm[key], np.ones(len(activity))]) @ fit
    assert np.corrcoef(explained.ravel(), activity.ravel())[0, 1] > 0.9


def test_any_object_with_a_latent_space_embeds(cells: ad.AnnData) -> None:
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    ridge = scdrug.model.KernelRidge(reference)
    ridge.train()
    embed_cells(reference, ridge, key_added="X_mine")
    np.testing.assert_allclose(reference.obsm["X_mine"], ridge.get_latent_representation(reference), atol=1e-6)

    class Short:
        def get_latent_representation(self, adata):
            return np.zeros((2, 3))

    with pytest.raises(ValueError, match="latent row for each"):
        embed_cells(reference, Short())
