"""MTIGCN beside the same network computed naively: `python benchmarks/bench_mtigcn.py DATA [--epochs 2001] [--threads 1]`.

DATA is a folder with `mtigcn` and `gdsc`. All train on the first fold of the random zeroing test, 1,024 wide, with three tasks.
*Naive*: products over all genes and over the dense adjacency, and metrics after every epoch. Published are 2,001 epochs of one
step; by default 40 are timed and the rest is extrapolated, `--epochs 2001` runs them all. *Same network*: the preset `mtigcn`,
step by step. *scdrug*: one training of the default model at that width, process included, which stops on validation pairs.
Prints seconds of the processor (on a busy machine they say more than the clock's), additional peak memory, and AUROC and
AUPRC of the balanced test pairs; for the naive network at the last epoch, at the one that is best on validation pairs, and, as
published, at the one that is best on the test pairs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_predict import PeakMemory
from torch import Tensor, nn

import scdrug
from scdrug.benchmark._fold import Fold, make_fold
from scdrug.model import MTIGCN
from scdrug.model.mtigcn._training import STEPS

WIDTH, ALPHA, PUBLISHED_EPOCHS = 1024, 0.25, 2001


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of rows."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return (a / (a.norm(dim=1, keepdim=True) + 1e-8)) @ (b / (b.norm(dim=1, keepdim=True) + 1e-8)).T


class NaiveNetwork(nn.Module):
    """The published network as its equations read: dense matrices over everything."""

    def __init__(self, n_genes: int, n_bits: int) -> None:
        super().__init__()
        self.line_in, self.drug_in = nn.Linear(n_genes, WIDTH), nn.Linear(n_bits, WIDTH)
        self.line_norm, self.drug_norm = nn.BatchNorm1d(WIDTH), nn.BatchNorm1d(WIDTH)
        self.line_out, self.drug_out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.line_response, self.drug_response = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.line_similarity, self.drug_similarity = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, lines: Tensor, drugs: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, responses, and similarities of lines and of drugs."""
        c, d = self.line_norm(self.line_in(lines)), self.drug_norm(self.drug_in(drugs))
        of_lines, of_drugs = adjacency.sum(dim=1) + 1, adjacency.sum(dim=0) + 1
        between = torch.diag(of_lines**-0.5) @ adjacency @ torch.diag(of_drugs**-0.5)
        all_c = (1 / of_lines + 1)[:, None] * c + between @ d
        all_d = (1 / of_drugs + 1)[:, None] * d + between.T @ c
        h = torch.relu(self.line_out((1 - ALPHA) * all_c + ALPHA * all_c * c))
        g = torch.relu(self.drug_out((1 - ALPHA) * all_d + ALPHA * all_d * d))
        s, t = self.line_similarity(h), self.drug_similarity(g)
        return (
            8 * correlation(h, g),
            15 * correlation(self.line_response(h), self.drug_response(g)),
            torch.sigmoid(15 * correlation(s, s)),
            torch.sigmoid(15 * correlation(t, t)),
        )


def bits_of(adata: Any) -> np.ndarray:
    """Fingerprints (drugs × bits)."""
    return np.array([list(text) for text in adata.uns["drugs"]["fingerprint"]], dtype=np.float32)


def train_naively(training: Any, labels: np.ndarray, observed: np.ndarray, epochs: int) -> dict[str, Any]:
    """Train for all epochs; AUROC and AUPRC of validation and test pairs after each."""
    x = np.asarray(training.adata.X, dtype=np.float32)
    x = torch.from_numpy((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6))
    drugs = torch.from_numpy(bits_of(training.adata))
    held = training.validation.to_numpy()
    response = training.adata.obsm["response"].to_numpy()
    seen = np.isfinite(response) & ~held
    y, target = torch.from_numpy(labels[seen]).float(), torch.from_numpy(response[seen]).float()
    adjacency = torch.from_numpy(np.where(seen & (labels == 1), 1.0, 0.0)).float()
    rows, columns = map(torch.from_numpy, np.nonzero(seen))
    line_target = torch.exp(-torch.cdist(x, x) / 18)
    shared = drugs @ drugs.T
    drug_target = shared / (drugs.sum(dim=1)[:, None] + drugs.sum(dim=1)[None] - shared)
    torch.manual_seed(0)
    net = NaiveNetwork(x.shape[1], drugs.shape[1])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    mse, history = nn.functional.mse_loss, []
    for _ in range(epochs):
        optimizer.zero_grad()
        logits, responses, of_lines, of_drugs = net(x, drugs, adjacency)
        loss = 0.75 * nn.functional.binary_cross_entropy_with_logits(logits[rows, columns], y)
        loss = loss + 0.25 * mse(responses[rows, columns], target)
        loss = loss + 0.10 * mse(of_lines, line_target) + 0.25 * mse(of_drugs, drug_target)
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # as released: never in evaluation mode
            scores = net(x, drugs, adjacency)[0].numpy()
        history.append([*area(scores[held], labels[held]), *area(scores[observed], labels[observed])])
    return {"history": np.array(history)}


