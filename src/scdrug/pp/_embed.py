"""Embed cells and bulk profiles with pretrained encoders, or with directions learned from the reference at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._store import reserve, store
from .._validate import check_choice, plain
from ._checks import check_cells
from ._embed_common import cached, file_hash, fingerprint
from ._harmonize import as_profile
from ._place import place_cells

if TYPE_CHECKING:
    from anndata import AnnData

    from ._profile import ReferenceProfile

#: Encoders by name, with the key of `obsm`.
ENCODERS = {
    "factors": "X_factors",
    "pca": "X_reference_pca",
    "scgpt": "X_scgpt",
    "scfoundation": "X_scfoundation",
}
#: Where descriptions of embeddings are kept in `uns`.
EMBEDDINGS = "embeddings"


@checked
def embed_cells(
    adata: AnnData,
    model: str | Any = "factors",
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    reference: AnnData | ReferenceProfile | None = None,
    layer: str | None = None,
    key_added: str | None = None,
    n_components: int = 50,
    method: str = "quantile",
    max_length: int = 1200,
    n_samples: int = 1,
    pool: str = "max",
    sample: str = "cells",
    target_depth: float = 4.0,
    batch_size: int = 64,
    device: str = "auto",
    seed: int = 0,
    cache: bool | str | os.PathLike[str] = True,
    copy: bool = False,
) -> AnnData | None:
    """Embed samples, for models that read an embedding instead of genes (``DeepCDR(cell_input=…)``).

    Embed the training lines and the cells to predict with the same encoder and the same settings.

    Parameters
    ----------
    adata
        Cells or bulk profiles × genes: symbols, Ensembl or Entrez ids.
    model
        - ``"factors"``, ``"pca"``: scores along the leading directions of the `reference`; needs no download. Factor scores
          are standardised and shrunk where genes are missing.
        - ``"scgpt"``: vector of the cell token (Cui et al. 2024), of length one. Counts and logarithms give the same.
        - ``"scfoundation"``: pooled tokens (Hao et al. 2024).
        - any object with `get_latent_representation(adata)`, such as a trained scVI model.
    checkpoint
        Official folder of the encoder, which you have to get yourself. scGPT: ``args.json``, ``vocab.json``,
        ``best_model.pt``. scFoundation: ``models.ckpt`` and ``OS_scRNA_gene_index.19264.tsv``; its weights are for
        non-commercial research only. Nothing in it is executed.
    reference
        Bulk reference, or its profile, that ``"factors"`` and ``"pca"`` take directions from; `adata` is harmonized onto it
        first. If omitted, directions are those of `adata` itself.
    layer
        Layer to read; `X` if omitted.
    key_added
        Key of `obsm`; ``"X_"`` and the name of the encoder by default (``"X_reference_pca"`` for ``"pca"``).
    n_components
        Directions of ``"factors"`` and ``"pca"``.
    method
        How `adata` is brought onto the scale of `reference`, see :func:`scdrug.pp.harmonize`; ``"none"`` for profiles that
        are on it already.
    max_length
        scGPT: most tokens per cell; of more expressed genes a random sample is read.
    n_samples
        scGPT: samples to average for such cells.
    pool
        scFoundation: ``"max"`` over all tokens, or ``"all"``: both depth tokens, maximum and mean over genes.
    sample
        scFoundation: ``"cells"``, ``"bulk"``, or ``"bulk_sum"``, the depth as in the published drug response.
    target_depth
        scFoundation: depth to imagine for cells, log10 of counts.
    batch_size
        Most samples per batch; results do not depend on it.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ….
    seed
        Of scGPT's ties and samples.
    cache
        Keep vectors of pretrained encoders on disk, by content of data, checkpoint and settings: in
        ``scdrug.settings.data_dir``, or in a folder. `False` keeps nothing.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or the changed copy. Sets

    ``adata.obsm[key_added]``
        Samples × dimensions, float32.
    ``adata.uns["embeddings"][key_added]``
        Encoder, settings, hash of the checkpoint, and how many genes it read.

    Raises
    ------
    ValueError
        If `model` is unknown, too few genes are in the vocabulary, cells are empty, values are negative, or a checkpoint is
        damaged or of another architecture.
    FileNotFoundError
        If the checkpoint folder or a file in it is missing.

    Notes
    -----
    Embeddings of lines by scFoundation correlate at 0.98 with each other: they are standardised by the models that read them.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.embed_cells(reference, "factors", n_components=8)
    >>> scdrug.pp.embed_cells(cells, "factors", reference=reference, n_components=8)
    >>> reference.obsm["X_factors"].shape[1] == cells.obsm["X_factors"].shape[1]
    True
    """
    check_cells(adata)
    settings_ = {
        "layer": layer, "n_components": n_components, "method": method, "max_length": max_length, "n_samples": n_samples,
        "pool": pool, "sample": sample, "target_depth": target_depth, "batch_size": batch_size, "device": device,
        "seed": seed, "cache": cache,
    }  # fmt: skip
    _check_settings(settings_)
    if isinstance(model, str):
        check_choice("model", model, tuple(ENCODERS))
    key = key_added if key_added is not None else _default_key(model)
    _reserve(adata, key)
    if not isinstance(model, str):
        values, described = _embed_with_object(adata, model)
    elif model in ("factors", "pca"):
        values, described = _embed_directions(adata, model, reference, settings_)
    else:
        values, described = _embed_pretrained(adata, model, checkpoint, settings_)
    if not np.isfinite(values).all():
        raise RuntimeError("The embedding holds values that are not finite. Nothing was stored; check the expression.")
    values = {
        ("obsm", key): np.ascontiguousarray(values, dtype=np.float32),
        ("uns", EMBEDDINGS): {**adata.uns.get(EMBEDDINGS, {}), key: plain(described)},
    }
    adata = store(adata, values, copy=copy)
    return adata if copy else None


def _default_key(model: str | Any) -> str:
    return ENCODERS[model] if isinstance(model, str) else f"X_{type(model).__name__.lower()}"


def _reserve(adata: AnnData, key: str) -> None:
    described = adata.uns.get(EMBEDDINGS, {})
    if not isinstance(described, Mapping):
        raise ValueError(
            f"`adata.uns[{EMBEDDINGS!r}]` holds a {type(described).__name__}, where scdrug describes its embeddings. Rename it "
            "first."
        )
    reserve(
        adata,
        [("obsm", key)],
        report=EMBEDDINGS,
        recognise=lambda held: key in held,
        former=lambda _: [("obsm", key)],
        function="scdrug.pp.embed_cells",
    )


def _check_settings(settings_: dict[str, Any]) -> None:
    from ._embed_scfoundation import POOLS, SAMPLES

    check_choice("pool", settings_["pool"], POOLS)
    check_choice("sample", settings_["sample"], SAMPLES)
    for name, least in (("n_components", 1), ("n_samples", 1), ("batch_size", 1), ("max_length", 2)):
        value = settings_[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}; found {value!r}.")


def _embed_with_object(adata: AnnData, model: Any) -> tuple[np.ndarray, dict[str, Any]]:
    if not hasattr(model, "get_latent_representation"):
        raise TypeError(
            f"`model` must be one of {', '.join(map(repr, ENCODERS))}, or an object with `get_latent_representation`; found "
            f"{type(model).__name__}."
        )
    values = model.get_latent_representation(adata)
    values = np.asarray(values.to_numpy() if isinstance(values, pd.DataFrame) else values, dtype=np.float32)
    if values.ndim != 2 or len(values) != adata.n_obs:
        raise ValueError(f"Expected a latent row for each of {adata.n_obs} samples; found shape {values.shape}.")
    return values, {"model": type(model).__name__}


def _embed_directions(
    adata: AnnData, model: str, reference: AnnData | ReferenceProfile | None, settings_: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    layer = settings_["layer"]
    if reference is None:
        source, method = (adata if layer is None else _layer_as_x(adata, layer)), "none"
    else:
        source, method = reference, settings_["method"]
    profile, _ = as_profile(source)
    placed = place_cells(adata, profile, method=method, layer=layer, min_coverage=0.1)
    n = min(settings_["n_components"], len(profile.loadings))
    directions = profile.loadings[:n] / np.linalg.norm(profile.loadings[:n], axis=1, keepdims=True).clip(min=1e-12)
    parts = []
    for _, block in placed.blocks():
        rows = block.values
        parts.append(
            profile.scores(rows)[:, :n] if model == "factors" else ((rows - profile.mean) / profile.sd) @ directions.T
        )
    described = {"model": model, "n_components": n, "method": method, "gene_coverage": placed.coverage}
    return np.vstack(parts), described


def _layer_as_x(adata: AnnData, layer: str) -> AnnData:
    from anndata import AnnData as New

    return New(adata.layers[layer], var=pd.DataFrame(index=adata.var_names))


def _embed_pretrained(
    adata: AnnData, model: str, checkpoint: str | os.PathLike[str] | None, settings_: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    from . import _embed_scfoundation as scfoundation
    from . import _embed_scgpt as scgpt

    module = scgpt if model == "scgpt" else scfoundation
    if checkpoint is None:
        raise ValueError(
            f"`model={model!r}` needs `checkpoint`, the official folder with {', '.join(module.FILES)}. {module._SOURCE} "
            "Without one, model='factors' embeds along the directions of your own reference."
        )
    folder = Path(checkpoint).expanduser()
    names = ("max_length", "n_samples", "seed") if model == "scgpt" else ("pool", "sample", "target_depth")
    chosen = {name: settings_[name] for name in names}
    read = scgpt.read_scgpt if model == "scgpt" else scfoundation.read_scfoundation
    loaded = read(folder)  # checked even if the cache answers
    hashes = {name: file_hash(folder / name) for name in module.FILES}
    n_read: list[int] = []

    def compute() -> np.ndarray:
        embed = scgpt.embed_scgpt if model == "scgpt" else scfoundation.embed_scfoundation
        common = {name: settings_[name] for name in ("layer", "batch_size", "device")}
        values, n_genes = embed(adata, loaded, **common, **chosen)
        n_read.append(n_genes)
        return values

    key = fingerprint(adata, layer=settings_["layer"], parts=(model, sorted(hashes.items()), sorted(chosen.items())))
    values, found = cached(key, compute, cache=settings_["cache"])
    described = {"model": model, "checkpoint": folder.name, "sha256": hashes, "cached": found, **chosen}
    return values, described | ({"n_genes": n_read[0]} if n_read else {})
