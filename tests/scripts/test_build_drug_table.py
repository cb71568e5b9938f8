from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_drug_table.py"
TABLES = {
    "cellhit_GDSC_drugs.csv": 'DRUG_NAME,DRUG_SYNONYMS,HGCN_TARGETS,PATHWAY_NAME\nSelumetinib,"AZD6244, ARRY-886","MAP2K1,MAP2K2",'
    "ERK MAPK signaling\nFirst,Shared,nan,Other\nSecond,Shared,,\nLonely,,,\n",
    "cellhit_gdsc_pubchem_mappings.csv": "Drug,PubChemId,id_type\nSelumetinib,10127622.0,Compound\nFirst,5.0,Substance\n",
    "cellhit_nci_compiled_dataset.csv": "PubChemId,DrugName,DrugType,DrugAliases,DrugIndications\nC_77,First Mesylate,Compound,None found,[]\n"
    "C_10127622,Other,Compound,Koselugo,\"['NF', 'SKCM']\"\n",
    "lincs_pert_info2_gdsc.csv": "gdsc_drug,pert_id,pert_iname,pubchem_cid,chembl_id,max_phase,first_approval,t_gn_sym\n"
    "Selumetinib,BRD-1,selumetinib,None,CHEMBL1,4.0,2020.0,MAP2K1; X\n",
    "drug_list.csv": "Name,Synonyms,Targets,Target pathway\nazd6244,Not provided,MEK1,RTK signaling\n",
}


@pytest.fixture
def script(monkeypatch):
    if not SCRIPT.is_file():
        pytest.skip("scripts are not part of this installation")
    spec = importlib.util.spec_from_file_location("build_drug_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ADDED", {})
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_names_of_one_compound_are_joined_and_shared_ones_kept_apart(script, folder):
    provenance = script.build(folder, folder / "drug_list.csv", folder / "out")
    rows = gzip.decompress((folder / "out" / "drugs.tsv.gz").read_bytes()).decode().splitlines()
    assert rows == [
        "name\tsynonyms\tpubchem_cid\tchembl_id\ttargets\tpathway\tmax_phase\tfirst_approval\tindications",
        "First\tShared|First Mesylate\t77\t\t\tOther\t\t\t",
        "Second\tShared\t\t\t\t\t\t\t",
        "Selumetinib\tAZD6244|ARRY-886|BRD-1|Other|Koselugo\t10127622\tCHEMBL1\tMAP2K1, MAP2K2\tERK MAPK signaling\t4\t2020\tNF, SKCM",
    ]
    assert (provenance["n_drugs"], provenance["n_ambiguous"]) == (3, 1)


def test_table_is_the_same_to_the_byte_each_time(script, folder):
    for output in ("one", "two"):
        script.build(folder, folder / "drug_list.csv", folder / output)
    for name in ("drugs.tsv.gz", "drugs.json"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_the_bundled_table_is_the_one_of_its_provenance():
    import hashlib

    data = files("scdrug.pp") / "_data"
    provenance = json.loads((data / "drugs.json").read_text(encoding="utf-8"))
    assert hashlib.sha256((data / "drugs.tsv.gz").read_bytes()).hexdigest() == provenance["sha256"]
    assert provenance["n_ambiguous"] == 0
