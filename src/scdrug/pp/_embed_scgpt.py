"""Cells through scGPT, from the official checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._embed_common import aligned_rows, by_length, require_files, resolve_device, vocabulary_columns

if TYPE_CHECKING:
    from anndata import AnnData

    from ..nn._scgpt import ScGPTEncoder

FILES = ("args.json", "vocab.json", "best_model.pt")
_SOURCE = "Get the whole folder (for example 'scGPT_human') from the model zoo of github.com/bowang-lab/scGPT."
_PAD, _CLS, _END = "<pad>", "<cls>", "<eoc>"
#: Levels of expression in a cell, zero included; fixed in the official recipe.
_N_BINS = 51
_MIN_GENES = 50
#: Tokens of a minibatch, filling included.
_MAX_TOKENS = 40_000


class ScGPTCheckpoint(NamedTuple):
    """A checkpoint that was read and checked."""

    encoder: ScGPTEncoder
    #: Position of each token in the vocabulary.
    vocabulary: dict[str, int]
    pad_value: float
    width: int


def read_scgpt(folder: Path) -> ScGPTCheckpoint:
    """Read an official checkpoint folder.

    Parameters
    ----------
    folder
        Holds ``args.json``, ``vocab.json`` and ``best_model.pt``.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or of another architecture; nothing in it is executed.
    """
    from ..nn._checkpoint import load_exactly, read_checkpoint
    from ..nn._scgpt import ScGPTEncoder, official_names

    files = require_files(folder, FILES, what="scGPT", source=_SOURCE)
    arguments, vocabulary = _read_json(files["args.json"]), _read_json(files["vocab.json"])
    for token in (_PAD, _CLS, _END):  # the official code appends what a vocabulary lacks
        vocabulary.setdefault(token, len(vocabulary))
    lacking = [key for key in ("embsize", "nheads", "d_hid", "nlayers", "pad_value") if key not in arguments]
    style = arguments.get("input_emb_style", "continuous")
    if lacking or style != "continuous":
        reason = f"it lacks {', '.join(lacking)}" if lacking else f"its input_emb_style is {style!r}"
        raise ValueError(
            f"{files['args.json']} is of another architecture than scGPT's whole-human model: {reason}; expected "
            "embsize, nheads, d_hid, nlayers, pad_value, and a continuous value encoder."
        )
    state = official_names(dict(read_checkpoint(files["best_model.pt"])))
    encoder = ScGPTEncoder(
        len(vocabulary),
        width=int(arguments["embsize"]),
        n_heads=int(arguments["nheads"]),
        n_hidden=int(arguments["d_hid"]),
        n_layers=int(arguments["nlayers"]),
    )
    load_exactly(encoder, state, where=str(files["best_model.pt"]))
    return ScGPTCheckpoint(encoder.eval(), vocabulary, float(arguments["pad_value"]), int(arguments["embsize"]))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}). Get the checkpoint folder anew.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold names with values; found {type(content).__name__}.")
    return content


def embed_scgpt(
    adata: AnnData,
    checkpoint: ScGPTCheckpoint,
    *,
    layer: str | None,
    max_length: int,
    n_samples: int,
    batch_size: int,
    device: str,
    seed: int,
) -> tuple[np.ndarray, int]:
    """Embed cells.

    Parameters
    ----------
    adata
        Cells × genes, not negative.
    checkpoint
        What :func:`read_scgpt` returned.
    layer
        Layer to read.
    max_length
        Most tokens per cell, the one for the cell included; of more genes a random sample is read.
    n_samples
        Samples to average for cells with more genes.
    batch_size
        Most cells per batch.
    device
        Where to compute.
    seed
        Of ties and samples.

    Returns
    -------
    Cells × width, each of length one, and how many genes of `adata` are in the vocabulary.
    """
    import torch

    genes = [name for name in checkpoint.vocabulary if not name.startswith("<")]
    columns = vocabulary_columns(adata, genes, what="scGPT", min_genes=min(_MIN_GENES, len(genes)), layer=layer)
    token_of = np.array([checkpoint.vocabulary[name] for name in genes], dtype=np.int64)
    where = resolve_device(device)
    encoder = checkpoint.encoder.to(where)
    out = np.zeros((adata.n_obs, checkpoint.width), dtype=np.float32)
    for rows, block in aligned_rows(adata, columns, layer=layer, what="scGPT"):
        cells = [
            tokenize(block.indices[a:b], block.data[a:b], max_length=max_length, n_samples=n_samples, seed=seed)
            for a, b in zip(block.indptr[:-1], block.indptr[1:])
        ]
        owner = np.repeat(np.arange(len(cells)), [len(samples) for samples in cells])
        sequences = [sample for samples in cells for sample in samples]
        lengths = np.array([len(genes_) + 1 for genes_, _ in sequences])
        total = np.zeros((len(cells), checkpoint.width), dtype=np.float64)
        for chosen in by_length(lengths, batch_size, _MAX_TOKENS):
            batch = _fill([sequences[i] for i in chosen], token_of, checkpoint)
            with torch.inference_mode():
                vectors = encoder(*(torch.from_numpy(array).to(where) for array in batch)).float().cpu().numpy()
            np.add.at(total, owner[chosen], vectors)
        out[rows] = total / np.linalg.norm(total, axis=1, keepdims=True)
    return out, int((columns >= 0).sum())


def tokenize(
    genes: np.ndarray, values: np.ndarray, *, max_length: int, n_samples: int = 1, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Expressed genes of a cell with their level, once or, if there are too many, in several random samples.

    Parameters
    ----------
    genes
        Position in the vocabulary of each expressed gene, rising.
    values
        Their expression, above zero.
    max_length
        Most tokens, the one for the cell included.
    n_samples
        How many samples to draw if there are more.
    seed
        Seed; draws depend on it, the genes and the order of their values, so not on the order of cells or genes.

    Returns
    -------
    Positions and levels 1-50, by sample.
    """
    rank = np.unique(values, return_inverse=True)[1]
    entropy = [seed, len(genes), *np.frombuffer(_digest(genes, rank), dtype=np.uint32).tolist()]
    rng = np.random.default_rng(entropy)
    levels = bin_values(values, rng)
    if len(genes) < max_length:
        return [(genes, levels)]
    picks = [np.sort(rng.permutation(len(genes))[: max_length - 1]) for _ in range(n_samples)]
    return [(genes[pick], levels[pick]) for pick in picks]


