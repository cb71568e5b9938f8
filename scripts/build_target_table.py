"""Build the bundled table of names of drug targets, which says what HGNC symbols GDSC's words for targets stand for.

Words and symbols are aligned in CellHit's table of GDSC's compounds (MIT), which gives both; families that no row spells out stand in
:data:`FAMILIES`. The output is the same to the byte for the same file::

    python scripts/build_target_table.py path/to/drug_meta
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from scdrug.pp._targets import split_words

OUTPUT = Path(__file__).resolve().parents[1] / "src" / "scdrug" / "pp" / "_data" / "targets.json"
SOURCE = "cellhit_GDSC_drugs.csv"
#: Words for several genes, as reviews of kinase inhibitors and of cytotoxic drugs use them.
FAMILIES = {
    "VEGFR": "FLT1 KDR FLT4", "PDGFR": "PDGFRA PDGFRB", "FGFR": "FGFR1 FGFR2 FGFR3 FGFR4", "MEK": "MAP2K1 MAP2K2",
    "ERK": "MAPK1 MAPK3", "JNK": "MAPK8 MAPK9 MAPK10", "P38": "MAPK14 MAPK11", "RAF": "ARAF BRAF RAF1", "AKT": "AKT1 AKT2 AKT3",
    "PI3K": "PIK3CA PIK3CB PIK3CD PIK3CG", "MTORC1": "MTOR", "MTORC2": "MTOR", "HER2": "ERBB2", "HER3": "ERBB3", "ERBB1": "EGFR",
    "ABL": "ABL1", "BCR-ABL": "ABL1", "C-MET": "MET", "C-KIT": "KIT", "ALK5": "TGFBR1", "TIE2": "TEK", "FAK": "PTK2", "IR": "INSR",
    "IGF1R": "IGF1R", "PARP": "PARP1 PARP2", "TOP2": "TOP2A TOP2B", "TOPOISOMERASE I": "TOP1", "TOPOISOMERASE II": "TOP2A TOP2B",
    "HDAC": "HDAC1 HDAC2 HDAC3 HDAC6", "HSP90": "HSP90AA1 HSP90AB1", "BCL-2": "BCL2", "BCL-XL": "BCL2L1", "BCL-W": "BCL2L2",
    "MCL-1": "MCL1", "IAP": "XIAP BIRC2 BIRC3", "PROTEASOME": "PSMB5", "TUBULIN": "TUBB", "MICROTUBULE DESTABILISER": "TUBB",
    "MICROTUBULE STABILISER": "TUBB", "AURORA": "AURKA AURKB", "CHK1": "CHEK1", "CHK2": "CHEK2", "BET": "BRD2 BRD3 BRD4",
    "DHFR": "DHFR", "KSP": "KIF11", "CDK4/6": "CDK4 CDK6", "GSK3": "GSK3A GSK3B", "PKC": "PRKCA PRKCB PRKCD", "PKCB": "PRKCB",
    "IKK": "CHUK IKBKB", "ROCK": "ROCK1 ROCK2", "SRC FAMILY": "SRC LCK YES1", "JAK": "JAK1 JAK2", "PLK": "PLK1", "RAR": "RARA RARB",
    "RXR": "RXRA RXRB", "PPARGAMMA": "PPARG", "PPARDELTA": "PPARD", "SHP-1": "PTPN6", "SHP-2": "PTPN11", "SERCA": "ATP2A1 ATP2A2",
    "ER": "ESR1", "AR": "AR", "PI3KALPHA": "PIK3CA", "PI3KBETA": "PIK3CB", "PI3KDELTA": "PIK3CD", "PI3KGAMMA": "PIK3CG",
    "HIF-PH": "EGLN1", "FARNESYL-TRANSFERASE": "FNTA", "DIHYDROFOLATE REDUCTASE": "DHFR", "PROCASPASE-3": "CASP3",
    "PROCASPASE-7": "CASP7", "P53": "TP53", "AMPK": "PRKAA1", "AMPK AGONIST": "PRKAA1",
    "ERK2": "MAPK1", "IKK-1": "CHUK", "IKK-2": "IKBKB", "RNA POLYMERASE": "POLR1A",
}  # fmt: skip
#: Words that the list brings to a gene of a similar name.
WRONG = {"INDUCES REACTIVE OXYGEN SPECIES", "CP11A", "METABOLISM", "INFLAMMATORY RELATED"}


def build(folder: Path) -> dict[str, list[str]]:
    """Symbols by word, in capitals."""
    table = pd.read_csv(folder / SOURCE, dtype=str).fillna("")
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    whole: dict[str, set[str]] = {}
    for words, symbols in zip(
        map(split_words, table["PUTATIVE_TARGET"]), map(split_words, table["HGCN_TARGETS"]), strict=True
    ):
        if len(words) == len(symbols):
            for word, symbol in zip(words, symbols, strict=True):
                votes[word.upper()][symbol] += 1
        elif len(words) == 1 and symbols:
            whole.setdefault(words[0].upper(), set(symbols))
    found = {word: {count.most_common(1)[0][0]} for word, count in votes.items()} | whole
    found |= {word: set(symbols.split()) for word, symbols in FAMILIES.items()}
    return {word: sorted(symbols) for word, symbols in sorted(found.items()) if symbols != {word} and word not in WRONG}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"folder with {SOURCE}")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    table = build(arguments.folder)
    stored = {
        "source": "raimondilab/CellHit, data/metadata/GDSC_drugs.csv, MIT; families by hand",
        "built_by": "scripts/build_target_table.py",
        "symbols": table,
    }
    lines = json.dumps(stored, indent=1, ensure_ascii=False)
    arguments.output.write_text(lines + "\n", encoding="utf-8")
    print(f"{len(table)} words in {arguments.output.name}")


if __name__ == "__main__":
    main()
