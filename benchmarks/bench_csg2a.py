"""Speed and memory of gene attention: `python benchmarks/bench_csg2a.py [--threads 1] [--genes 978]`.

Measures, in one run, forward and backward of the attention and of the whole block with its output head, in the factorised
form of the package and in the explicit form that makes the attention matrix of each sample. Memory is the peak above what
inputs and weights take, each case in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import torch
from torch import Tensor, nn

from scdrug.nn import GeneAttention


def explicit(layer: GeneAttention, basal: Tensor, condition: Tensor) -> Tensor:
    """The same result from matrices of samples × genes × genes."""
    attention = layer.matrices(basal, condition)
    if layer.propagation == "rowsum":
        return basal * attention.sum(2)
    return (attention @ basal[:, :, None])[:, :, 0]


def run(layer: GeneAttention, tail: nn.Module, n_samples: int, form: str) -> None:
    """Forward and backward once."""
    generator = torch.Generator().manual_seed(0)
    basal = torch.randn(n_samples, layer.n_genes, generator=generator, requires_grad=True)
    condition = torch.rand(n_samples, layer.n_genes, generator=generator, requires_grad=True)
    out = layer(basal, condition) if form == "factorised" else explicit(layer, basal, condition)
    tail(out).square().mean().backward()


def measure(case: tuple[str, str, str], n: int, n_samples: int, n_hidden: int, threads: int) -> tuple[float, float]:
    """Milliseconds of forward and backward, and peak megabytes."""
    propagation, what, form = case
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pairs = torch.unique(torch.randint(n, (2, 2 * n)).sort(0).values, dim=1)
    layer = GeneAttention(n, n_hidden, edges=pairs[:, pairs[0] != pairs[1]], propagation=propagation)
    head = nn.Sequential(nn.LayerNorm(n), nn.ReLU(), nn.Linear(n, n, bias=False))
    tail = head if what == "block with head" else nn.Identity()
    run(layer, tail, 2, form)  # libraries load, and gradients of the weights are allocated
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(layer, tail, n_samples, form)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times = []
    for _ in range(20 if form == "factorised" else 2):
        start = time.perf_counter()
        run(layer, tail, n_samples, form)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3, peak  # the least disturbed by other work on the machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--genes", type=int, default=978)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--explicit", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    forms = ("factorised", "explicit") if arguments.explicit else ("factorised",)
    for propagation in ("matmul", "rowsum"):
        for what in ("attention", "block with head"):
            found = {}
            for form in forms:
                with context.Pool(1) as pool:
                    sizes = (arguments.genes, arguments.batch, arguments.hidden, arguments.threads)
                    found[form] = pool.apply(measure, ((propagation, what, form), *sizes))
            line = f"{propagation:7} {what:15} " + "   ".join(
                f"{form} {ms:7.1f} ms {mb:6.1f} MB" for form, (ms, mb) in found.items()
            )
            if arguments.explicit:
                (fast, lean), (slow, fat) = found["factorised"], found["explicit"]
                line += f"   {slow / fast:.0f}x faster, {fat / lean:.0f}x leaner"
            print(line, flush=True)


if __name__ == "__main__":
    main()
