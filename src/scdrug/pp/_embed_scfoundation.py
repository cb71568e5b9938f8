"""Cells and bulk profiles through scFoundation, from the official checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .._validate import examples
from ._embed_common import aligned_rows, by_length, require_files, resolve_device, vocabulary_columns
from ._scale import check_scale

if TYPE_CHECKING:
    from anndata import AnnData

    from ..nn._scfoundation import ScFoundationEncoder

FILES = ("models.ckpt", "OS_scRNA_gene_index.19264.tsv")
_SOURCE = (
    "Get models.ckpt from the official release (non-commercial research only), and put the gene list of "
    "github.com/biomap-research/scFoundation beside it."
)
POOLS = ("max", "all")
SAMPLES = ("cells", "bulk", "bulk_sum")
#: The part of the checkpoint that was trained for cells.
_PART = "cell"
_TOTAL = 1e4
_MIN_GENES = 50
_MAX_TOKENS = 40_000


class ScFoundationCheckpoint(NamedTuple):
    """A checkpoint that was read and checked."""

    encoder: ScFoundationEncoder
    #: Genes in the order of the positions.
    genes: list[str]
    width: int


def read_scfoundation(folder: Path) -> ScFoundationCheckpoint:
    """Read an official checkpoint.

    Parameters
    ----------
    folder
        Holds ``models.ckpt`` and ``OS_scRNA_gene_index.19264.tsv``.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or of another architecture; nothing in it is executed.
    """
    from ..nn._checkpoint import load_exactly, read_checkpoint
    from ..nn._scfoundation import ScFoundationEncoder

    files = require_files(folder, FILES, what="scFoundation", source=_SOURCE)
    genes = _read_genes(files[FILES[1]])
    content = read_checkpoint(files["models.ckpt"])
    part = content.get(_PART) if isinstance(content, Mapping) else None
    if not isinstance(part, Mapping) or not {"config", "state_dict"} <= set(part):
        found = examples(content, 4) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{files['models.ckpt']} must hold {_PART!r} with 'config' and 'state_dict'; found {found}.")
    config = _config(part["config"], files["models.ckpt"])
    kept = ("token_emb.", "pos_emb.", "encoder.")
    state = {name.removeprefix("model."): value for name, value in part["state_dict"].items()}
    state = {name: value for name, value in state.items() if name.startswith(kept)}
    encoder = ScFoundationEncoder(
        len(genes) + 2,
        width=int(config["encoder"]["hidden_dim"]),
        n_heads=int(config["encoder"]["heads"]),
        n_layers=int(config["encoder"]["depth"]),
        n_bins=int(config["bin_num"]),
        skip=float(config["bin_alpha"]),
    )
    load_exactly(encoder, state, where=str(files["models.ckpt"]))
    return ScFoundationCheckpoint(encoder.eval(), genes, int(config["encoder"]["hidden_dim"]))


def _read_genes(path: Path) -> list[str]:
    from ..datasets._tables import read_table

    table = read_table(path, columns=("gene_name",), text=True, missing=False)
    return table["gene_name"].tolist()


def _config(config: Any, path: Path) -> dict[str, Any]:
    """Sizes of the encoder."""
    try:
        model = config["model"]
        sizes = dict(config["model_config"][model])
        encoder = sizes["encoder"]
        complete = {"hidden_dim", "heads", "depth"} <= set(encoder) and {"bin_num", "bin_alpha"} <= set(sizes)
        plain = encoder.get("module_type", "transformer") == "transformer"
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} lacks the sizes of the model ({error!r}); it is of another architecture.") from error
    if model != "mae_autobin" or not complete or not plain:
        raise ValueError(
            f"{path} is of another architecture: expected 'mae_autobin' with a transformer encoder, found {model!r} with "
            f"{encoder.get('module_type', 'an incomplete encoder')!r}."
        )
    return sizes


def embed_scfoundation(
    adata: AnnData,
    checkpoint: ScFoundationCheckpoint,
    *,
    layer: str | None,
    pool: str,
    sample: str,
    target_depth: float,
    batch_size: int,
    device: str,
) -> tuple[np.ndarray, int]:
    """Embed cells or bulk profiles.

    Parameters
    ----------
    adata
        Samples × genes: counts, linear values or logarithms.
    checkpoint
        What :func:`read_scfoundation` returned.
    layer
        Layer to read.
    pool
        ``"max"`` or ``"all"``.
    sample
        How depth is told, see :func:`depths`.
    target_depth
        Depth to imagine, log10 of counts, for cells.
    batch_size
        Most samples per batch.
    device
        Where to compute.

    Returns
    -------
    Samples × width (4 × width for ``"all"``), and how many genes of `adata` are in the vocabulary.
    """
    import torch

    from ..nn._scfoundation import pool_tokens

    scale = check_scale(adata, layer=layer)
    n_genes = len(checkpoint.genes)
    columns = vocabulary_columns(
        adata, checkpoint.genes, what="scFoundation", min_genes=min(_MIN_GENES, n_genes), layer=layer
    )
    where = resolve_device(device)
    encoder = checkpoint.encoder.to(where)
    out = np.zeros((adata.n_obs, checkpoint.width * (4 if pool == "all" else 1)), dtype=np.float32)
    for rows, block in aligned_rows(adata, columns, layer=layer, what="scFoundation"):
        values, target, source = depths(block, scale, sample=sample, target_depth=target_depth)
        lengths = np.diff(values.indptr) + 2
        part = np.zeros((values.shape[0], out.shape[1]), dtype=np.float32)
        for chosen in by_length(lengths, batch_size, _MAX_TOKENS):
            arrays = _fill(values, target, source, chosen, n_genes)
            with torch.inference_mode():
                tokens = encoder(*(torch.from_numpy(array).to(where) for array in arrays))
                counts = torch.from_numpy(lengths[chosen].astype(np.int64)).to(where)
                part[chosen] = pool_tokens(tokens, counts, pool).cpu().numpy()
        out[rows] = part
    return out, int((columns >= 0).sum())


def depths(
    block: sp.csr_matrix, scale: str, *, sample: str, target_depth: float = 4.0
) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Log expression, and the target and source depth that the model is told.

    Parameters
    ----------
    block
        Samples × genes of the vocabulary.
    scale
        ``"counts"``, ``"linear"`` or ``"log"``. Anything but logarithms becomes log(1 + 10⁴ · share of the total).
    sample
        ``"cells"``: source is log10 of the total before normalisation, target is `target_depth`. ``"bulk"``: both are
        log10 of the sum of the log values. ``"bulk_sum"``: both are that sum, as for the published drug response.
    target_depth
        Target for cells.
    """
    totals = np.asarray(block.sum(axis=1), dtype=np.float64).ravel()
    values = block.copy()
    if scale != "log":
        values.data = np.log1p(values.data / np.repeat(totals, np.diff(values.indptr)) * _TOTAL).astype(np.float32)
    if sample == "cells":
        return values, np.full(len(totals), target_depth), np.log10(totals)
    sums = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
    depth = np.log10(sums) if sample == "bulk" else sums
    return values, depth, depth


def _fill(
    values: sp.csr_matrix, target: np.ndarray, source: np.ndarray, chosen: np.ndarray, n_genes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, positions and filling of a minibatch: genes, then target depth, then source depth."""
    sizes = np.diff(values.indptr)[chosen]
    length = int(sizes.max()) + 2
    filled = np.zeros((len(chosen), length), dtype=np.float32)
    position = np.full((len(chosen), length), n_genes + 2, dtype=np.int64)
    padding = np.ones((len(chosen), length), dtype=bool)
    for row, (sample, size) in enumerate(zip(chosen, sizes)):
        part = slice(values.indptr[sample], values.indptr[sample + 1])
        filled[row, :size], position[row, :size] = values.data[part], values.indices[part]
        filled[row, size : size + 2] = target[sample], source[sample]
        position[row, size : size + 2] = n_genes, n_genes + 1
        padding[row, : size + 2] = False
    return filled, position, padding
