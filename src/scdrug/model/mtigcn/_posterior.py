"""Predict with what training left behind: known lines by name, anything else by its features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.special import expit

from .._data import Calibration
from ..prior._kernels import FIVE_KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ._blend import contexts, probability
from ._features import LineFactors
from ._module import Codes, MTIGCNModule

if TYPE_CHECKING:
    from ._model import MTIGCN


class Sources(NamedTuple):
    """What process and network say of pairs (rows × drugs); `None` for the one that there is not."""

    #: In the unit of the response.
    process: np.ndarray | None
    squashed: np.ndarray | None
    network: np.ndarray | None
    logit: np.ndarray | None


class Posterior:
    """A trained module with the names of the lines that it knows.

    Parameters
    ----------
    model
        Model whose settings and choices (`network_shares_`, `sensitivity_slopes_`) are used.
    module
        Network and arrays: `mean`, `scale`, `thresholds`, `known_drugs` (drugs), `known_lines` (lines); with the network
        `gene_mean`, `gene_scale`, `loadings`, `line_codes`, `drug_codes`; with the process `lines` (lines × genes) and for
        each quantity `alpha`, `intercept`, `fitted`.
    lines
        Names of the training lines.
    """

    def __init__(self, model: MTIGCN, module: MTIGCNModule, lines: list[str]) -> None:
        self.model, self.module, self.lines = model, module, lines
        self._row = {name: row for row, name in enumerate(lines)}
        self._kernel: ExpressionKernel | None = None

    # ------------------------------------------------------------------ prediction

    def predict(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None) -> np.ndarray:
        """Predict samples on the reference's scale (samples × drugs by position).

        Parameters
        ----------
        expression
            Samples × genes.
        drugs
            Positions.
        names
            Names of samples; those of training lines are recognised.
        """
        rows = np.full(len(expression), -1)
        if names is not None:
            rows = np.array([self._row.get(str(name), -1) for name in names], dtype=int)
        sources = self.sources(expression, rows, drugs)
        return self.combine(sources, self.context(rows, drugs), drugs).astype(np.float32)

    def context(self, rows: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """What is known of each pair (rows × drugs); see `_blend`."""
        known = np.append(self.module.array("known_lines").astype(bool), False)[rows]
        return contexts(known, self.module.array("known_drugs").astype(bool)[drugs])

    def sources(self, expression: np.ndarray, rows: np.ndarray, drugs: np.ndarray) -> Sources:
        """Ask process and network.

        Parameters
        ----------
        expression
            Samples × genes.
        rows
            Positions of the samples among the training lines, −1 for new ones.
        drugs
            Positions.
        """
        settings = self.model.settings
        process = squashed = network = logit = None
        if settings.process:
            cross = self._cross(expression, rows)
            process = self._process("response", cross, rows, drugs)
            squashed = self._process("squashed", cross, rows, drugs) if self.model.predicts == "sensitivity" else None
        if settings.network:
            network, logit = self._network(expression, rows, drugs)
            if "regression" not in settings.tasks and settings.process:
                network = None
        return Sources(process, squashed, network, logit)

    def combine(self, sources: Sources, context: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Predictions from what process and network say (rows × drugs)."""
        if self.model.predicts == "response":
            return self._response(sources, context)
        if sources.process is None:
            assert sources.logit is not None
            return expit(sources.logit)
        return probability(self.scores(sources, context, drugs), self.model.sensitivity_slopes_, context)

    def scores(self, sources: Sources, context: np.ndarray, drugs: np.ndarray) -> dict[str, np.ndarray]:
        """What the probability of sensitivity is made of (rows × drugs by name)."""
        sign = 1.0 if self.model._lower else -1.0
        middle = self.module.array("thresholds")[drugs]
        distance = sign * (middle - self._response(sources, context)) / self.module.array("scale_of_drug")[drugs]
        squashed = np.zeros_like(distance) if sources.squashed is None else sources.squashed
        logit = np.zeros_like(distance) if sources.logit is None else sources.logit
        return {"distance": distance, "squashed": squashed, "logit": logit}

    def _response(self, sources: Sources, context: np.ndarray) -> np.ndarray:
        if sources.process is None:
            assert sources.network is not None
            return sources.network
        if sources.network is None:
            return sources.process
        share = np.asarray(self.model.network_shares_)[context]
        return sources.process + share * (sources.network - sources.process)

    def calibration(self, level: float) -> Calibration:
        """Distribution of predictions over the training lines, each taken as new."""
        drugs, lines = np.arange(len(self.module.array("mean"))), self.module.array("lines")
        predicted = self.predict(lines, drugs, None).astype(np.float64)
        return Calibration.fit(predicted, np.full(predicted.shape, np.nan), held_out=False, level=level)

    # ------------------------------------------------------------------ process

    def _cross(self, expression: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Similarity of samples to training lines (new rows × lines)."""
        lines = self.module.array("lines")
        if self._kernel is None:
            self._kernel = fit_kernel(lines, FIVE_KERNELS)[0]
        new = self._new(rows)
        return apply_kernel(self._kernel, expression[new], lines) if new.any() else np.zeros((0, len(lines)))

    def _process(self, name: str, cross: np.ndarray, rows: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        new = self._new(rows)
        out = self.module.array(f"{name}_fitted")[rows][:, drugs].astype(np.float64)
        intercept = self.module.array(f"{name}_intercept")[drugs]
        out[new] = cross @ self.module.array(f"{name}_alpha")[:, drugs] + intercept
        return out

    def _new(self, rows: np.ndarray) -> np.ndarray:
        """Samples without responses of their own; lines of the reference that have none are as good as new."""
        return ~np.append(self.module.array("known_lines").astype(bool), False)[rows]

    # ------------------------------------------------------------------ network

    @property
    def factors(self) -> LineFactors:
        """What turns expression into the network's features."""
        return LineFactors(*(self.module.array(name) for name in ("gene_mean", "gene_scale", "loadings")))

    @torch.inference_mode()
    def line_codes(self, expression: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Embeddings of samples (samples × width): those of training lines with their edges, others from features."""
        net, device = self._net()
        codes = self.module.array("line_codes")[rows]
        new = rows < 0
        if new.any():
            features = torch.from_numpy(self.factors.transform(expression[new])).to(device)
            codes[new] = net.encoder.new_lines(features).cpu().numpy()
        return codes

    @torch.inference_mode()
    def _network(self, expression: np.ndarray, rows: np.ndarray, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        net, device = self._net()
        lines = torch.from_numpy(self.line_codes(expression, rows)).to(device)
        codes = Codes(lines, torch.from_numpy(self.module.array("drug_codes")[drugs]).to(device))
        scaled = net.responses(codes).cpu().numpy().astype(np.float64)
        response = self.module.array("mean")[drugs] + self.module.array("scale")[drugs] * scaled
        return response, net.logits(codes).cpu().numpy().astype(np.float64)

    def _net(self):
        net = self.module.net
        assert net is not None
        net.eval()
        return net, next(net.parameters()).device
