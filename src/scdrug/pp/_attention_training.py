"""Train the attention autoencoder on arrays, in batches, and cluster its codes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from ._cluster import leiden_clusters, number_by_size

if TYPE_CHECKING:
    import torch

    from ..nn._attention_autoencoder import AttentionAutoencoder, CellCodes, EncodedCells

logger = logging.getLogger(__name__)

_CLIP = 10.0
_MAX_NORM = 3.0
#: Weights of the losses beside the leading one: (graph, reconstruction) before and while clusters are sharpened.
_GRAPH_WEIGHT, _RECONSTRUCTION_WEIGHT, _GRAPH_WEIGHT_CLUSTERED = 0.1, 0.1, 0.01
_MAX_CHANGED = 1e-3
_LEAST_EPOCHS = 10


@dataclass(frozen=True)
class AttentionSettings:
    """Settings of the autoencoder; defaults are those of AttentionAE-sc where it has any."""

    n_latent: int = 16
    n_heads: int = 8
    resolution: float = 0.1
    n_neighbors: int = 15
    batch_size: int = 512
    max_epochs: int | None = None
    lr: float = 1e-3
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class CellInput:
    """What the network sees of the cells."""

    #: Logarithms or scaled values of the chosen genes (cells × genes).
    values: sp.csr_matrix
    #: Counts of the same genes, or `None` for a loss of squares on the standardised values.
    counts: sp.csr_matrix | None
    #: Total of each cell relative to the median (cells).
    size_factor: np.ndarray
    #: Unit vectors whose distances make the graph (cells × components).
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class AttentionClusters:
    """Codes and clusters."""

    #: Cells × latent.
    latent: np.ndarray
    #: Cluster by largest probability, numbered by size (cells).
    labels: np.ndarray
    #: Mean loss of each epoch, by phase.
    history: dict[str, list[float]] = field(default_factory=dict)


def gaussian_edges(points: np.ndarray, widths: np.ndarray, to: np.ndarray, to_widths: np.ndarray) -> np.ndarray:
    """Weights of the graph between two groups of cells (Haghverdi et al. 2016).

    Parameters
    ----------
    points, to
        Positions (cells × dimensions) and (others × dimensions).
    widths, to_widths
        Width of the kernel of each (cells) and (others).

    Returns
    -------
    √(2σσ′ / (σ² + σ′²)) exp(−d² / (σ² + σ′²)), 0–1 (cells × others).
    """
    total = widths[:, None] ** 2 + to_widths[None, :] ** 2
    squared = (points**2).sum(axis=1)[:, None] + (to**2).sum(axis=1)[None, :] - 2 * points @ to.T
    return np.sqrt(2 * widths[:, None] * to_widths[None, :] / total) * np.exp(-squared.clip(min=0) / total)


def kernel_widths(points: np.ndarray, landmarks: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Half the distance of each cell to its n-th nearest landmark.

    Widths from landmarks instead of all cells give every cell about `n_neighbors` neighbours in a batch, which is a
    random sample of the same size.
    """
    from sklearn.neighbors import NearestNeighbors

    n = min(n_neighbors, len(landmarks))
    distances, _ = NearestNeighbors(n_neighbors=n).fit(landmarks).kneighbors(points)
    return np.maximum(distances[:, -1] / 2, 1e-6)


