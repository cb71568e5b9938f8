"""Predict with a trained network and process: known lines by name, anything else by its features."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from .._arrays import Array
from .._data import Calibration
from ..prior._decomposition import decompose_kernel
from ..prior._kernels import FIVE_KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ._build import Built, DeepCDRModule, cell_features
from ._crossfit import KNOWN, NEW_DRUG, NEW_LINE
from ._inputs import FROM_EXPRESSION, read_inputs
from ._module import DeepCDRNet, NetConfig, Pairs
from ._process import KNOWN_SHARE, fit_process
from ._training import drug_codes

if TYPE_CHECKING:
    from anndata import AnnData

    from ._model import DeepCDR

#: Pairs that pass the head at once.
_PAIRS = 1 << 16


class Posterior:
    """A trained network, the process fitted to all responses, and the training lines that it compares samples with.

    Parameters
    ----------
    model
        Model whose settings say what the features are.
    module
        Network and arrays: ``lines`` (lines × all features), ``codes`` (codes of the drugs' structures), ``mean``, ``scale``,
        ``trained``, ``trained_lines`` (those that the network was trained on), ``fingerprints``, perhaps ``minimol``, and ``usable`` (training drugs), and
        with the process ``alpha`` and ``new_alpha`` (lines × drugs).
    lines
        Names of the training lines.
    """

    def __init__(self, model: DeepCDR, module: DeepCDRModule, lines: list[str]) -> None:
        self.model, self.module, self.lines = model, module, lines
        self._row = {str(name): row for row, name in enumerate(lines)}

    @classmethod
    def fit(cls, model: DeepCDR, built: Built, response: np.ndarray) -> Posterior:
        """Fit the process to all responses, those that stopped the network too, and encode the drugs.

        Parameters
        ----------
        model
            Model with a trained network.
        built
            What it was trained on.
        response
            All responses (lines × drugs).
        """
        module = built.module
        arrays = {
            "lines": built.features,
            "mean": built.mean,
            "scale": built.scale,
            "trained": built.trained.astype(np.uint8),
            "trained_lines": np.isin(np.arange(len(built.lines)), built.trained_rows).astype(np.uint8),
            "usable": built.usable.astype(np.uint8),
            **built.structures,
        }
        if built.kernel is not None and built.offsets is not None:
            kernel, share = decompose_kernel(built.kernel), built.offsets.new_share
            process = fit_process(response, kernel)
            fresh = fit_process(response, kernel, covariance=process.covariance, share=share)
            # what new lines are compared with, share included, and what known lines are
            arrays |= {"new_alpha": share * fresh.alpha, "alpha": process.alpha}
            arrays |= {"mean": process.mean, "scale": process.scale}
        data = built.data.to(next(module.parameters()).device)
        module.eval()
        with torch.inference_mode():
            codes = drug_codes(module.net, data.molecules, data.structure).cpu().numpy()
        arrays["codes"] = codes
        module.keep(**{name: _narrow(value) for name, value in arrays.items()})
        return cls(model, module, built.lines)

    # ------------------------------------------------------------------ features

    @property
    def net(self) -> DeepCDRNet:
        """The network."""
        return self.module.net

    @property
    def has_process(self) -> bool:
        """Whether predictions start from the process."""
        return "alpha" in self.module.kept

    @cached_property
    def _n_cell(self) -> int:
        return next(iter(self.net.config.cell_widths.values()))

    @cached_property
    def _kernel(self) -> ExpressionKernel:
        return fit_kernel(self.module.array("lines")[:, : self._n_cell], FIVE_KERNELS)[0]

    def read_inputs(self, adata: AnnData) -> np.ndarray | None:
        """What is read of samples beside expression (samples × features), `None` if nothing is."""
        model = self.model
        if model.cell_input in FROM_EXPRESSION and not model.modalities:
            return None
        return read_inputs(adata, model.cell_input, model.modalities, widths=self.net.config.cell_widths)

    # ------------------------------------------------------------------ prediction

    def predict(
        self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None, inputs: np.ndarray | None
    ) -> np.ndarray:
        """Predict samples on the reference's scale (samples × drugs).

        Parameters
        ----------
        expression
            Samples × genes.
        drugs
            Positions of drugs.
        names
            Names of samples; those of training lines are recognised.
        inputs
            What :meth:`read_inputs` returned for them.
        """
        features = cell_features(self.model, expression, inputs)
        line = np.full(len(features), -1)
        if names is not None:
            line = np.array([self._row.get(str(name), -1) for name in names])
        return self._respond(features, line, drugs)

    def _respond(
        self, features: np.ndarray, line: np.ndarray, drugs: np.ndarray, standardised: np.ndarray | None = None
    ) -> np.ndarray:
        mean, scale = self.module.array("mean")[drugs], self.module.array("scale")[drugs]
        if standardised is None:
            standardised = self._process(features, line, drugs) if self.has_process else np.zeros(())
        weight = self._weights(line, drugs)
        if weight.any():
            standardised = standardised + weight * self._network(features, line, drugs)
        response = mean + scale * standardised
        out = expit(response) if self.model.task == "classification" else response
        return np.broadcast_to(out, (len(features), len(drugs))).astype(np.float32)

    def _process(self, features: np.ndarray, line: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        lines, alpha = self.module.array("lines")[:, : self._n_cell], self.module.array("alpha")[:, drugs]
        cross = apply_kernel(self._kernel, features[:, : self._n_cell], lines)
        out = cross @ self.module.array("new_alpha")[:, drugs]
        known = line >= 0
        out[known] = KNOWN_SHARE * cross[known] @ alpha + (1 - KNOWN_SHARE) * alpha[line[known]]
        return out

    def _weights(self, line: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Share of the network in each prediction (samples × drugs)."""
        new_line = np.where(self._trained_line(line), KNOWN, NEW_LINE)
        new_drug = np.where(self.module.array("trained")[drugs].astype(bool), KNOWN, NEW_DRUG)
        return np.asarray(self.model.network_weights_, dtype=np.float32)[new_line[:, None] | new_drug]

    def _trained_line(self, line: np.ndarray) -> np.ndarray:
        """Which samples are lines that the network was trained on."""
        return (line >= 0) & self.module.array("trained_lines").astype(bool)[line]

    def _network(self, features: np.ndarray, line: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Output of the network (samples × drugs)."""
        codes, line = self.module.array("codes")[drugs], np.where(self._trained_line(line), line, -1)
        trained = self.module.array("trained")[drugs].astype(bool)
        # positions of drugs that are not trained are never looked up in earnest
        position = np.where(trained, drugs, 0)
        step = max(_PAIRS // max(len(drugs), 1), 1)
        parts = [
            self._evaluate(self._outputs, features[rows], codes, line[rows], position, trained)
            for rows in (slice(start, start + step) for start in range(0, len(features), step))
        ]
        return np.vstack(parts) if parts else np.zeros((0, len(drugs)), dtype=np.float32)

    def _outputs(self, features: Tensor, codes: Tensor, line: Tensor, drug: Tensor, trained: Tensor) -> Tensor:
        cells = self.net.cells(features)
        row = torch.arange(len(cells), device=cells.device).repeat_interleave(len(codes))
        column = torch.arange(len(codes), device=cells.device).repeat(len(cells))
        pairs = Pairs(row, column, line.clamp(min=0)[row], drug[column], (line >= 0)[row], trained[column])
        return self.net(cells, codes, pairs).view(len(cells), len(codes))

    @torch.inference_mode()
    def _evaluate(self, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        self.module.eval()
        device = next(self.module.parameters()).device
        return function(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)).cpu().numpy()

    def cell_codes(self, expression: np.ndarray, inputs: np.ndarray | None) -> np.ndarray:
        """Codes of samples, the latent space of the network (samples × width)."""
        features = cell_features(self.model, expression, inputs)
        return self._evaluate(lambda x: self.net.cells(x), features)

    # ------------------------------------------------------------------ calibration

    def for_lines_left_out(self, built: Built) -> np.ndarray:
        """Predictions of the training lines as if each were new (lines × drugs).

        The process has not seen the line; the network has, but does not know its name.
        """
        drugs = np.arange(len(self.module.array("mean")))
        unknown = np.full(len(built.features), -1)
        if built.offsets is None:
            return self._respond(built.features, unknown, drugs).astype(np.float64)
        offset = (built.offsets.values[NEW_LINE] - self.module.array("mean")) / self.module.array("scale")
        seen = self._process(built.features, unknown, drugs)
        standardised = np.where(np.isfinite(offset), offset, seen)
        return self._respond(built.features, unknown, drugs, standardised).astype(np.float64)

    def calibration(self, level: float) -> Calibration:
        """Distribution of predictions over the training lines, each taken as new."""
        lines = self.module.array("lines")
        drugs = np.arange(len(self.module.array("mean")))
        predicted = self._respond(lines, np.full(len(lines), -1), drugs).astype(np.float64)
        return Calibration.fit(predicted, np.full(predicted.shape, np.nan), held_out=False, level=level)

    # ------------------------------------------------------------------ files

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, in JSON types."""
        shapes = {
            name: [list(self.module.array(name).shape), str(self.module.array(name).dtype)] for name in self.module.kept
        }
        return {"net": self.net.config.to_json(), "arrays": shapes, "lines": [str(name) for name in self.lines]}

    @classmethod
    def from_json(cls, model: DeepCDR, stored: dict[str, Any]) -> Posterior:
        """Rebuild what :meth:`to_json` returned, with arrays that loading puts in their place."""
        module = DeepCDRModule(DeepCDRNet(NetConfig.from_json(stored["net"])))
        for name, (shape, dtype) in stored["arrays"].items():
            module.register_buffer(name, torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))
        return cls(model, module, stored["lines"])


#: Arrays beside the network. Which of them there are, the settings decide.
KEPT = {
    "lines": Array(("lines", "features of lines")), "trained_lines": Array(("lines",), "uint8"),
    "mean": Array(("drugs",)), "scale": Array(("drugs",)), "trained": Array(("drugs",), "uint8"),
    "codes": Array(("drugs", "width")), "usable": Array(("training drugs",), "uint8"),
    "fingerprints": Array(("usable drugs", "bits"), "uint8"), "minimol": Array(("usable drugs", "features")),
    "alpha": Array(("lines", "drugs")), "new_alpha": Array(("lines", "drugs")),
}  # fmt: skip


def _narrow(value: np.ndarray) -> np.ndarray:
    value = np.asarray(value)
    return value if value.dtype == np.uint8 else value.astype(np.float32)
