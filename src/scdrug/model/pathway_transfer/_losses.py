"""Losses of PathwayTransfer on batches of lines and cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn import coral, gradient_penalty, masked_bce, masked_mse, mmd, orthogonality
from ...nn._mlp import relative_noise
from ._module import PathwayModule
from ._settings import Settings


class DomainBatches:
    """Minibatches of lines, each with a random batch of cells of the same size.

    Parameters
    ----------
    expression, response
        Lines × genes read, as :meth:`PathwayModule.read` returns them; what the head is to predict, lines × drugs, NaN where
        unknown.
    cells
        Cells × genes read, or `None`.
    batch_size
        Largest number of lines per batch.
    generator
        Shuffles lines and cells anew for each epoch.
    n_passes
        Passes over the lines in an epoch. A critic takes several steps for one of the network; with as many passes, an
        epoch has as many steps of the network as without a critic.
    """

    def __init__(
        self,
        expression: Tensor,
        response: Tensor,
        cells: Tensor | None,
        batch_size: int,
        *,
        generator: torch.Generator | None = None,
        n_passes: int = 1,
    ) -> None:
        self.expression, self.response, self.cells, self.generator = expression, response, cells, generator
        self._n_batches = max(-(-len(expression) // batch_size), 1)
        self._n_passes = n_passes
        self._queue = torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return self._n_batches * self._n_passes

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self._n_passes):
            yield from self._one_pass()

    def _one_pass(self) -> Iterator[dict[str, Tensor]]:
        n = len(self.expression)
        order = torch.arange(n) if self.generator is None else torch.randperm(n, generator=self.generator)
        for rows in torch.tensor_split(order, self._n_batches):
            batch = {"bulk": self.expression[rows], "response": self.response[rows]}
            if self.cells is not None:
                batch["cells"] = self.cells[self._next_cells(len(rows))]
            yield batch

    def get_state(self) -> dict[str, Tensor]:
        """Cells that come next."""
        return {"queue": self._queue}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`get_state` returned."""
        self._queue = state["queue"]

    def _next_cells(self, n: int) -> Tensor:
        """Cells in random order, each once before any comes again."""
        assert self.cells is not None
        while len(self._queue) < n:
            self._queue = torch.cat([self._queue, torch.randperm(len(self.cells), generator=self.generator)])
        chosen, self._queue = self._queue[:n], self._queue[n:]
        return chosen


@dataclass(frozen=True)
class Objective:
    """Losses of a module under its settings."""

    module: PathwayModule
    settings: Settings
    critic: nn.Module | None = None

    def response(self, code: Tensor, response: Tensor) -> dict[str, Tensor]:
        """Loss of the head on responses in its own unit: logits' labels, or residuals over their spread."""
        n = torch.isfinite(response).sum()
        predicted = self.module.head(code)
        if self.settings.target == "sensitivity":
            return {"loss": masked_bce(predicted, response), "n": n}
        return {"loss": masked_mse(predicted, response), "n": n}

    def validation(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss on responses alone."""
        return self.response(self.module.autoencoder.code(batch["bulk"], "bulk"), batch["response"])

    def autoencoder(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction, orthogonality and alignment, summed over domains (eq. 5-11)."""
        parts, _ = self._autoencoder(batch)
        return {**parts, "n": torch.tensor(float(len(batch["bulk"])))}

    def joint(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The head's loss and the autoencoder's."""
        parts, code = self._autoencoder(batch)
        head = self.response(code, batch["response"])
        return {
            "loss": head["loss"] + parts["loss"],
            "response_loss": head["loss"],
            "autoencoder_loss": parts["loss"],
            "reconstruction_loss": parts["reconstruction_loss"],
            "n": torch.tensor(float(len(batch["bulk"]))),
        }

    def _autoencoder(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        settings, noise = self.settings, self.settings.noise if self.module.training else 0.0
        rows = {domain: batch[domain] for domain in ("bulk", "cells") if domain in batch}
        seen = {domain: relative_noise(x, noise if domain == "cells" else 0.0) for domain, x in rows.items()}
        out = self.module.autoencoder(seen)
        total = batch["bulk"].new_zeros(())
        for domain, x in rows.items():
            total = total + settings.w_dense * F.mse_loss(out[domain].dense, x)
            if out[domain].sparse is not None:
                total = total + settings.w_sparse * F.mse_loss(out[domain].sparse, x)
            if out[domain].private is not None:
                total = total + settings.w_diff * orthogonality(out[domain].private, out[domain].code)
        parts = {"loss": total, "reconstruction_loss": total}
        if "cells" in out:
            parts["loss"] = total + self._domain_loss(out["bulk"].code, out["cells"].code)
        return parts, out["bulk"].code

    def _domain_loss(self, bulk: Tensor, cells: Tensor) -> Tensor:
        settings, total = self.settings, bulk.new_zeros(())
        if settings.align in ("mmd", "coral"):
            total = total + settings.w_align * (mmd if settings.align == "mmd" else coral)(bulk, cells)
        if self.critic is not None:
            total = (
                total - settings.w_align * self.critic(cells).mean()
            )  # cells are the target: their codes are to look like lines'
        return total

    def against(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of the critic: WGAN with gradient penalty 10, target minus source."""
        assert self.critic is not None
        with torch.no_grad():
            bulk, cells = (self.module.autoencoder.code(batch[domain], domain) for domain in ("bulk", "cells"))
        penalty = gradient_penalty(self.critic, bulk, cells)
        return {"loss": self.critic(cells).mean() - self.critic(bulk).mean() + 10 * penalty}
