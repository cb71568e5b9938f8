"""A core that has learned from perturbation data, in memory and in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..._validate import examples
from ...pp._genes import match_genes
from .._arrays import Array, check_header, check_values, require, skeleton
from .._schema import MAX_LAYERS, Count, Part, Size, blaming, check_part
from .._storage import CONFIG, Weights, read_config, write_model
from ._module import Core
from ._panel import Panel, fit_panel
from ._settings import Settings

_CLASS = "CSG2ACore"
#: Settings that decide the shape of a core.
_SHAPE = ("encoder", "encoder_width", "encoder_layers", "encoder_heads", "propagation", "n_hidden")
#: Least share of a core's genes that a reference must have.
_MIN_COVERAGE = 0.3


@dataclass(frozen=True, eq=False)
class PretrainedCore:
    """Weights of a core with the genes and the shape that they belong to."""

    state: dict[str, Tensor]
    genes: list[str]
    shape: dict[str, Any]
    #: What it was trained on, and how well it did beside simple predictions.
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, core: Core, genes: Sequence[str], described: dict[str, Any]) -> PretrainedCore:
        """Copy the weights of a network's core; `described` is what :meth:`describe` returned."""
        state = {name: value.detach().cpu().clone() for name, value in core.state_dict().items()}
        return cls(state, list(genes), dict(described["shape"]), dict(described["summary"]))

    def describe(self) -> dict[str, Any]:
        """Shape and summary, in plain types."""
        return {"shape": self.shape, "summary": self.summary}

    @property
    def edges(self) -> Tensor | None:
        """Prior network that the core was trained with."""
        return self.state.get("attention.edges")

    def check(self, settings: Settings, n_features: int) -> None:
        """Raise unless the core fits a network of these settings.

        Raises
        ------
        ValueError
            If the shape differs; the first difference is named.
        """
        wanted = shape_of(settings, n_features)
        wrong = [name for name, value in wanted.items() if self.shape.get(name) != value]
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"The pretrained core does not fit: its `{name}` is {self.shape.get(name)!r}, and {wanted[name]!r} was asked "
                f"for. Pass {name}={self.shape.get(name)!r}, or pretrain another core."
            )

    def panel_in(self, genes: Sequence[str], values: np.ndarray, *, clip: float) -> Panel:
        """Find the core's genes in a reference and scale them by its lines (lines × genes of the reference).

        Raises
        ------
        ValueError
            If the reference lacks most of the genes.
        """
        columns = match_genes([str(gene) for gene in genes], self.genes).columns
        share = float((columns >= 0).mean())
        if share < _MIN_COVERAGE:
            lacking = [gene for gene, column in zip(self.genes, columns) if column < 0]
            raise ValueError(
                f"The reference has {share:.0%} of the {len(self.genes)} genes of the pretrained core; at least "
                f"{_MIN_COVERAGE:.0%} are needed. It lacks {examples(lacking, 3)}. Pretrain a core on a panel that the "
                "reference measures (`genes=`)."
            )
        return fit_panel(self.genes, columns, values, clip=clip)

    def save(self, dir_path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the core to a folder that opens without running code."""
        arrays = {name: value.numpy() for name, value in self.state.items()}
        config = {"class": _CLASS, "genes": self.genes, **self.describe()}
        card = f"# Pretrained core of CSG2A\n\n{len(self.genes)} genes, encoder {self.shape['encoder']}.\n"
        card += "".join(f"- {name}: {value}\n" for name, value in self.summary.items())
        write_model(dir_path, arrays, config, card, overwrite=overwrite)


def check_edges(edges: np.ndarray, n_genes: int, path: Path) -> None:
    """Raise unless the edges of a prior network, as read from a file, name positions of its genes."""
    inside = not edges.size or (edges.min() >= 0 and edges.max() < n_genes)
    require(path, "attention.edges", inside, f"name positions among the {n_genes} genes")


class CoreShape(Part):
    """:func:`shape_of` in a file."""

    encoder: str
    propagation: str
    n_hidden: Size
    n_features: Count
    encoder_width: Size = 1
    encoder_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)] = 1
    encoder_heads: Size = 1


def shape_of(settings: Settings, n_features: int) -> dict[str, Any]:
    """What a core's weights depend on."""
    names = _SHAPE if settings.encoder in ("mat", "graph") else ("encoder", "propagation", "n_hidden")
    return {name: getattr(settings, name) for name in names} | {"n_features": n_features}


def read_core(path: str | os.PathLike[str]) -> PretrainedCore:
    """Read a folder that :meth:`PretrainedCore.save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds something else.
    """
    config = read_config(path)
    if config["class"] != _CLASS:
        raise ValueError(f"{path} holds a {config['class']}, not a pretrained core. Write one with `save_core`.")
    weights = Weights(path, config)
    manifest = weights.path.with_name(CONFIG)
    check_part(CoreShape, config["shape"], manifest, "shape")
    with blaming(manifest, "shape"), torch.device("meta"):  # sizes without memory
        shape = dict(config["shape"])
        n_features = shape.pop("n_features")
        wanted = skeleton(Core(replace(Settings(), **shape), len(config["genes"]), n_features=n_features).state_dict())
    wanted["attention.edges"] = Array((2, "edges"), "int", optional=True)
    check_header(weights.path, weights.header, wanted)
    arrays = weights.read()
    check_values(weights.path, arrays, wanted)
    if "attention.edges" in arrays:
        check_edges(arrays["attention.edges"], len(config["genes"]), weights.path)
    weights.check_intact()
    state = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    return PretrainedCore(state, list(config["genes"]), dict(config["shape"]), dict(config["summary"]))
