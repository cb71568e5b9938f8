"""The shared code of PathwayTransfer as it is read: latent space, activity of pathways, and how well each is identified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..._arguments import checked

if TYPE_CHECKING:
    from anndata import AnnData

    from ._module import PathwayModule
    from ._settings import Settings


class ActivityMixin:
    """Codes of samples, and what their dimensions say about pathways."""

    if TYPE_CHECKING:
        adata: AnnData | None
        module: PathwayModule
        settings: Settings
        domain: str
        pathways_: list[str]
        pathway_table_: pd.DataFrame | None

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self._evaluate(lambda x: self.module.encode(x, self.domain), np.asarray(expression, dtype=np.float32))

    @checked
    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Shared code of samples (samples × nodes): pathways and free nodes, as the head reads them.

        Parameters
        ----------
        adata
            Samples × genes on the reference's scale; what the model was trained on if omitted.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block; results do not depend on it.
        """
        return super().get_latent_representation(adata, layer=layer, batch_size=batch_size)

    @checked
    def get_pathway_activity(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
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
        state = {name: getattr(self.module, name).cpu().numpy() for name in ("code_mean", "code_sd", "orientation")}
        activity = (code - state["code_mean"]) / state["code_sd"] * state["orientation"]
        samples = self.adata if adata is None else adata
        return pd.DataFrame(activity, index=samples.obs_names, columns=pd.Index(self.pathways_))

    def get_pathway_table(self) -> pd.DataFrame:
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
