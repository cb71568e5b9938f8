"""What CSG2A keeps in its files."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from .._arrays import Array
from .._schema import MAX_LAYERS, Count, LinesState, Name, Part, Share
from ..prior._drug_kernels import feature_arrays
from ._core_file import PretrainedCore
from ._kernel_path import KernelPath
from ._module import CSG2ANetwork
from ._panel import Panel


class CorePart(Part):
    """What is said of a pretrained core."""

    shape: dict[str, Any]
    summary: dict[str, Any]


class CSG2AState(LinesState):
    """What the model keeps beside its arrays."""

    panel: list[Name]
    clip: Annotated[float, Field(ge=0)]
    n_features: Count
    #: −1 for no prior network.
    n_edges: Annotated[int, Field(ge=-1, le=1 << 40)]
    shares: dict[Literal["pair", "line"], Share] | None
    drug_kernel: Literal["", "tanimoto", "mean"] | None
    new_drugs: bool
    pretrained: CorePart | None


#: Arrays of the kernel path: always, for drugs of the training, and for new drugs.
_KERNEL = {
    "lines": Array(("lines", "genes")), "alpha": Array(("lines", "drugs")), "intercept": Array(("drugs",)),
    "known": Array(("lines", "drugs")), "left_out": Array(("lines", "drugs"), optional=True, finite=False),
}  # fmt: skip
_KERNEL_NEW = {
    "drug_alpha": Array(("usable drugs",)), "drug_intercept": Array((1,)), "residual": Array(("lines", "usable drugs")),
    "line_alpha": Array(("lines", 1)), "line_intercept": Array((1,)), "line_effect": Array(("lines",)),
    "line_residual": Array(("usable drugs", "lines")),
}  # fmt: skip


class FilesMixin:
    """Files of the model."""

    _state_schema = CSG2AState

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
        if max(self.settings.encoder_layers, len(self.settings.head)) > MAX_LAYERS:
            raise ValueError(f"a network of more than {MAX_LAYERS} layers is asked for")
        self.module = CSG2ANetwork(self.settings, len(state["panel"]), len(self.drugs), n_features=state["n_features"])
        if state["n_edges"] >= 0:
            self.module.core.attention.edges = torch.zeros((2, state["n_edges"]), dtype=torch.int64)
        self._shares, self._new_drugs = state["shares"], state["new_drugs"]
        self._lines = {name: row for row, name in enumerate(state["lines"])}

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self._lines)} if self._lines else {}

    def _wanted_arrays(self) -> dict[str, Array]:
        wanted = {f"network.{name}": array for name, array in super()._wanted_arrays().items()}
        n_genes, kernel = len(self._loaded["panel"]), self._loaded["drug_kernel"]
        wanted |= {"panel.columns": Array((n_genes,), "int")}
        wanted |= {f"panel.{name}": Array((n_genes,)) for name in ("center", "scale")}
        if (kernel is None) != (self._shares is None):
            raise ValueError("`shares` and `drug_kernel` are for models with a kernel path, and stand together")
        if kernel is not None:
            arrays = _KERNEL | (_KERNEL_NEW | feature_arrays(kernel) if kernel else {})
            wanted |= {f"kernel.{name}": array for name, array in arrays.items()}
        return wanted

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

        columns, n_genes = arrays["panel.columns"], len(self.genes)
        if columns.size and (columns.min() < -1 or columns.max() >= n_genes):
            raise ValueError(f"`panel.columns` must name positions among {n_genes} genes, or −1")
        super()._load_module_arrays(part("network."))
        state = self._loaded
        edges = self.module.core.attention.edges
        if edges is not None and edges.numel() and (edges.min() < 0 or edges.max() >= len(state["panel"])):
            raise ValueError("`network.core.attention.edges` must name positions of the panel")
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
