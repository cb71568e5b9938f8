"""Build the bundled table of drugs, their names and what is known of them, from public lists.

Names of GDSC's compounds with their synonyms (through DeepCDR and CellHit, MIT), their PubChem CIDs (CellHit, MIT), brand names of approved
cancer drugs (NCI, through CellHit), and ids of ChEMBL and LINCS (signatureSearch, Artistic-2.0). Names that none of these has stand in
:data:`ADDED`. The output is the same to the byte for the same files::

    python scripts/build_drug_table.py path/to/drug_meta path/to/deepcdr/drug_list.csv
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

OUTPUT = Path(__file__).resolve().parents[1] / "src" / "scdrug" / "pp" / "_data"
COLUMNS = (
    "name",
    "synonyms",
    "pubchem_cid",
    "chembl_id",
    "targets",
    "pathway",
    "max_phase",
    "first_approval",
    "indications",
)
SOURCES = {
    "cellhit_GDSC_drugs.csv": "raimondilab/CellHit, data/metadata/GDSC_drugs.csv, MIT",
    "cellhit_gdsc_pubchem_mappings.csv": "raimondilab/CellHit, data/metadata/gdsc_pubchem_mappings.csv, MIT",
    "cellhit_nci_compiled_dataset.csv": "raimondilab/CellHit, data/metadata/nci_compiled_dataset.csv, MIT",
    "lincs_pert_info2_gdsc.csv": "bioc/signatureSearch, data/lincs_pert_info2.rda (rows of GDSC's drugs), Artistic-2.0",
}
CHANGES = (
    "rows of one compound are joined: equal PubChem CIDs, or the name of one among the synonyms of the other",
    "names of salts are also listed without the salt",
    "names that no list holds were added by hand (ADDED in the script), and wrong ones taken out (WRONG)",
    "drugs that are known by one name only, and by no id, are left out",
    "a name that several compounds have stands with each of them, and is ambiguous",
    "targets, pathway, phase, first approval and indications (TCGA codes) are those of the first list that has them, in the order above",
)
#: Common names of widely used drugs that the lists lack.
ADDED = {
    "Vemurafenib": ("PLX4032", "PLX-4032", "RG7204", "RO5185426", "Zelboraf"),
    "PLX-4720": ("PLX4720",),
    "Imatinib": ("Gleevec", "Glivec", "STI571", "STI-571", "CGP57148B"),
    "Paclitaxel": ("Taxol",),
    "Docetaxel": ("Taxotere",),
    "Bortezomib": ("Velcade", "PS-341"),
    "5-Fluorouracil": ("5-FU", "5FU", "Fluorouracil", "Adrucil"),
    "Trametinib": ("GSK1120212", "Mekinist", "JTP-74057"),
    "Selumetinib": ("AZD6244", "ARRY-142886", "Koselugo"),
    "Dabrafenib": ("GSK2118436", "Tafinlar"),
    "Cobimetinib": ("GDC-0973", "XL518", "Cotellic"),
    "Binimetinib": ("MEK162", "ARRY-162", "ARRY-438162", "Mektovi"),
    "Encorafenib": ("LGX818", "Braftovi"),
    "Gefitinib": ("Iressa", "ZD1839"),
    "Erlotinib": ("Tarceva", "OSI-774", "CP-358774"),
    "Afatinib": ("Gilotrif", "Giotrif", "BIBW2992"),
    "Osimertinib": ("AZD9291", "Tagrisso", "Mereletinib"),
    "Lapatinib": ("Tykerb", "Tyverb", "GW572016"),
    "Neratinib": ("HKI-272", "Nerlynx"),
    "Crizotinib": ("PF-02341066", "PF-2341066", "Xalkori"),
    "Alectinib": ("CH5424802", "Alecensa"),
    "Ceritinib": ("LDK378", "Zykadia"),
    "Dasatinib": ("BMS-354825", "Sprycel"),
    "Nilotinib": ("AMN107", "Tasigna"),
    "Bosutinib": ("SKI-606", "Bosulif"),
    "Ponatinib": ("AP24534", "Iclusig"),
    "Sorafenib": ("BAY 43-9006", "Nexavar"),
    "Sunitinib": ("SU11248", "Sutent"),
    "Pazopanib": ("GW786034", "Votrient"),
    "Axitinib": ("AG-013736", "Inlyta"),
    "Cabozantinib": ("XL184", "Cometriq", "Cabometyx", "BMS-907351"),
    "Ruxolitinib": ("INCB018424", "Jakafi", "Jakavi"),
    "Ibrutinib": ("PCI-32765", "Imbruvica"),
    "Idelalisib": ("CAL-101", "GS-1101", "Zydelig"),
    "Alpelisib": ("BYL719", "Piqray"),
    "Pictilisib": ("GDC-0941",),
    "Buparlisib": ("BKM120", "NVP-BKM120"),
    "Taselisib": ("GDC-0032",),
    "Everolimus": ("RAD001", "Afinitor"),
    "Temsirolimus": ("CCI-779", "Torisel"),
    "Rapamycin": ("Sirolimus", "Rapamune", "AY-22989"),
    "Olaparib": ("AZD2281", "KU-0059436", "Lynparza"),
    "Rucaparib": ("AG-014699", "PF-01367338", "Rubraca"),
    "Niraparib": ("MK-4827", "Zejula"),
    "Talazoparib": ("BMN-673", "BMN673", "Talzenna"),
    "Veliparib": ("ABT-888",),
    "Palbociclib": ("PD-0332991", "Ibrance"),
    "Ribociclib": ("LEE011", "Kisqali"),
    "Abemaciclib": ("LY2835219", "Verzenio"),
    "Dinaciclib": ("SCH727965", "MK-7965"),
    "Alvocidib": ("Flavopiridol", "HMR-1275"),
    "Venetoclax": ("Venotoclax", "ABT-199", "GDC-0199", "Venclexta", "Venclyxto"),
    "Navitoclax": ("ABT-263",),
    "Vorinostat": ("SAHA", "Zolinza"),
    "Panobinostat": ("LBH589", "Farydak"),
    "Entinostat": ("MS-275", "SNDX-275"),
    "Belinostat": ("PXD101", "Beleodaq"),
    "Carfilzomib": ("PR-171", "Kyprolis"),
    "Tanespimycin": ("17-AAG", "KOS-953"),
    "Luminespib": ("NVP-AUY922", "AUY922"),
    "Ganetespib": ("STA-9090",),
    "Cisplatin": ("CDDP", "Platinol"),
    "Oxaliplatin": ("Eloxatin",),
    "Carboplatin": ("Paraplatin",),
    "Gemcitabine": ("Gemzar",),
    "Doxorubicin": ("Adriamycin",),
    "Epirubicin": ("Ellence",),
    "Irinotecan": ("CPT-11", "Camptosar"),
    "Topotecan": ("Hycamtin",),
    "Etoposide": ("VP-16", "Vepesid"),
    "Cytarabine": ("Ara-C", "Cytosar"),
    "Temozolomide": ("Temodar", "Temodal"),
    "Vinorelbine": ("Navelbine",),
    "Vincristine": ("Oncovin",),
    "Vinblastine": ("Velban",),
    "Methotrexate": ("MTX", "Trexall"),
    "Pemetrexed": ("Alimta", "LY231514"),
    "Tamoxifen": ("Nolvadex",),
    "Fulvestrant": ("Faslodex", "ICI-182780"),
    "Bicalutamide": ("Casodex",),
    "Enzalutamide": ("MDV3100", "Xtandi"),
    "Lenalidomide": ("Revlimid", "CC-5013"),
    "Decitabine": ("Dacogen", "5-aza-2'-deoxycytidine"),
    "5-azacytidine": ("Azacitidine", "Vidaza"),
    "Nutlin-3a (-)": ("Nutlin-3a", "Nutlin 3a"),
    "JQ1": ("(+)-JQ1",),
    "Tretinoin": ("ATRA", "all-trans retinoic acid", "Vesanoid"),
}  # fmt: skip
#: Names that a list gives to another drug.
WRONG = {"Rapamycin": {"Torisel"}, "AZD1480": {"Selumetinib"}, "Selumetinib": {"AZD1480"}}
#: What the name of a salt ends with.
SALTS = re.compile(
    r"\s+(?:(?:di|mono|tri)?(?:hydrochloride|hydrobromide|phosphate|sodium|hydrate|mesylate|tosylate)|hcl|malate|maleate|fumarate|citrate|"
    r"tartrate|ditosylate|acetate|sulfate|sulphate|succinate|besylate|camsylate|disodium|lactate|esylate)$",
    re.IGNORECASE,
)
#: Texts that stand for nothing.
_EMPTY = frozenset(
    {"", "nan", "none", "none found", "several", "not available", "not provided", "wimm synthesis", "n/a", "-"}
)


@dataclass
class Drug:
    names: dict[str, None] = field(default_factory=dict)
    cids: set[str] = field(default_factory=set)
    chembl: set[str] = field(default_factory=set)
    #: What is known of the drug beside its names, by column; the first list that says anything counts.
    facts: dict[str, str] = field(default_factory=dict)


def simple(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def split_names(text: object) -> Iterator[str]:
    """Names in a field, separated by a comma and a blank; commas within names of chemicals have none after them."""
    for part in re.split(r",\s+|;\s*|\|", str(text)):
        part = part.strip().strip("'\"")
        if part.lower() not in _EMPTY and len(simple(part)) > 1 and part.isascii():
            yield part


def ids(text: object) -> Iterator[str]:
    for part in re.findall(r"\d+(?=\.0\b|\b)", str(text)):
        if len(part) > 1:
            yield part


def fact(value: object) -> str:
    text = re.sub(r"\s*,\s*", ", ", str(value).strip())
    return "" if text.lower() in _EMPTY | {"not defined", "unknown"} else text


def whole(value: object) -> str:
    """A number that a list writes with decimals, as a whole one."""
    return str(int(float(str(value)))) if re.fullmatch(r"\d+(\.0)?", str(value)) else ""


def read(folder: Path, names: Path) -> list[Drug]:
    """Rows of all lists, as they are."""
    drugs = []

    def add(
        name: object,
        synonyms: Iterable[str] = (),
        cids: Iterable[str] = (),
        chembl: Iterable[str] = (),
        **facts: object,
    ) -> None:
        first = str(name).strip()
        if first.lower() in _EMPTY or not first.isascii():
            return
        wrong = WRONG.get(first, set())
        kept = [name for name in synonyms if name not in wrong]
        told = {column: text for column, value in facts.items() if (text := fact(value))}
        drug = Drug(dict.fromkeys([first, *kept]), set(cids), set(chembl), told)
        for spelled in list(drug.names):
            drug.names.setdefault(SALTS.sub("", spelled))
        drugs.append(drug)

    table = pd.read_csv(folder / "cellhit_GDSC_drugs.csv", dtype=str)
    for row in table.itertuples():
        add(row.DRUG_NAME, split_names(row.DRUG_SYNONYMS), targets=row.HGCN_TARGETS, pathway=row.PATHWAY_NAME)
    table = pd.read_csv(folder / "cellhit_gdsc_pubchem_mappings.csv", dtype=str)
    for name, cid in zip(table["Drug"], table["PubChemId"].where(table["id_type"] == "Compound")):
        add(name, cids=ids(cid))
    table = pd.read_csv(names, dtype=str)
    for row in table.rename(columns={"Target pathway": "pathway"}).itertuples():
        add(row.Name, split_names(row.Synonyms), targets=row.Targets, pathway=row.pathway)
    table = pd.read_csv(folder / "lincs_pert_info2_gdsc.csv", dtype=str)
    for row in table.itertuples():
        chembl = [row.chembl_id] if str(row.chembl_id).startswith("CHEMBL") else []
        names_of = [*split_names(row.pert_iname), *split_names(row.pert_id)]
        phase, approval = whole(row.max_phase), whole(row.first_approval)
        targets = str(row.t_gn_sym).replace(";", ",")
        add(
            row.gdsc_drug,
            names_of,
            ids(row.pubchem_cid),
            chembl,
            max_phase=phase,
            first_approval=approval,
            targets=targets,
        )
    table = pd.read_csv(folder / "cellhit_nci_compiled_dataset.csv", dtype=str)
    table = table[table["DrugType"] == "Compound"]
    for row in table.itertuples():
        indications = ", ".join(re.findall(r"'([^']+)'", str(row.DrugIndications)))
        cids = ids(str(row.PubChemId).removeprefix("C_"))
        add(row.DrugName, split_names(row.DrugAliases), cids, indications=indications)
    for name, synonyms in ADDED.items():
        add(name, synonyms)
    return drugs


def join(drugs: list[Drug]) -> list[Drug]:
    """Join the rows of one compound."""
    parent = list(range(len(drugs)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    by_title: dict[str, int] = {}
    by_cid: dict[str, int] = {}
    for row, drug in enumerate(drugs):
        titles = [simple(name) for name in list(drug.names)[:1]] + [simple(SALTS.sub("", next(iter(drug.names))))]
        for key, index in [*((title, by_title) for title in titles), *((cid, by_cid) for cid in drug.cids)]:
            first = index.setdefault(key, row)
            parent[root(row)] = root(first)
    for row, drug in enumerate(drugs):
        for name in drug.names:
            other = by_title.get(simple(name))
            if other is not None:
                low, high = sorted((root(row), root(other)))
                parent[high] = low
    joined: dict[int, Drug] = defaultdict(Drug)
    for row, drug in enumerate(drugs):
        into = joined[root(row)]
        for name in drug.names:
            if simple(name) not in {simple(other) for other in into.names}:
                into.names[name] = None
        into.cids |= drug.cids
        into.chembl |= drug.chembl
        into.facts = drug.facts | into.facts
    told = [drug for drug in joined.values() if len(drug.names) > 1 or drug.cids or drug.chembl]
    return sorted(told, key=lambda drug: next(iter(drug.names)).lower())


def as_text(drugs: Iterable[Drug]) -> str:
    lines = ["\t".join(COLUMNS)]
    for drug in drugs:
        name, *synonyms = drug.names
        fields = (name, "|".join(synonyms), "|".join(sorted(drug.cids, key=int)), "|".join(sorted(drug.chembl)))
        fields += tuple(drug.facts.get(column, "") for column in COLUMNS[len(fields) :])
        lines.append("\t".join(text.replace("\t", " ") for text in fields))
    return "\n".join(lines) + "\n"


def build(folder: Path, names: Path, output: Path) -> dict[str, object]:
    drugs = join(read(folder, names))
    content = gzip.compress(as_text(drugs).encode(), compresslevel=9, mtime=0)
    # byte 9 names the operating system that compressed; 255 is "unknown", so that all of them agree
    content = content[:9] + b"\xff" + content[10:]
    output.mkdir(parents=True, exist_ok=True)
    (output / "drugs.tsv.gz").write_bytes(content)
    sources = [
        {"file": name, "source": source, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
        for name, source in SOURCES.items()
    ]
    digest = hashlib.sha256(names.read_bytes()).hexdigest()
    sources.append(
        {"file": names.name, "source": "kimmo1019/DeepCDR, data/GDSC/1.Drug_list*.csv, MIT", "sha256": digest}
    )
    holders: dict[str, int] = defaultdict(int)
    for drug in drugs:
        for key in {simple(name) for name in drug.names}:
            holders[key] += 1
    provenance: dict[str, object] = {
        "sources": sources,
        "licence": "MIT (CellHit, DeepCDR) and Artistic-2.0 (signatureSearch); names and ids are facts of GDSC, NCI, PubChem and ChEMBL",
        "changes": list(CHANGES),
        "built_by": "scripts/build_drug_table.py",
        "columns": list(COLUMNS),
        "n_drugs": len(drugs),
        "n_names": len(holders),
        "n_ambiguous": sum(count > 1 for count in holders.values()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    (output / "drugs.json").write_text(json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"folder with {', '.join(SOURCES)}")
    parser.add_argument("names", type=Path, help="list of GDSC's compounds with the columns Name and Synonyms")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write drugs.tsv.gz and drugs.json to")
    arguments = parser.parse_args()
    provenance = build(arguments.folder, arguments.names, arguments.output)
    print(f"{provenance['n_drugs']} drugs, {provenance['size']} bytes, sha256 {provenance['sha256']}")


if __name__ == "__main__":
    main()