def area(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """AUROC and AUPRC."""
    return scdrug.metrics.auroc(scores, labels), scdrug.metrics.auprc(scores, labels)


def train_ours(fold: Fold, labels: np.ndarray, observed: np.ndarray) -> dict[str, Any]:
    """Train the model beside its process on the same pairs."""
    training = fold.training
    adata = training.adata.copy()
    MTIGCN.setup_anndata(adata)
    model = MTIGCN(adata, prior="process", target="sensitivity", n_hidden=WIDTH, n_latent=WIDTH)
    model.train(validation=training.validation)
    scores = model.predict(key_added=None).to_numpy()
    return {"test": area(scores[observed], labels[observed]), "epochs": len(model.history["train_loss"])}


def seconds_a_step(fold: Fold, epochs: int = 3) -> float:
    """Seconds of a step of the published network in scdrug, without what is done once."""
    seconds = []
    for n in (1, 1 + epochs):
        adata = fold.training.adata.copy()
        MTIGCN.setup_anndata(adata)
        start = time.process_time()
        MTIGCN(adata, preset="mtigcn").train(max_epochs=n, early_stopping=False)
        seconds.append(time.process_time() - start)
    return (seconds[1] - seconds[0]) / (STEPS * epochs)


def measured(job: Any, *arguments: Any) -> tuple[dict[str, Any], float, float]:
    """Result, seconds of the processor, and additional peak memory in GB."""
    with PeakMemory() as memory:
        start = time.process_time()
        result = job(*arguments)
        seconds = time.process_time() - start
    return result, seconds, memory.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=40, help="epochs of the naive network")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    scdrug.settings.progress = False
    torch.set_num_threads(arguments.threads)
    reference = scdrug.datasets.mtigcn(path=arguments.data / "mtigcn")
    splits = scdrug.benchmark.make_splits(reference, "zeroing", seed=42)
    fold = make_fold(reference, splits.roles("1.1", reference))
    names = fold.training.adata.obs_names, fold.training.adata.obsm["response"].columns
    labels = reference.obsm["response_binary"].loc[names].to_numpy()
    observed = fold.observed.reindex(index=names[0], columns=names[1]).notna().to_numpy()
    print(f"{labels.shape[0]} lines, {labels.shape[1]} drugs, {reference.n_vars} genes; {arguments.threads} threads")
    ours, seconds, memory = measured(train_ours, fold, labels, observed)
    print(
        f"scdrug: {seconds:.0f} s, {STEPS * ours['epochs']} steps, memory {memory:.2f} GB, "
        f"test AUROC {ours['test'][0]:.4f}, AUPRC {ours['test'][1]:.4f}",
        flush=True,
    )
    same = seconds_a_step(fold)
    naive, slow, memory = measured(train_naively, fold.training, labels, observed, arguments.epochs)
    step = slow / arguments.epochs
    print(
        f"same network: {same:.2f} s a step; naive: {step:.2f} s a step and its metrics, {step / same:.1f} times as long"
    )
    whole = step * PUBLISHED_EPOCHS
    print(
        f"naive, {PUBLISHED_EPOCHS} epochs: {whole:.0f} s ({arguments.epochs} were run), memory {memory:.2f} GB, "
        f"{whole / seconds:.0f} times as long as scdrug"
    )
    history = naive["history"]
    for what, epoch in (
        ("last epoch", len(history) - 1),
        ("best on validation", int(history[:, 0].argmax())),
        ("best on the test", int(history[:, 2].argmax())),
    ):
        print(f"  {what}, {epoch + 1}: test AUROC {history[epoch, 2]:.4f}, AUPRC {history[epoch, 3]:.4f}")


if __name__ == "__main__":
    main()