def _digest(*arrays: np.ndarray) -> bytes:
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.digest()


def bin_values(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Level of each expressed gene within its cell: between which of 50 quantiles it lies, 1-50.

    Values that equal several quantiles are spread over their levels at random. A monotone transform of the values does not
    change the levels, so counts and logarithms give the same.

    Parameters
    ----------
    values
        Expression above zero of one cell.
    rng
        Spreads ties.
    """
    # edges between order statistics, found by rank: interpolated values could be moved past each other by rounding
    order, rank = np.unique(values, return_inverse=True)
    position = np.linspace(0, len(values) - 1, _N_BINS - 1)
    ordered = np.sort(rank)
    low, high = ordered[np.floor(position).astype(int)], ordered[np.ceil(position).astype(int)]
    edges = np.where(np.isclose(position, np.rint(position)), ordered[np.rint(position).astype(int)], (low + high) / 2)
    above, at_least = np.digitize(rank, edges), np.digitize(rank, edges, right=True)
    levels = np.ceil(above - rng.random(len(values)) * (above - at_least))
    return np.clip(levels, 1, _N_BINS - 1).astype(np.float32)


def _fill(
    sequences: list[tuple[np.ndarray, np.ndarray]], token_of: np.ndarray, checkpoint: ScGPTCheckpoint
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, values and filling of a minibatch; the first token stands for the cell and has the value of filling."""
    length = max(len(genes) for genes, _ in sequences) + 1
    tokens = np.full((len(sequences), length), checkpoint.vocabulary[_PAD], dtype=np.int64)
    values = np.full((len(sequences), length), checkpoint.pad_value, dtype=np.float32)
    padding = np.ones((len(sequences), length), dtype=bool)
    tokens[:, 0] = checkpoint.vocabulary[_CLS]
    padding[:, 0] = False
    for row, (genes, levels) in enumerate(sequences):
        stop = len(genes) + 1
        tokens[row, 1:stop], values[row, 1:stop], padding[row, 1:stop] = token_of[genes], levels, False
    return tokens, values, padding
