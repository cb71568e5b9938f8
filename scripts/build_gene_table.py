"""Build the bundled table of human gene ids from the database of the annotation package org.Hs.eg.db.

The package is distributed by Bioconductor and, for example, by Debian as ``r-bioc-org.hs.eg.db``; its database is
the file ``extdata/org.Hs.eg.sqlite``. The output is the same to the byte for the same database::

    python scripts/build_gene_table.py path/to/org.Hs.eg.sqlite --package "Debian r-bioc-org.hs.eg.db 3.16.0-1"
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[1] / "src" / "scdrug" / "pp" / "_data"
COLUMNS = ("symbol", "entrez", "type", "ensembl", "aliases")
CHANGES = (
    "left out: genes of type 'biological-region', and genes of type 'unknown' without an Ensembl id",
    "an Ensembl id that several genes claim is kept for one: protein-coding first, then claimed by both NCBI and "
    "Ensembl, then with a symbol that is not 'LOC…', then the lowest Entrez id",
    "genes on the mitochondrial chromosome have their HGNC symbol ('MT-ND1'); NCBI's ('ND1') is an alias",
    "aliases equal to the symbol of the same gene are left out",
)


@dataclass
class Gene:
    symbol: str
    entrez: int
    type: str
    chromosomes: set[str] = field(default_factory=set)
    #: Ensembl id -> in how many of the two directions (NCBI to Ensembl, Ensembl to NCBI) it is stated.
    ensembl: dict[str, int] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)


def read_genes(database: sqlite3.Connection) -> list[Gene]:
    rows = database.execute(
        "SELECT _id, symbol, gene_id, gene_type FROM genes JOIN gene_info USING (_id) JOIN genetype USING (_id)"
    )
    genes = {row: Gene(symbol, int(entrez), kind) for row, symbol, entrez, kind in rows}
    for row, chromosome in database.execute("SELECT _id, chromosome FROM chromosomes"):
        genes[row].chromosomes.add(chromosome)
    for row, alias in database.execute("SELECT _id, alias_symbol FROM alias"):
        genes[row].aliases.add(alias)
    for row, ensembl in database.execute("SELECT _id, ensembl_id FROM ensembl"):
        genes[row].ensembl[ensembl] = 0
    for table in ("ensembl2ncbi", "ncbi2ensembl"):
        for row, ensembl in database.execute(f"SELECT _id, ensembl_id FROM {table}"):
            if ensembl in genes[row].ensembl:
                genes[row].ensembl[ensembl] += 1
    return [
        gene for gene in genes.values() if gene.type != "biological-region" and (gene.type != "unknown" or gene.ensembl)
    ]


def name_mitochondrial_genes(genes: Iterable[Gene]) -> None:
    """NCBI leaves out the prefix by which everyone recognises mitochondrial genes; its alias without dash has it."""
    for gene in genes:
        if gene.chromosomes != {"MT"}:
            continue
        with_prefix = sorted(alias for alias in gene.aliases if re.fullmatch(r"MT[A-Z0-9]+", alias))
        approved = with_prefix[0] if with_prefix else gene.symbol.replace("TRN", "MTT", 1)
        gene.aliases |= {gene.symbol}
        gene.symbol = "MT-" + approved.removeprefix("MT")


def settle_ensembl_ids(genes: Iterable[Gene]) -> int:
    """Leave each Ensembl id with one gene; returns how many were claimed by several."""
    claims: dict[str, list[Gene]] = defaultdict(list)
    for gene in genes:
        for ensembl in gene.ensembl:
            claims[ensembl].append(gene)
    contested = {ensembl: claimants for ensembl, claimants in claims.items() if len(claimants) > 1}
    for ensembl, claimants in contested.items():

        def standing(gene: Gene, ensembl: str = ensembl) -> tuple[bool, int, bool, int]:
            return (gene.type != "protein-coding", -gene.ensembl[ensembl], gene.symbol.startswith("LOC"), gene.entrez)

        for gene in sorted(claimants, key=standing)[1:]:
            del gene.ensembl[ensembl]
    return len(contested)


def as_text(genes: Iterable[Gene]) -> str:
    lines = ["\t".join(COLUMNS)]
    for gene in sorted(genes, key=lambda gene: gene.entrez):
        aliases = sorted(gene.aliases - {gene.symbol})
        lines.append(
            "\t".join((gene.symbol, str(gene.entrez), gene.type, "|".join(sorted(gene.ensembl)), "|".join(aliases)))
        )
    return "\n".join(lines) + "\n"


def build(sqlite: Path, package: str, output: Path) -> dict[str, object]:
    database = sqlite3.connect(f"file:{sqlite}?mode=ro", uri=True)
    metadata = dict(database.execute("SELECT name, value FROM metadata"))
    genes = read_genes(database)
    database.close()
    name_mitochondrial_genes(genes)
    n_contested = settle_ensembl_ids(genes)
    content = gzip.compress(as_text(genes).encode(), compresslevel=9, mtime=0)
    # byte 9 names the operating system that compressed; 255 is "unknown", so that all of them agree
    content = content[:9] + b"\xff" + content[10:]
    output.mkdir(parents=True, exist_ok=True)
    (output / "genes.tsv.gz").write_bytes(content)
    provenance: dict[str, object] = {
        "organism": metadata["ORGANISM"],
        "source": package,
        "source_sha256": hashlib.sha256(sqlite.read_bytes()).hexdigest(),
        "entrez_gene_date": metadata["EGSOURCEDATE"],
        "ensembl_date": metadata["ENSOURCEDATE"],
        "licence": "Artistic-2.0 (annotation package); data of NCBI Gene (public domain) and Ensembl (no restrictions)",
        "changes": list(CHANGES),
        "built_by": "scripts/build_gene_table.py",
        "columns": list(COLUMNS),
        "n_genes": len(genes),
        "n_protein_coding": sum(gene.type == "protein-coding" for gene in genes),
        "n_ensembl": sum(len(gene.ensembl) for gene in genes),
        "n_ensembl_contested": n_contested,
        "n_aliases": sum(len(gene.aliases - {gene.symbol}) for gene in genes),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    (output / "genes.json").write_text(text, encoding="utf-8")
    return provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sqlite", type=Path, help="the file org.Hs.eg.sqlite of the package")
    parser.add_argument("--package", required=True, help="name and version of the package, for the provenance")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write genes.tsv.gz and genes.json to")
    arguments = parser.parse_args()
    provenance = build(arguments.sqlite, arguments.package, arguments.output)
    print(f"{provenance['n_genes']} genes, {provenance['size']} bytes, sha256 {provenance['sha256']}")


if __name__ == "__main__":
    main()
