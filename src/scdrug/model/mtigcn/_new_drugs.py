"""Prediction of drugs that were not in training, from their structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..prior._drug_kernels import drug_similarity
from ._build import QUANTITIES, new_drug_process
from ._features import feature_matrix, structure_features
from ._finish import DRUG_ARRAYS, keep_process
from ._module import MTIGCNModule
from ._posterior import Posterior
from ._process import DrugProcess

if TYPE_CHECKING:
    from ._model import MTIGCN


def posterior_of_unseen(model: MTIGCN, other: MTIGCN, smiles: dict[str, str]) -> Posterior:
    """What predicts drugs from their structure.

    Parameters
    ----------
    model
        Trained model.
    other
        Model that will hold the result.
    smiles
        Canonical SMILES by name.

    Raises
    ------
    ValueError
        If there were too few structures in training.
    """
    trained, settings = model.posterior.module, model.settings
    features, usable = structure_features(list(smiles.values()), settings.drug_features)
    stored = {name: trained.array(f"feature_{name}") for name in features}
    module = MTIGCNModule(trained.net)
    kept = [
        name
        for name in ("gene_mean", "gene_scale", "loadings", "line_codes", "lines", "known_lines")
        if name in trained.kept
    ]
    module.keep(**{name: trained.array(name) for name in kept})
    n = len(smiles)
    mean, scale = np.full(n, trained.array("mean").mean()), np.full(n, np.median(trained.array("scale")))
    spread = np.full(n, np.median(trained.array("scale_of_drug")))
    if settings.process:
        if "response_drug_effect" not in trained.kept:
            raise ValueError(
                "New drugs need at least three training drugs with a structure that can be read, and there are "
                f"{int(trained.array('usable').sum())}. Add SMILES to `adata.uns['drugs']` and train again."
            )
        cross = drug_similarity(stored, features)
        for name in QUANTITIES:
            parts = {part: trained.array(f"{name}_drug_{part}").astype(np.float64) for part in DRUG_ARRAYS}
            process = new_drug_process(DrugProcess(**parts), cross)  # type: ignore[arg-type]
            keep_process(module, name, process)
            if name == "response" and settings.scale_response:
                mean = process.fitted.mean(axis=0)
    offset = np.median((trained.array("thresholds") - trained.array("drug_means")) / trained.array("scale_of_drug"))
    if settings.network:
        net = trained.net
        assert net is not None
        matrix = feature_matrix(features, usable, stored)
        with torch.inference_mode():
            device = next(net.parameters()).device
            codes = net.eval().encoder.new_drugs(torch.from_numpy(matrix).to(device)).cpu().numpy()
        module.keep(drug_codes=codes)
    centre = mean if settings.scale_response else np.full(n, trained.array("drug_means").mean())
    module.keep(
        mean=mean,
        scale=scale,
        scale_of_drug=spread,
        thresholds=centre + offset * spread,
        known_drugs=np.zeros(n, dtype=np.uint8),
    )
    return Posterior(other, module, model.posterior.lines)
