"""Figures of docs/guide/mtigcn.md beside the benchmark's: xenografts, patients, lines one by one, missing pairs.

python scripts/check_mtigcn.py pdx DATA
python scripts/check_mtigcn.py tcga DATA --response FILE --unknown FILE --expression FILE
python scripts/check_mtigcn.py entities DATA --results DIR
python scripts/check_mtigcn.py epochs DATA [--steps 2001]
python scripts/check_mtigcn.py case DATA [--drugs Dasatinib GSK690693]

DATA is a folder with `mtigcn`, `gdsc` and, for xenografts, `pdx`. Files of TCGA are those of the authors: samples × PubChem CIDs
with 1 for a response, the same with 1 for what is unknown, and samples × genes in logarithms. DIR holds the results of
`scdrug benchmark run benchmarks/mtigcn.yaml`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

import scdrug
from scdrug.metrics import auprc, auroc
from scdrug.model import MTIGCN, KernelRidge
from scdrug.model.mtigcn._features import LineFactors
from scdrug.nn import BipartiteEncoder, BipartiteGraph, masked_bce, row_correlation


def xenografts(data: Path, reference: AnnData) -> Iterator[tuple[str, AnnData]]:
    """Labelled xenografts of each tumour type, which were measured on genes of their own."""
    table = pd.read_parquet(data / "pdx" / "pdx_expression.parquet").set_index("Model")
    folder = data / "mtigcn" / "PDX"
    for kind, part in table.groupby("TumorType"):
        expression = np.log2(part.drop(columns="TumorType") + 1)
        files = folder / "pdx_response.csv.gz", folder / "pdx_null_mask.csv.gz"
        try:
            yield str(kind), scdrug.datasets.mtigcn_patients(*files, expression, reference=reference)
        except ValueError as error:
            print(f"{kind}: left out. {error}")


#: What predicts sensitivity: the network, and the network beside a process, which may hold nothing of it.
NETWORK, BESIDE = "MTIGCN, the network", "MTIGCN with process"


def trained(reference: AnnData) -> dict[str, MTIGCN | KernelRidge]:
    """Models on all lines."""
    models: dict[str, MTIGCN | KernelRidge] = {}
    for name, model_class, options in (
        (NETWORK, MTIGCN, {"target": "sensitivity"}),
        (BESIDE, MTIGCN, {"target": "sensitivity", "prior": "process"}),
        ("KernelRidge coupled", KernelRidge, {"kernel": "mean", "couple_drugs": True}),
    ):
        adata = reference.copy()
        model_class.setup_anndata(adata)
        models[name] = model_class(adata, **options)
        models[name].train()
    print(f"  share of the network in {BESIDE} on new lines: {models[BESIDE].shares_.new_line:.3f}", flush=True)
    return models


def scores(cohort: AnnData, models: dict[str, MTIGCN | KernelRidge], reference: AnnData) -> dict[str, pd.DataFrame]:
    """Scores by model, higher = more sensitive (samples × drugs of the cohort)."""
    labels = cohort.obsm["response_binary"]
    table = reference.uns["drugs"]
    rate = reference.obsm["response_binary"][labels.columns].mean()
    found = {"drug rate of the lines": pd.DataFrame([rate] * cohort.n_obs, index=labels.index)}
    for name, model in models.items():
        scdrug.tl.predict_response(cohort, model, drugs=list(labels.columns))
        values = cohort.obsm["predicted_response"]
        found[name] = values if name in (NETWORK, BESIDE) else table.loc[labels.columns, "threshold"] - values
    return found


def report(cohorts: Iterator[tuple[str, AnnData]], reference: AnnData) -> None:
    """AUROC and AUPRC over all labelled pairs, and the mean AUROC within drugs; models see the genes of both sides."""
    pooled, labels = {}, []
    for name, cohort in cohorts:
        known = cohort.obsm["response_binary"]
        if not known.shape[1] or not known.notna().to_numpy().any():
            continue
        shared = reference[:, reference.var_names.isin(cohort.var_names)].copy()  # as published: genes of both
        n_labels = int(known.notna().to_numpy().sum())
        print(f"{name}: {cohort.n_obs} samples, {shared.n_vars} shared genes, {n_labels} labels", flush=True)
        labels.append(known)
        for model, table in scores(cohort, trained(shared), shared).items():
            pooled.setdefault(model, []).append(table)
    truth = pd.concat(labels)
    observed = truth.to_numpy(dtype=float)
    print(f"{np.isfinite(observed).sum()} labels, {int(np.nansum(observed))} responders, {truth.shape[1]} drugs")
    for model, parts in pooled.items():
        values = pd.concat(parts)[truth.columns].to_numpy(dtype=float)
        print(
            f"{model}: AUROC {auroc(values, observed):.3f} {interval(values, observed)}, AUPRC {auprc(values, observed):.3f}, "
            f"mean AUROC within drugs {within(values, observed):.3f}"
        )


def within(values: np.ndarray, observed: np.ndarray) -> float:
    """Mean AUROC over drugs with both classes."""
    columns = [j for j in range(observed.shape[1]) if len(np.unique(observed[np.isfinite(observed[:, j]), j])) == 2]
    return float(np.mean([auroc(values[:, [j]], observed[:, [j]]) for j in columns]))


def interval(values: np.ndarray, observed: np.ndarray, n: int = 1000) -> str:
    """95 % interval over samples drawn with replacement."""
    rng, found = np.random.default_rng(0), []
    for _ in range(n):
        rows = rng.integers(0, len(values), len(values))
        if len(np.unique(observed[rows][np.isfinite(observed[rows])])) == 2:
            found.append(auroc(values[rows], observed[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    return f"({low:.2f}–{high:.2f})"


def best_epochs(reference: AnnData, steps: int, width: int = 256) -> None:
    """What choosing the epoch on each line's own test pairs, as published, does to the mean AUROC within new lines."""
    splits = scdrug.benchmark.make_splits(reference, "line", seed=42)
    roles = splits.roles("1.1", reference)
    test, seen = (roles == 3).all(axis=1), (roles == 1).all(axis=1)
    labels = reference.obsm["response_binary"].to_numpy(dtype=float)
    factors = LineFactors.fit(np.asarray(reference.X[seen]))
    bits = np.array([list(text) for text in reference.uns["drugs"]["fingerprint"]], dtype=np.float32)
    lines, new, drugs = (
        torch.from_numpy(part)
        for part in (factors.transform(reference.X[seen]), factors.transform(reference.X[test]), bits)
    )
    target = torch.from_numpy(labels[seen]).float()
    graph = BipartiteGraph(torch.stack(torch.where(target == 1)), len(lines), len(drugs))
    torch.manual_seed(0)
    encoder = BipartiteEncoder(lines.shape[1], bits.shape[1], hidden=width, width=width)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3, weight_decay=1e-5)
    chosen = [row for row in np.flatnonzero(test) if np.nansum(labels[row]) >= 10]
    curves = []
    for _ in range(steps):
        optimizer.zero_grad()
        c, d = encoder(lines, drugs, graph)
        masked_bce(8 * row_correlation(c, d), target).backward()
        optimizer.step()
        with torch.no_grad():
            scores = row_correlation(encoder.new_lines(new), encoder(lines, drugs, graph)[1]).numpy()
        rows = np.searchsorted(np.flatnonzero(test), chosen)
        curves.append([auroc(scores[[i]].T, labels[[row]].T) for i, row in zip(rows, chosen, strict=True)])
    table = np.array(curves)
    print(f"{len(chosen)} new lines, {steps} epochs, width {width}: mean AUROC within lines")
    print(f"  last epoch {table[-1].mean():.3f}, best epoch for all lines together {table.mean(axis=1).max():.3f}")
    print(f"  best epoch of each line {table.max(axis=0).mean():.3f}")


