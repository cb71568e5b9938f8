"""Where the numbers come from, and a text to paste into a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import __version__
from .._constants import KEYS
from ._controls import failed
from ._read import Results

_SCREEN = (
    "Yang, W. et al. (2013). Genomics of Drug Sensitivity in Cancer (GDSC): a resource for therapeutic biomarker discovery in cancer cells. "
    "Nucleic Acids Research 41, D955–D961.",
    "Iorio, F. et al. (2016). A landscape of pharmacogenomic interactions in cancer. Cell 166, 740–754.",
)
_ANNDATA = "Virshup, I. et al. (2024). anndata: access and store annotated data matrices. Journal of Open Source Software 9, 4371."
_SCANPY = "Wolf, F. A., Angerer, P., Theis, F. J. (2018). SCANPY: large-scale single-cell gene expression data analysis. Genome Biology 19, 15."
_CONFORMAL = (
    "Dunn, R., Wasserman, L., Ramdas, A. (2023). Distribution-free prediction sets for two-layer hierarchical models. Journal of the "
    "American Statistical Association 118, 2491–2502."
)
_BY_RESULT = {
    KEYS.RANKED: "Benjamini, Y., Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical Society B 57, 289–300.",
    "rank_stability": "Meinshausen, N., Bühlmann, P. (2010). Stability selection. Journal of the Royal Statistical Society B 72, 417–473.",
    "therapeutic_window": "Zou, G. Y., Donner, A. (2008). Construction of confidence limits about effect measures. Statistics in Medicine 27, 1693–1702.",
    "combinations": "Palmer, A. C., Sorger, P. K. (2017). Combination cancer therapy can confer benefit via patient-to-patient variability without "
    "drug additivity or synergy. Cell 171, 1678–1691.",
}


def methods_text(results: Results) -> dict[str, list[str]]:
    """Paragraphs, and the references that they rest on."""
    stored, harmonization = results.provenance, results.provenance.get("harmonization", {})
    text = [
        f"Drug response was predicted with scdrug {stored.get('scdrug_version', __version__)} and the model {stored['model']} "
        f"({stored.get('model_class', 'unknown class')}), trained on a screen of cell lines. Expression of {results.n_cells:,} cells "
        f"({results.n_genes:,} genes; scale found: {harmonization.get('input_scale', 'not known')}) was matched by gene name, "
        f"{float(stored['gene_coverage']):.0%} of the genes of the model being measured, and brought onto the scale of its bulk reference "
        f"({harmonization.get('method', 'not known')}, anchor {harmonization.get('anchor', 'not known')}). Responses are {stored['measure']} "
        f"in {stored['unit']} ({stored['direction']}); the percentile of a response is the share of cell lines that are predicted to be less sensitive."
    ]
    references = [_ANNDATA, _SCANPY]
    if "gdsc" in str(stored["model"]).lower():
        references = [*_SCREEN, *references]
    level = float(stored.get("interval_level", np.nan))
    if np.isfinite(level):
        text.append(
            f"Prediction intervals of groups are split-conformal, at the level {level:.0%}, with the cell line as the unit."
        )
        references.append(_CONFORMAL)
    if results.controls is not None:
        held = int(len(results.controls) - len(failed(results.controls)))
        text.append(
            f"The recipe of the model was compared with chance on cells of lines that it was not trained on: {held} of {len(results.controls)} "
            "statistics lay above 95 % of what permuted responses, exchanged names of genes, or random assignment of lines gave."
        )
    for key, write in _PARAGRAPHS.items():
        if key in results.params:
            text.append(write(results.params[key]))
            references.append(_BY_RESULT[key])
    return {"text": text, "references": sorted(references)}


def _donors(params: Mapping[str, Any]) -> str:
    donor = params.get("sample_key")
    return "" if donor is None or str(donor) == "None" else f", with the donors in {str(donor)!r} as replicates"


def _ranked(params: Mapping[str, Any]) -> str:
    reference = "all other cells" if str(params["reference"]) == "rest" else str(params["reference"])
    return (
        f"Drugs were ranked in the groups of {str(params['groupby'])!r} by the difference in {params['unit']} from {reference}"
        f"{_donors(params)} ({params['method']}; false discovery rate by Benjamini and Hochberg over the drugs of a group). Groups with a "
        "reliability below 0.05 were left out."
    )


def _stable(params: Mapping[str, Any]) -> str:
    return (
        f"Stability is the share of {params['n_resamples']} resamples of donors, cells and depth in which a drug is among the first "
        f"{params['top']}{_donors(params)}."
    )


def _window(params: Mapping[str, Any]) -> str:
    return (
        f"The therapeutic window is the percentile of {params['n_malignant']} malignant minus that of {params['n_normal']} normal cells"
        f"{_donors(params)}."
    )


def _combined(params: Mapping[str, Any]) -> str:
    return (
        f"Combinations of up to {params['k']} drugs were ordered by the kill, 1 / (1 + (IC50 / C)^h), of the group of {str(params['groupby'])!r} that "
        f"is killed least, at the lower bound of its interval, drugs acting independently; C: {params['concentrations']}."
    )


_PARAGRAPHS = {
    KEYS.RANKED: _ranked,
    "rank_stability": _stable,
    "therapeutic_window": _window,
    "combinations": _combined,
}


def provenance_rows(results: Results) -> list[tuple[str, str]]:
    """What was computed with what."""
    stored, harmonization = results.provenance, results.provenance.get("harmonization", {})
    rows = [
        ("Model", f"{stored['model']} ({stored.get('model_class', 'unknown class')})"),
        ("Predicted by", f"scdrug {stored.get('scdrug_version', 'unknown')}"),
        ("Page written by", f"scdrug {__version__}"),
        ("Response", f"{stored['measure']}, {stored['unit']}; {stored['direction']}"),
        ("Interval level", str(stored.get("interval_level", "none"))),
        (
            "Scale of expression",
            f"{harmonization.get('input_scale', 'not known')}: {harmonization.get('scale_reason', '')}".rstrip(": "),
        ),
        (
            "Harmonization",
            f"{harmonization.get('method', 'not known')}, anchor {harmonization.get('anchor', 'not known')}",
        ),
        ("Genes of the model measured", f"{float(stored['gene_coverage']):.1%}"),
        ("Judgement of all cells", str(stored.get("verdict", "ok"))),
    ]
    for key, params in results.params.items():  # files keep no order of entries
        shown = {
            name: value for name, value in sorted(params.items()) if name not in ("note", "score") and _short(value)
        }
        rows.append((f"uns[{key!r}]", ", ".join(f"{name}={_plain(value)}" for name, value in shown.items())))
    return rows


def _short(value: object) -> bool:
    return np.size(value) <= 12 and 0 < len(str(value)) < 200


def _plain(value: Any) -> str:
    return str(value.tolist()) if isinstance(value, np.ndarray | np.generic) else str(value)
