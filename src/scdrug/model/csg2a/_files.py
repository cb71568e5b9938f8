"""What CSG2A keeps in its files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import torch

from ._core_file import PretrainedCore
from ._kernel_path import KernelPath
from ._module import CSG2ANetwork
from ._panel import Panel


class FilesMixin:
    """Files of the model."""

    def _state(self) -> dict[str, Any]:
        assert self._panel is not None
        network = self.module
        edges = network.core.attention.edges
        return {
            "panel": list(self._panel.genes),
            "clip": self._panel.clip,
            "n_features": len(network.core.feature_center),
            "n_edges": -1 if edges is None else edges.shape[1],
            "shares": self._shares,
            "lines": list(self._lines),
            "drug_kernel": None if self._kernel is None else self._kernel.drug_kernel,
            "new_drugs": self._new_drugs,
            "pretrained": None if self._core is None else self._core.describe(),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._loaded = state
        edges = None if state["n_edges"] < 0 else torch.zeros((2, 0), dtype=torch.int64)
        self.module = CSG2ANetwork(
            self.settings, len(state["panel"]), len(self.drugs), n_features=state["n_features"], edges=edges
        )
        if edges is not None:
            self.module.core.attention.edges = torch.zeros((2, state["n_edges"]), dtype=torch.int64)
        self._shares, self._new_drugs = state["shares"], state["new_drugs"]
        self._lines = {name: row for row, name in enumerate(state["lines"])}

    def _module_arrays(self) -> dict[str, np.ndarray]:
        assert self._panel is not None
        arrays = {f"network.{key}": value for key, value in super()._module_arrays().items()}
        arrays |= {f"panel.{key}": getattr(self._panel, key) for key in ("columns", "center", "scale")}
        if self._kernel is not None:
            arrays |= {f"kernel.{key}": value for key, value in self._kernel.arrays.items()}
        return arrays

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        super()._load_module_arrays(part("network."))
        state = self._loaded
        self._panel = Panel(list(state["panel"]), **part("panel."), clip=state["clip"])
        if state["drug_kernel"] is not None:
            self._kernel = KernelPath(part("kernel."), state["drug_kernel"])
        if state["pretrained"] is not None:
            self._core = PretrainedCore.of(self.module.core, self._panel.genes, state["pretrained"])


def _make_plain(params: dict[str, Any], **values: Any) -> None:
    """Put the arguments of the constructor into a form that a file can hold."""
    ppi, genes = values["ppi"], values["genes"]
    plain = {
        # weights and edges stand in the file of the model; to train it anew they have to be given again
        "ppi": "(table)" if isinstance(ppi, pd.DataFrame) else os.fspath(ppi) if isinstance(ppi, os.PathLike) else ppi,
        "core": None,
        "genes": genes if genes is None or isinstance(genes, str) else [str(gene) for gene in genes],
        "encoder_weights": None if values["weights"] is None else "(file)",
        "settings": None if values["settings"] is None else dict(values["settings"]),
    }
    for part in params.values():
        part.update({name: value for name, value in plain.items() if name in part})


def _init_arguments(params: dict[str, Any]) -> dict[str, Any]:
    together = {**params["non_kwargs"], **params["kwargs"]}
    return {name: value for name, value in together.items() if name not in ("adata", "registry")}
