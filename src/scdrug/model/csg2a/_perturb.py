"""What perturbation data teach: profiles and their conditions, pretraining, and the core that comes of it, in memory and in a folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from ..._validate import examples
from ...pp._genes import match_genes
from ...pp._perturbation import Perturbations
from .._arrays import Array, check_header, check_values, require, skeleton
from .._batches import TableBatches
from .._plan import Phase, Stopping
from .._schema import MAX_LAYERS, Count, Part, Size, blaming, check_part
from .._storage import CONFIG, Weights, read_config, write_model
from ._module import Core, CSG2ANetwork
from ._panel import Panel, fit_panel, robust_scale
from ._settings import Settings
from ._structures import Structures

#: Samples that are propagated at once.
_CHUNK = 256
_CLASS = "CSG2ACore"
#: Settings that decide the shape of a core.
_SHAPE = ("encoder", "encoder_width", "encoder_layers", "encoder_heads", "propagation", "n_hidden")
#: Least share of a core's genes that a reference must have.
_MIN_COVERAGE = 0.3


# ---------------------------------------------------------------------- profiles


@dataclass(frozen=True, eq=False)
class Profiles:
    """Perturbed profiles on a panel beside their controls, some of them held out."""

    #: `basal` and `treated` (profiles × panel), `structure` (position in `structures`), `dose` (µM) and `time` (h).
    tensors: dict[str, Tensor]
    structures: Structures
    #: Which genes of the panel are measured (bool).
    measured: np.ndarray
    #: Which profiles are for validation (bool).
    held: np.ndarray
    #: `smiles`, `dose` and `time`, by profile.
    conditions: pd.DataFrame

    @classmethod
    def read(
        cls, data: Perturbations, columns: np.ndarray, settings: Settings, *, validation: float, seed: int
    ) -> Profiles:
        """Bring profiles to robust z scores over the treated ones, and hold out whole conditions.

        Parameters
        ----------
        data
            Profiles; those whose structure cannot be read are left out.
        columns
            Column of the data for each gene of the panel, −1 where it was not measured.
        settings
            Encoder of structures, and largest deviation.
        validation
            Share of the conditions (structure, dose and time) to hold out, so that replicates stay together.
        seed
            Seed of the draw.

        Raises
        ------
        ValueError
            If no structure can be read, or the share is out of range.

        Warns
        -----
        UserWarning
            If profiles are left out.
        """
        codes, unique = pd.factorize(data.conditions["smiles"].astype(str))
        structures = Structures.read([str(text) for text in unique], settings.encoder)
        good = structures.known[codes]
        if not good.any():
            raise ValueError(
                f"None of the {len(unique)} structures of the perturbation data can be read as SMILES, such as "
                f"{examples(unique, 3)}. Name the column of structures with `smiles_key=`."
            )
        if not good.all():
            warnings.warn(
                f"{int((~good).sum())} of {len(good)} profiles are left out, since their structure cannot be read: "
                f"{examples(unique[~structures.known], 3)}.",
                stacklevel=3,
            )
        conditions = data.conditions[good]
        numbers = {name: torch.from_numpy(conditions[name].to_numpy(dtype=np.float32)) for name in ("dose", "time")}
        basal, treated = on_panel(data.basal[good], data.treated[good], columns, clip=settings.clip)
        tensors = {"basal": basal, "treated": treated, "structure": torch.from_numpy(codes[good].astype(np.int64))}
        held = _hold_out_conditions(conditions, validation, seed)
        return cls(tensors | numbers, structures, columns >= 0, held, conditions)

    def batches(self, held: bool, batch_size: int, generator: torch.Generator | None = None) -> TableBatches:
        """Minibatches of the profiles that are held out, or of the others."""
        rows = torch.from_numpy(self.held == held)
        return TableBatches(
            {name: tensor[rows] for name, tensor in self.tensors.items()}, batch_size, generator=generator
        )

    @property
    def trained_structures(self) -> np.ndarray:
        """Which structures training sees (bool)."""
        seen = self.tensors["structure"][torch.from_numpy(~self.held)].unique().numpy()
        return np.isin(np.arange(len(self.structures)), seen)

    def summary(self) -> dict[str, Any]:
        """Numbers of profiles, structures and genes, and the ranges of dose and time, in plain types."""
        ranges = self.conditions[["dose", "time"]].agg(["min", "max"])
        return {
            "n_profiles": len(self.held),
            "n_validation": int(self.held.sum()),
            "n_structures": int(self.tensors["structure"].unique().numel()),
            "n_genes": int(self.measured.sum()),
            **{name: [float(value) for value in ranges[name]] for name in ranges},
        }


def on_panel(basal: np.ndarray, treated: np.ndarray, columns: np.ndarray, *, clip: float) -> tuple[Tensor, Tensor]:
    """Profiles before and after treatment in robust z scores (profiles × panel); 0 for genes that are not measured.

    Controls are no part of the scale: a plate's control stands in all its profiles, and would shrink the deviation.
    """
    center, scale = robust_scale(treated[:, np.maximum(columns, 0)])

    def place(values: np.ndarray) -> Tensor:
        z = (values[:, np.maximum(columns, 0)] - center) / scale
        z[:, columns < 0] = 0.0
        return torch.from_numpy((np.clip(z, -clip, clip) if clip else z).astype(np.float32))

    return place(basal), place(treated)


def _hold_out_conditions(conditions: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    if isinstance(share, bool) or not 0 <= share < 1:
        raise ValueError(f"`validation` must be a share of at least 0 and less than 1; found {share!r}.")
    codes, unique = pd.factorize(conditions.astype(str).agg("\x1f".join, axis=1))
    order = np.random.default_rng([seed, 3]).permutation(len(unique))
    return np.isin(codes, order[: min(round(share * len(unique)), len(unique) - 1)])


# ---------------------------------------------------------------------- pretraining


class ProfileLoss:
    """Squared error of perturbed profiles over the genes that are measured."""

    def __init__(self, core: Core, profiles: Profiles) -> None:
        self.core, self.structures = core, profiles.structures
        self.measured = torch.from_numpy(profiles.measured)

    def predict(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Perturbed profiles of a batch."""
        unique, place = torch.unique(batch["structure"], return_inverse=True)
        inputs, known = self.structures.inputs(unique.cpu().numpy(), batch["basal"].device)
        vectors = self.core.structures(inputs, known)[place]
        return self.core(batch["basal"], self.core.condition(vectors, batch["dose"], batch["time"]))

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch."""
        error = (self.predict(batch) - batch["treated"]).square()
        return {"loss": error[:, self.measured.to(error.device)].mean()}


def pretraining_phase(
    network: CSG2ANetwork,
    profiles: Profiles,
    generator: torch.Generator,
    *,
    max_epochs: int,
    batch_size: int,
    lr: float,
    patience: int,
) -> Phase:
    """Training of a network's core on profiles, as published: Adam, until the held-out conditions improve no more."""
    held = bool(profiles.held.any())
    return Phase(
        batches=profiles.batches(False, batch_size, generator),
        loss=ProfileLoss(network.core, profiles),
        max_epochs=max_epochs,
        trained=[network.core],
        validation=profiles.batches(True, batch_size) if held else None,
        stopping=Stopping(patience=patience) if held else None,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=lr),
        name="pretrain",
    )


