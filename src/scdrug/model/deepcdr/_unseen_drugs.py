"""Drugs that were not in training: their codes, what the process says of them, and how near they are to known ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ..._validate import examples
from ...pp._molecules import canonical_smiles, morgan_fingerprints, why_unreadable
from ..prior._drug_kernels import drug_similarity
from ._build import DeepCDRModule
from ._crossfit import structure_kernels
from ._drugs import compared, molecules, structure_features
from ._posterior import Posterior
from ._process import ResponseProcess, mix_drugs

if TYPE_CHECKING:
    from ._model import DeepCDR

#: Share of the training drugs whose nearest neighbour is less similar than what counts as near enough.
_FAR = 0.1


def posterior_of_unseen(model: DeepCDR, other: DeepCDR, smiles: dict[str, str]) -> Posterior:
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
        If a molecule is larger than the network allows.

    Warns
    -----
    UserWarning
        If a structure is unlike all drugs of the training.
    """
    trained = model.posterior
    settings = model.settings
    names, structures = list(smiles), list(smiles.values())
    batch = molecules(structures, settings.drug_features, pool=settings.drug_pool, names=names)
    device = next(trained.module.parameters()).device
    with torch.inference_mode():
        codes = trained.net.eval().encode_drugs(batch.to(device)).cpu().numpy()
    array = trained.module.array
    usable = array("usable").astype(bool)
    features = {name: array(name) for name in ("fingerprints", "minimol") if name in trained.module.kept}
    new = structure_features(structures, model.drug_kernel)
    other.applicability_ = applicability(model, other.drugs.index, new["fingerprints"])
    _warn_of_strangers(names, other.applicability_, features["fingerprints"])
    module = DeepCDRModule(trained.net)
    kept = {name: array(name) for name in ("lines", "trained_lines", "usable")} | features
    if trained.has_process:
        alpha, mean, scale = (array(name).astype(np.float64) for name in ("alpha", "mean", "scale"))
        process = ResponseProcess(alpha, mean, scale, np.zeros((0, 0)))
        features, new = compared(features, model.drug_kernel), compared(new, model.drug_kernel)
        mixed = mix_drugs(process, structure_kernels(features), structure_kernels(features, new), usable)
        kept |= {name: array(name) @ mixed.profiles for name in ("alpha", "new_alpha")}
        kept |= {"mean": mixed.mean, "scale": mixed.scale}
    else:
        # without the process all drugs share one mean and scale
        kept |= {name: np.full(len(names), array(name)[0]) for name in ("mean", "scale")}
    kept |= {"codes": codes, "trained": np.zeros(len(names), dtype=np.uint8)}
    module.keep(**{k: v if v.dtype == np.uint8 else v.astype(np.float32) for k, v in kept.items()})
    return Posterior(other, module, trained.lines)


def similarity_of(training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Tanimoto similarity of Morgan fingerprints (new × training), whatever the kernel of the process."""
    chosen = None if new is None else {"fingerprints": new["fingerprints"]}
    return drug_similarity({"fingerprints": training["fingerprints"]}, chosen)


def _nearest_of_training(fingerprints: np.ndarray) -> np.ndarray:
    """Similarity of each training drug to the most similar other one."""
    similarity = similarity_of({"fingerprints": fingerprints})
    np.fill_diagonal(similarity, 0.0)
    # the same compound under two names says nothing about how far new drugs may lie
    return np.where(similarity > 0.999, 0.0, similarity).max(axis=1)


def _threshold(fingerprints: np.ndarray) -> float:
    return float(np.quantile(_nearest_of_training(fingerprints), _FAR))


def applicability(model: DeepCDR, index: pd.Index, fingerprints: np.ndarray, *, n: int = 3) -> pd.DataFrame:
    """Nearest training drugs of new structures and whether these lie within what the model was trained on.

    Parameters
    ----------
    model
        Trained model.
    index
        Names of the structures.
    fingerprints
        Their Morgan fingerprints (structures × bits).
    n
        Training drugs to name.

    Returns
    -------
    ``nearest`` (names, joined by semicolons), ``similarity`` of the first, ``applicable``.
    """
    module = model.posterior.module
    names = model.drugs["name"].to_numpy()[module.array("usable").astype(bool)]
    training = {"fingerprints": module.array("fingerprints")}
    cross = similarity_of(training, {"fingerprints": fingerprints})
    order = np.argsort(-cross, axis=1, kind="stable")[:, :n]
    highest = cross.max(axis=1).astype(np.float64)
    nearest = ["; ".join(map(str, names[row])) for row in order]
    applicable = highest >= _threshold(training["fingerprints"])
    return pd.DataFrame({"nearest": nearest, "similarity": highest, "applicable": applicable}, index=index)


def _warn_of_strangers(names: list[str], table: pd.DataFrame, fingerprints: np.ndarray) -> None:
    near = zip(names, table["similarity"], table["applicable"], strict=True)
    far = [f"{name} ({value:.2f})" for name, value, applicable in near if not applicable]
    if far:
        warnings.warn(
            f"{len(far)} of {len(names)} structures are unlike all drugs of the training (similarity below "
            f"{_threshold(fingerprints):.2f}), so that their predictions say little: {examples(far)}. See "
            "`model.nearest_drugs`.",
            stacklevel=6,
        )


def nearest_drugs(model: DeepCDR, drugs: Mapping[str, str], *, n: int) -> pd.DataFrame:
    """Training drugs most similar to new structures; see :meth:`DeepCDR.nearest_drugs`."""
    structures = {str(name): canonical_smiles(text) for name, text in drugs.items()}
    bad = [name for name, structure in structures.items() if structure is None]
    if bad:
        shown = ", ".join(f"{name}: {why_unreadable(drugs[name])}" for name in bad[:5])
        raise ValueError(f"{len(bad)} structures cannot be read as SMILES: {shown}. Check them.")
    new = morgan_fingerprints([str(text) for text in structures.values()])
    return applicability(model, pd.Index(list(structures), name="drug"), new, n=n)