def case_study(reference: AnnData, drugs: list[str]) -> None:
    """Untested lines that are predicted to be most sensitive; the published list was checked in the literature."""
    MTIGCN.setup_anndata(reference)
    for name, prior in ((BESIDE, "process"), (NETWORK, None)):
        model = MTIGCN(reference, target="sensitivity", prior=prior)
        model.train()
        model.predict(reference)
        print(f"{name}; share of the network in missing pairs {model.shares_.pair:.3f}")
        for drug in drugs:
            print(scdrug.get.missing_pairs_df(reference, drugs=drug).round(3).to_string(index=False), flush=True)


def entities(reference: AnnData, folder: Path) -> None:
    """Mean AUROC within new lines and within new drugs with at least ten sensitive pairs, as published."""
    labels = reference.obsm["response_binary"].stack().rename("label")
    results = scdrug.benchmark.read_results(folder)
    middle = reference.uns["drugs"]["threshold"]
    for split, by in (("line", "line"), ("drug", "drug")):
        for model in results.models.values():
            try:
                table = results.predictions(split, model)
            except (KeyError, ValueError):
                continue
            index = pd.MultiIndex.from_frame(table[["line", "drug"]].astype(str))
            table["label"] = labels.reindex(index).to_numpy()
            probability = "sensitivity" in model or "rate" in model
            table["score"] = (
                table["predicted"] if probability else table["drug"].map(middle).astype(float) - table["predicted"]
            )
            found = [
                auroc(part[["score"]].to_numpy(), part[["label"]].to_numpy())
                for _, part in table.dropna(subset=["label"]).groupby(by, observed=True)
                if part["label"].sum() >= 10 and (part["label"] == 0).any()
            ]
            if found:
                print(f"{split}, {model}: mean AUROC {np.mean(found):.3f} over {len(found)} {by}s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pdx", "tcga", "entities", "epochs", "case"))
    parser.add_argument("data", type=Path)
    for name in ("response", "unknown", "expression", "results"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--steps", type=int, default=2001)
    parser.add_argument("--drugs", nargs="+", default=["Dasatinib", "GSK690693"])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    scdrug.settings.progress = False
    reference = scdrug.datasets.mtigcn(path=arguments.data / "mtigcn")
    if arguments.what == "case":
        case_study(reference, arguments.drugs)
    elif arguments.what == "epochs":
        best_epochs(reference, arguments.steps)
    elif arguments.what == "entities":
        entities(reference, arguments.results)
    elif arguments.what == "pdx":
        report(xenografts(arguments.data, reference), reference)
    else:
        files = arguments.response, arguments.unknown, arguments.expression
        report(iter([("TCGA", scdrug.datasets.mtigcn_patients(*files, reference=reference))]), reference)


if __name__ == "__main__":
    main()