@torch.no_grad()
def profile_errors(core: Core, profiles: Profiles) -> dict[str, float]:
    """Squared error on held-out conditions, of the core and of two simple predictions; empty if none are held out."""
    if not profiles.held.any():
        return {}
    core.eval()
    loss, device = ProfileLoss(core, profiles), next(core.parameters()).device
    batches = profiles.batches(True, _CHUNK)
    found = torch.cat([loss.predict({k: v.to(device) for k, v in batch.items()}).cpu() for batch in batches])
    basal, treated = profiles.tensors["basal"], profiles.tensors["treated"]
    held = torch.from_numpy(profiles.held)
    shift = (treated[~held] - basal[~held]).mean(0)
    candidates = {"mse": found, "mse_no_change": basal[held], "mse_mean_change": basal[held] + shift}
    return {
        name: float((value - treated[held])[:, loss.measured].square().mean()) for name, value in candidates.items()
    }


# ---------------------------------------------------------------------- the core


@dataclass(frozen=True, eq=False)
class PretrainedCore:
    """Weights of a core with the genes and the shape that they belong to."""

    state: dict[str, Tensor]
    genes: list[str]
    shape: dict[str, Any]
    #: What it was trained on, and how well it did beside simple predictions.
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: CSG2ANetwork, profiles: Profiles, best_epoch: int | None) -> PretrainedCore:
        """Copy and judge the core of a network that was pretrained on profiles."""
        summary = profiles.summary() | profile_errors(network.core, profiles)
        summary |= {"best_epoch": -1 if best_epoch is None else int(best_epoch)}
        shape = shape_of(network.settings, profiles.structures.n_features)
        return cls({}, list(network.panel), shape, summary).with_weights(network.core)

    def with_weights(self, core: Core) -> PretrainedCore:
        """The same with a copy of these weights."""
        return replace(self, state={name: value.detach().cpu().clone() for name, value in core.state_dict().items()})

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

    def panel_in(self, genes: Sequence[str], values: np.ndarray) -> Panel:
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
        return fit_panel(self.genes, columns, values)

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
