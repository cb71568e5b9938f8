"""Single cells with a known answer, and a real tumour."""

from __future__ import annotations

import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples, import_optional
from ._local import card, obtain, require
from ._registry import registry
from ._tables import read_h5ad, read_table

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

_PLATES = ("p1", "p2", "p3")
_SPIKE_IN = "ERCC-"


@checked
def sc_mixology(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """Mixture of five lung cancer lines, sequenced with CEL-seq2, with the line of each cell known from genotypes.

    No cell was drugged: what is known is the response of the lines in a bulk screen. Keep A549, H1975, H2228, H838 and
    HCC827 out of the training of any model that is judged on these cells (GDSC spells them A549, NCI-H1975 or NCIH1975,
    and so on).

    Parameters
    ----------
    path
        Folder with ``sc_celseq2_5cl_<p1|p2|p3>.count.csv.gz`` and ``….metadata.csv.gz``, instead of the cache.

    Returns
    -------
    Cells × genes:

    ``X``
        UMI counts, CSR, float32. A gene that a plate's table does not list had no count there and is zero: the union of
        the genes is kept.
    ``obs``
        ``cell_line`` (call from genotypes), ``singlet`` (571 cells are; the line of the others means nothing),
        ``plate``, ``barcode``, ``n_spike_in`` (counts of ERCC spike-ins, which are not among the genes) and the
        quality figures of the authors. Cells are called by plate and well, since wells repeat between plates.
    ``var_names``
        Ensembl ids; see :func:`scdrug.pp.map_gene_ids`.
    ``uns['expression']``, ``uns['dataset']``
        Scale (``"counts"``), and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` lacks a file.
    RuntimeError
        If a file is neither cached nor to be had.

    Notes
    -----
    Source: Tian et al. 2019 (doi:10.1038/s41592-019-0425-8).

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.sc_mixology()  # doctest: +SKIP
    >>> cells = cells[cells.obs["singlet"]].copy()  # doctest: +SKIP
    """
    import anndata

    folder = obtain("sc_mixology", [file.file for file in registry()["sc_mixology"].files], path)
    plates, files = [], []
    for plate in _PLATES:
        counts = require(folder, [f"*_{plate}.count.csv.gz", f"*_{plate}.count.csv"], what=f"counts of {plate}")
        metadata = require(folder, [f"*_{plate}.metadata.csv.gz", f"*_{plate}.metadata.csv"], what=f"cells of {plate}")
        plates.append(_read_plate(counts, metadata, plate))
        files += [counts, metadata]
    adata = anndata.concat(plates, join="outer", fill_value=0)
    adata = adata[:, np.sort(adata.var_names.to_numpy())].copy()
    adata.uns[KEYS.EXPRESSION] = {"scale": "counts"}
    adata.uns[KEYS.DATASET] = card("sc_mixology", files)
    return adata


def _read_plate(counts: Path, metadata: Path, plate: str) -> AnnData:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    table = read_table(counts, index=True, numbers=True)
    obs = read_table(metadata, index=True, columns=("cell_line_demuxlet", "demuxlet_cls"))
    lacking = table.columns.difference(obs.index)
    if len(lacking):
        raise ValueError(f"{metadata} lacks {len(lacking)} of the cells of {counts.name}: {examples(lacking)}.")
    if obs.index.has_duplicates:
        raise ValueError(f"{metadata} names cells twice: {examples(obs.index[obs.index.duplicated()])}.")
    obs = obs.reindex(table.columns)
    is_spike_in = table.index.str.startswith(_SPIKE_IN)
    names = [f"{plate}_{barcode.rsplit('_', 1)[-1]}" for barcode in table.columns]
    obs = obs.drop(columns=["batch", "cell_line_demuxlet", "demuxlet_cls"], errors="ignore").assign(
        cell_line=obs["cell_line_demuxlet"].to_numpy(dtype=object),
        singlet=(obs["demuxlet_cls"] == "SNG").to_numpy(),
        plate=plate,
        barcode=table.columns.to_numpy(dtype=object),
        n_spike_in=table[is_spike_in].sum(axis=0).to_numpy(),
    )
    genes = table[~is_spike_in]
    return AnnData(
        X=csr_matrix(genes.to_numpy(dtype=np.float32).T),
        obs=obs.set_axis(pd.Index(names, dtype=object), axis=0),
        var=pd.DataFrame(index=pd.Index(genes.index.astype(str), name=None)),
    )


@checked
def a375_plx4720(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """A375 melanoma cells, parental and made resistant to the BRAF inhibitor PLX-4720.

    Parameters
    ----------
    path
        The file ``scad_A375_plx4720.h5ad``, or the folder that holds it. No program can fetch the archive it comes
        from; without `path` it is looked for in the cache, and if it is not there the error says how to get it.

    Returns
    -------
    108 cells × 2,873 genes:

    ``X``
        Expression, z-scored per gene over these cells, float32; it cannot be turned back to counts.
    ``obs``
        ``sensitive`` (True for the 62 parental cells), ``cell_line``.
    ``var``
        ``entrez_id``; names are symbols.
    ``uns['expression']``, ``uns['dataset']``
        Scale (``"scaled"``), and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` does not hold the file.
    RuntimeError
        If the file is not in the cache.
    KeyError
        If the file lacks the labels or the gene symbols.

    Notes
    -----
    Sensitive and resistant cells were cultured apart, so that whatever differs between the cultures separates them too.

    Source: Ho et al. 2018 (doi:10.1101/gr.234062.117), as preprocessed by Zheng et al. 2023
    (doi:10.1002/advs.202204113).

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.a375_plx4720(path="scad_A375_plx4720.h5ad")  # doctest: +SKIP
    """
    import anndata

    file, raw = _read_cells("a375_plx4720", "scad_A375_plx4720.h5ad", "*A375*.h5ad", path)
    check_key(raw.obs, "sensitive_PLX4720", where=f"{file}: obs")
    check_key(raw.var, "symbol", where=f"{file}: var")
    adata = anndata.AnnData(
        X=np.asarray(raw.X, dtype=np.float32),
        obs=pd.DataFrame(
            {"sensitive": raw.obs["sensitive_PLX4720"].to_numpy() == 1, "cell_line": "A375"},
            index=raw.obs_names.astype(str),
        ),
        var=pd.DataFrame({"entrez_id": raw.var_names.to_numpy(dtype=object)}, index=raw.var["symbol"].astype(str)),
    )
    adata.var.index.name = None
    adata.uns[KEYS.EXPRESSION] = {"scale": "scaled", "standardised": "within each gene"}
    adata.uns[KEYS.DATASET] = card("a375_plx4720", [file])
    return adata


@checked
def breast_atlas(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """Cells of breast cancer lines, sequenced with Drop-seq, each line of which is in a bulk screen.

    No cell was drugged: what is known is the response of the lines. Keep them out of the training of any model that is judged
    on these cells.

    Parameters
    ----------
    path
        An ``.h5ad`` file of the atlas, or the folder that holds it. The archive holds an R object, so that no program can fetch
        this file; without `path` it is looked for in the cache, and if it is not there the error says how to make it.

    Returns
    -------
    Cells × genes:

    ``X``
        UMI counts, CSR, float32.
    ``obs``
        ``cell_line`` (name in the atlas) and ``reference_line`` (name in GDSC; empty for MCF12A, normal-like breast, which was
        not screened).
    ``var_names``
        Ensembl ids; see :func:`scdrug.pp.map_gene_ids`.
    ``uns['expression']``, ``uns['dataset']``
        Scale (``"counts"``), and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` does not hold the file.
    RuntimeError
        If the file is not in the cache.
    KeyError
        If the file lacks the lines.

    Notes
    -----
    Source: Gambardella et al. 2022 (doi:10.1038/s41467-022-29358-6).

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.breast_atlas(path="bc_atlas_14_lines.h5ad")  # doctest: +SKIP
    """
    import anndata
    from scipy.sparse import csr_matrix

    file, raw = _read_cells("breast_atlas", "bc_atlas_14_lines.h5ad", "*bc_atlas*.h5ad", path)
    for column in ("cell_line", "gdsc"):
        check_key(raw.obs, column, where=f"{file}: obs")
    adata = anndata.AnnData(
        X=csr_matrix(raw.X, dtype=np.float32),
        obs=pd.DataFrame(
            {
                "cell_line": raw.obs["cell_line"].astype(str).to_numpy(dtype=object),
                "reference_line": raw.obs["gdsc"].astype(object).fillna("").astype(str).to_numpy(dtype=object),
            },
            index=raw.obs_names.astype(str),
        ),
        var=pd.DataFrame(index=pd.Index(raw.var_names.astype(str), name=None)),
    )
    adata.uns[KEYS.EXPRESSION] = {"scale": "counts"}
    adata.uns[KEYS.DATASET] = card("breast_atlas", [file])
    return adata


@checked
def pbmc(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """Healthy blood cells: a negative control, for which no drug should be ranked.

    Parameters
    ----------
    path
        An ``.h5ad`` file of counts, or the folder that holds it. The archive holds a matrix in several files, so that no program
        can fetch this one; without `path` it is looked for in the cache, and if it is not there the error says how to make it.

    Returns
    -------
    80 cells × 23,530 genes:

    ``X``
        UMI counts, CSR, float32.
    ``var_names``
        Ensembl ids; see :func:`scdrug.pp.map_gene_ids`.
    ``uns['expression']``, ``uns['dataset']``
        Scale (``"counts"``), and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` does not hold the file.
    RuntimeError
        If the file is not in the cache.

    Notes
    -----
    Screens hold lines of leukaemia and lymphoma, so that blood cells resemble a reference more than other normal cells do.

    Source: Zheng et al. 2017 (doi:10.1038/ncomms14049), as drawn by Fustero-Torre et al. 2021 (doi:10.1186/s13073-021-01001-x).

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.pbmc(path="pbmc80_counts.h5ad")  # doctest: +SKIP
    """
    import anndata
    from scipy.sparse import csr_matrix

    file, raw = _read_cells("pbmc", "pbmc80_counts.h5ad", "*pbmc*.h5ad", path)
    adata = anndata.AnnData(
        X=csr_matrix(raw.X, dtype=np.float32),
        obs=pd.DataFrame(index=raw.obs_names.astype(str)),
        var=pd.DataFrame(index=pd.Index(raw.var_names.astype(str), name=None)),
    )
    adata.uns[KEYS.EXPRESSION] = {"scale": "counts"}
    adata.uns[KEYS.DATASET] = card("pbmc", [file])
    return adata


def _read_cells(dataset: str, name: str, pattern: str, path: str | os.PathLike[str] | None) -> tuple[Path, AnnData]:
    """The file of a data set, or one of another name in `path`, and what it holds."""
    file = require(obtain(dataset, [name], path), [name, pattern], what="the cells")
    return file, read_h5ad(file)


def oligodendroglioma() -> AnnData:
    """Cells of five oligodendrogliomas: malignant ones, and microglia and oligodendrocytes.

    The data come with the package infercnvpy (extra ``demo``): nothing is downloaded.

    Returns
    -------
    184 cells × 9,450 genes:

    ``X``
        Linear expression (TPM-like, each cell sums to about 100,000), CSR, float32; not counts and not logarithms.
    ``obs``
        ``cell_type``, ``malignant`` (bool) and ``sample`` (the tumour, from the name of the cell).
    ``var``
        ``chromosome``, ``start``, ``end`` and figures of the authors; names are symbols.
    ``uns['expression']``, ``uns['dataset']``
        Scale (``"linear"``), and the card of the data set.

    Raises
    ------
    ImportError
        If infercnvpy is not installed.

    Notes
    -----
    Source: Tirosh et al. 2016 (doi:10.1038/nature20123).

    Examples
    --------
    >>> import scdrug
    >>> tumour = scdrug.datasets.oligodendroglioma()
    >>> int(tumour.obs["malignant"].sum())
    142
    """
    with warnings.catch_warnings():
        # The packaged file is older than the notes on encoding that anndata misses in it.
        warnings.filterwarnings("ignore", message=".*without encoding metadata")
        adata = _packaged_tumour()
    cell_type = adata.obs["cell_type"].astype(str)
    adata.obs["malignant"] = cell_type.str.startswith("malignant").to_numpy()
    tumour = pd.Series(adata.obs_names.str.split("_").str[0])
    adata.obs["sample"] = pd.Categorical(("MGH" + tumour.str.removeprefix("MGH")).to_numpy(dtype=object))
    adata.uns[KEYS.EXPRESSION] = {"scale": "linear"}
    adata.uns[KEYS.DATASET] = {
        "name": "oligodendroglioma",
        "description": "Cells of five oligodendrogliomas, as shipped in the package infercnvpy",
        "licence": "BSD-3-Clause as stated by the carrying package; data from GEO (GSE70630)",
        "citation": "Tirosh et al., Nature 539, 309 (2016), doi:10.1038/nature20123",
        "file": ["oligodendroglioma.h5ad"],
        "url": [""],
        "sha256": [""],
    }
    return adata


def _packaged_tumour() -> AnnData:
    """Read the file of infercnvpy, whose import would load scanpy and all that it needs."""
    spec = find_spec("infercnvpy")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        file = Path(folder) / "datasets" / "data" / "oligodendroglioma.h5ad"
        if file.is_file():
            return read_h5ad(file)
    infercnvpy = import_optional("infercnvpy", extra="demo", purpose="scdrug.datasets.oligodendroglioma()")
    return infercnvpy.datasets.oligodendroglioma()