def cluster_with_attention(cells: CellInput, settings: AttentionSettings) -> AttentionClusters:
    """Train the autoencoder, then sharpen its clusters (deep embedded clustering).

    Parameters
    ----------
    cells
        Input of the network.
    settings
        Settings.

    Returns
    -------
    Codes and clusters; the same for the same seed on the same machine. The global random state is left as it was.
    """
    import torch

    device = torch.device(settings.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        trainer = _Trainer(cells, settings)
        history = {"reconstruction": trainer.pretrain()}
        latent = trainer.embed()
        labels = leiden_clusters(
            latent, resolution=settings.resolution, n_neighbors=settings.n_neighbors, seed=settings.seed
        )
        history["clustering"] = []
        if labels.max() > 0:
            labels, history["clustering"] = trainer.sharpen(latent, labels)
            latent = trainer.embed()
    return AttentionClusters(latent, number_by_size(labels), history)


class _Trainer:
    """Two phases of training on batches that attend to themselves; codes from fixed landmarks."""

    def __init__(self, cells: CellInput, settings: AttentionSettings) -> None:
        from ..nn import AttentionAutoencoder

        self.cells, self.settings = cells, settings
        self.n_cells, n_genes = cells.values.shape
        self.rng = np.random.default_rng(settings.seed)
        size = min(settings.batch_size, self.n_cells)
        self.landmarks = np.sort(self.rng.choice(self.n_cells, size, replace=False))
        self.widths = kernel_widths(cells.points, cells.points[self.landmarks], settings.n_neighbors)
        self.mean = np.asarray(cells.values.mean(axis=0), dtype=np.float32).ravel()
        square = np.asarray(cells.values.multiply(cells.values).mean(axis=0), dtype=np.float32).ravel()
        self.sd = np.sqrt(np.maximum(square - self.mean**2, 1e-12))
        self.network: AttentionAutoencoder = AttentionAutoencoder(
            n_genes, n_latent=settings.n_latent, n_heads=settings.n_heads, counts=cells.counts is not None
        ).to(settings.device)
        self.n_batches = math.ceil(self.n_cells / size)

    # ------------------------------------------------------------------ batches

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        import torch

        return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float32), device=self.settings.device)

    def _standardised(self, rows: np.ndarray) -> torch.Tensor:
        dense = (self.cells.values[rows].toarray() - self.mean) / self.sd
        return self._tensor(dense.clip(-_CLIP, _CLIP))

    def _edges(self, rows: np.ndarray, others: np.ndarray) -> torch.Tensor:
        points, widths = self.cells.points, self.widths
        return self._tensor(gaussian_edges(points[rows], widths[rows], points[others], widths[others]))

    def _batches(self) -> list[np.ndarray]:
        # equal parts: a last batch of one cell would have no batch statistics
        return np.array_split(self.rng.permutation(self.n_cells), self.n_batches)

    def _epochs(self, published: int) -> int:
        """As many steps as the published epochs of one batch, but at least ten passes over the cells."""
        if self.settings.max_epochs is not None:
            return self.settings.max_epochs
        return min(published, max(_LEAST_EPOCHS, math.ceil(published / self.n_batches)))

    def _losses(self, rows: np.ndarray) -> tuple[EncodedCells, torch.Tensor, torch.Tensor]:
        """Codes of a batch that attends to itself, loss of reconstruction, loss of the graph."""
        import torch

        from ..nn import zinb_loss

        x, edges = self._standardised(rows), self._edges(rows, rows)
        encoded = self.network.encode(x, edges / edges.sum(dim=1, keepdim=True))
        decoded = self.network.decode(encoded.latent, self._tensor(self.cells.size_factor[rows]))
        if self.cells.counts is not None:
            reconstruction = zinb_loss(self._tensor(self.cells.counts[rows].toarray()), decoded)
        else:
            reconstruction = (decoded.mean - x).square().mean()
        graph = (torch.sigmoid(encoded.graph @ encoded.graph.T) - edges).square().mean()
        return encoded, reconstruction, graph

    def _step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
        import torch

        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)
        optimizer.step()
        return float(loss.detach())

    # ------------------------------------------------------------------ phases

    def pretrain(self) -> list[float]:
        """Reconstruction + 0.1 · graph; the state of the best epoch is kept."""
        import torch

        from ..nn._mlp import detach_state

        n_epochs = self._epochs(200)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.settings.lr)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, max(1, n_epochs // 5), gamma=0.5)
        patience, best, best_epoch, state, history = max(3, n_epochs // 4), math.inf, 0, detach_state(self.network), []
        for epoch in range(n_epochs):
            self.network.train()
            losses = []
            for rows in self._batches():
                _, reconstruction, graph = self._losses(rows)
                losses.append(self._step(optimizer, reconstruction + _GRAPH_WEIGHT * graph))
            scheduler.step()
            history.append(_finite_mean(losses, epoch))
            if history[-1] < best:
                best, best_epoch, state = history[-1], epoch, detach_state(self.network)
            elif epoch - best_epoch >= patience:
                logger.info("Reconstruction stopped improving after %d epochs.", epoch + 1)
                break
        self.network.load_state_dict(state)
        return history

    def sharpen(self, latent: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[float]]:
        """KL(p ‖ q) + 0.1 · reconstruction + 0.01 · graph, until clusters stop changing."""
        import torch

        from ..nn import soft_assignment, target_distribution

        means = np.stack([latent[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
        centers = torch.nn.Parameter(self._tensor(means))
        optimizer = torch.optim.Adam([*self.network.parameters(), centers], lr=self.settings.lr)
        n_epochs, history = self._epochs(100), []
        for epoch in range(n_epochs):
            q = soft_assignment(self._tensor(self.embed()), centers.detach())
            found = q.argmax(dim=1).cpu().numpy()
            if epoch >= max(1, n_epochs // 5) and np.mean(found != labels) < _MAX_CHANGED:
                return found, history
            labels, p = found, target_distribution(q)
            self.network.train()
            losses = []
            for rows in self._batches():
                encoded, reconstruction, graph = self._losses(rows)
                q_batch = soft_assignment(encoded.latent, centers)
                kl = torch.nn.functional.kl_div(q_batch.log(), p[rows], reduction="batchmean")
                loss = kl + _RECONSTRUCTION_WEIGHT * reconstruction + _GRAPH_WEIGHT_CLUSTERED * graph
                losses.append(self._step(optimizer, loss))
            history.append(_finite_mean(losses, epoch))
        q = soft_assignment(self._tensor(self.embed()), centers.detach())
        return q.argmax(dim=1).cpu().numpy(), history

    # ------------------------------------------------------------------ codes

    def embed(self) -> np.ndarray:
        """Codes of all cells, each of which attends to the landmarks alone (cells × latent)."""
        import torch

        out = np.empty((self.n_cells, self.settings.n_latent), dtype=np.float32)
        with _evaluating(self.network), torch.no_grad():
            context = self._context()
            for rows in np.array_split(np.arange(self.n_cells), self.n_batches):
                edges = self._edges(rows, self.landmarks)
                edges = edges / edges.sum(dim=1, keepdim=True).clamp(min=1e-12)
                out[rows] = self.network.encode(self._standardised(rows), edges, context).latent.cpu().numpy()
        return out

    def _context(self) -> CellCodes:
        edges = self._edges(self.landmarks, self.landmarks)
        return self.network.encode(self._standardised(self.landmarks), edges / edges.sum(dim=1, keepdim=True)).codes


def _finite_mean(losses: list[float], epoch: int) -> float:
    mean = float(np.mean(losses))
    if not math.isfinite(mean):
        raise RuntimeError(
            f"The loss of the attention autoencoder became {mean} in epoch {epoch + 1}. Lower `lr`, and check "
            "the counts for extreme values."
        )
    return mean


@contextmanager
def _evaluating(network: AttentionAutoencoder) -> Iterator[None]:
    network.eval()
    try:
        yield
    finally:
        network.train()
