"""PathwayTransfer as it is read: its code over the lines, how well each pathway is identified, and its parts for attribution."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from torch import Tensor

from ..._arguments import checked
from ...pp._gene_sets import most_alike
from .._explain import Explained, cannot_explain, output_of
from .._network import evaluate

if TYPE_CHECKING:
    from anndata import AnnData

    from ._model import PathwayTransfer
    from ._module import PathwayModule

logger = logging.getLogger(__name__)

#: Loss of reconstruction without a node, over the variance of its genes, from which on it is said to be identified.
_IDENTIFIED = 0.01


@checked
def get_pathway_activity(
    self: PathwayTransfer, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
) -> pd.DataFrame:
    """Activity of pathways: the shared code in standard deviations of the lines, up = its genes go up.

    Parameters
    ----------
    adata
        Samples × genes on the reference's scale; what the model was trained on if omitted.
    layer
        Layer to read; `X` if omitted.
    batch_size
        Rows a block; results do not depend on it.

    Returns
    -------
    Samples × pathways, free nodes last. Read it together with :meth:`get_pathway_table`, which says how well each
    is identified.

    Raises
    ------
    ValueError
        If the variant has no pathways.
    """
    if not self.pathways_:
        raise ValueError(f"`variant={self.settings.variant!r}` has no pathways. Train `variant='full'`.")
    code = self.get_latent_representation(adata, layer=layer, batch_size=batch_size)
    samples = self.adata if adata is None else adata
    activity = activity_of(self, code)
    assert activity is not None
    return activity.set_axis(samples.obs_names, axis=0)


def activity_of(self: PathwayTransfer, code: np.ndarray) -> pd.DataFrame | None:
    """Codes in standard deviations of the lines, up where the genes of the pathway go up (samples × pathways)."""
    if not self.pathways_:
        return None
    mean, sd, sign = (getattr(self.module, name).cpu().numpy() for name in ("code_mean", "code_sd", "orientation"))
    return pd.DataFrame((code - mean) / sd * sign, columns=pd.Index(self.pathways_))


def get_pathway_table(self: PathwayTransfer) -> pd.DataFrame:
    """How well each pathway is identified by the sparse decoder, over the training lines.

    Returns
    -------
    By pathway: `n_genes` that the network reads; `r2` of the reconstruction of these genes from all nodes;
    `own_r2`, what is lost of it without this node; `identified`, whether that is at least 0.01; `nearest`, the other
    pathway that shares most of these genes, and `jaccard`, how much: nodes of equal genes cannot be told apart.

    Raises
    ------
    ValueError
        If the variant has no pathways.
    RuntimeError
        If the model was not trained.
    """
    self._check_if_trained(warn=False)
    if self.pathway_table_ is None:
        raise ValueError(f"`variant={self.settings.variant!r}` has no pathways. Train `variant='full'`.")
    return self.pathway_table_.copy()


def explain_code(model: PathwayTransfer, drugs: np.ndarray, *, baseline: str) -> Explained:
    """Inputs are the nodes of the shared code, as in He et al. 2025, section 2.5.

    Parameters
    ----------
    model
        A trained model with pathways.
    drugs
        Columns of the drugs.
    baseline
        ``"lines"``, the mean code of the training lines, or ``"zero"``. The linear path is counted from the mean expression of
        the lines in either case: a code of zero belongs to no expression.

    Returns
    -------
    Its parts.

    Raises
    ------
    TypeError
        If the model has no pathways.
    """
    if not model.pathways_:
        raise cannot_explain(f"{type(model).__name__} without pathways", "pathways")
    module = model.module
    start = module.code_mean.cpu().numpy() * (baseline == "lines")
    return Explained(
        names=list(model.pathways_),
        inputs=model._latent_rows,
        network=lambda code, drug: _respond(module, code, int(drugs[drug])),
        start=start,
        positions=None,
        panel_start=model.profile.mean,
        table=_table(model),
        **output_of(model.reference),
        **_paths(module, drugs),
    )


def explain_expression(model: PathwayTransfer, drugs: np.ndarray, *, baseline: str) -> Explained:
    """Inputs are the genes that the network reads; the linear path reads the whole panel.

    Parameters
    ----------
    model
        A trained model.
    drugs
        Columns of the drugs.
    baseline
        ``"lines"``, the mean expression of the training lines, or ``"zero"``.

    Returns
    -------
    Its parts.
    """
    module = model.module
    positions = module.genes.cpu().numpy()

    def network(expression: Tensor, drug: int) -> Tensor:
        code = module.autoencoder.code((expression - module.mean) / module.sd, model.domain)
        return _respond(module, code, int(drugs[drug]))

    return Explained.of_expression(
        model.reference, model.profile, baseline=baseline, network=network, reads=positions, **_paths(module, drugs)
    )


def _table(model: PathwayTransfer) -> pd.DataFrame:
    """What is known of each node of the code."""
    table = model.get_pathway_table()[["n_genes", "own_r2", "identified"]]
    n_pathways = len(table) - model.settings.n_free
    table.insert(0, "kind", np.where(np.arange(len(table)) < n_pathways, "pathway", "free nodes"))
    return table


def _respond(module: PathwayModule, code: Tensor, drug: int) -> Tensor:
    """What the network adds to the response to one drug (rows): the others' outputs are not computed."""
    last = module.head.output
    standardised = module.head.hidden(code) @ last.weight[drug] + last.bias[drug]
    return module.gate * (module.drug_mean[drug] + module.drug_sd[drug] * standardised)


def _paths(module: PathwayModule, drugs: np.ndarray) -> dict[str, Any]:
    """The linear path and the network's share, as they stand in the parts."""
    module.eval()
    share, linear = 1.0, None
    if module.sizes.linear:
        share = float(module.gate)
        weights, intercept = (value.cpu().numpy() for value in (module.linear, module.intercept))
        linear = (1 - share) * weights[:, drugs], (1 - share) * intercept[drugs]
    return {
        "linear": linear,
        "scale": module.drug_sd.cpu().numpy()[drugs].astype(float),
        "network_share": share,
        "device": module.gate.device,
    }


# ---------------------------------------------------------------------- the code over the lines


def summarise_codes(
    module: PathwayModule, pathways: list[str], expression: np.ndarray, *, n_free: int
) -> tuple[dict[str, np.ndarray], pd.DataFrame | None]:
    """How codes are distributed over the lines, and how well each node is identified.

    Parameters
    ----------
    module
        Trained network.
    pathways
        Names of the nodes, free ones last.
    expression
        Lines × panel.
    n_free
        Free nodes.

    Returns
    -------
    Buffers of the module by name, and the table of :meth:`PathwayTransfer.get_pathway_table`, `None` without pathways.
    """
    code = evaluate(module, lambda x: module.encode(x, "bulk"), expression)
    spread = code.std(axis=0)
    values = {"code_mean": code.mean(axis=0), "code_sd": np.where(spread > 1e-6, spread, 1.0)}
    table = None
    if module.sizes.pathways:
        weights = module.autoencoder.sparse.masked_weight.detach().cpu().numpy()  # genes read × nodes
        mask = module.autoencoder.sparse.mask.cpu().numpy()
        values["orientation"] = np.where(weights.sum(axis=0) < 0, -1.0, 1.0)
        x = evaluate(module, module.read, expression)
        fitted = evaluate(module, module.autoencoder.decode_sparse, code)
        table = identify_nodes(x, fitted, code - code.mean(axis=0), weights, mask)
        nearest, table["jaccard"] = nearest_sets(sp.csr_matrix(mask[:, : len(mask.T) - n_free]), len(table))
        table["nearest"] = [pathways[node] if node >= 0 else "" for node in nearest]
        table.index = pd.Index(pathways, name="pathway")
        table.loc[table["jaccard"] == 1, "identified"] = False
        poor = table.index[~table["identified"]]
        logger.info("%d of %d pathways are not identified: %s", len(poor), len(table), ", ".join(poor))
    return values, table


def nearest_sets(mask: sp.csr_matrix, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The other pathway that shares most of the genes read with each, −1 if there is none, and its Jaccard index.

    Free nodes, which `mask` (genes read × pathways) does not hold, reach all genes and have none.
    """
    nearest, jaccard = most_alike(mask.astype(np.float32))  # products of bool do not count
    n_free = n_nodes - len(nearest)
    return np.append(nearest, np.full(n_free, -1)), np.append(jaccard, np.zeros(n_free))


def identify_nodes(
    x: np.ndarray, fitted: np.ndarray, code: np.ndarray, weights: np.ndarray, mask: np.ndarray
) -> pd.DataFrame:
    """How well genes of each node are reconstructed, with and without it.

    Parameters
    ----------
    x, fitted
        Expression and its reconstruction (lines × genes).
    code
        Centred code (lines × nodes).
    weights, mask
        Decoder (genes × nodes).

    Returns
    -------
    By node: `n_genes`, `r2`, `own_r2`, `identified`, see :meth:`PathwayTransfer.get_pathway_table`.
    """
    centred = x - x.mean(axis=0)
    residual = x - fitted
    total = (centred**2).sum(axis=0)
    left = (residual**2).sum(axis=0)
    members = mask.astype(np.float64)
    pooled = np.maximum(members.T @ total, 1e-12)
    # without node k the residual of gene g is r + z_k w_gk: its square grows by 2 z_k·r w_gk + z_k·z_k w_gk²
    product = (code.T @ residual).T * weights
    growth = (members * (2 * product + (code**2).sum(axis=0) * weights**2)).sum(axis=0)
    own = growth / pooled
    return pd.DataFrame(
        {
            "n_genes": mask.sum(axis=0).astype(int),
            "r2": 1 - members.T @ left / pooled,
            "own_r2": own,
            "identified": own >= _IDENTIFIED,
        }
    )
