"""LINCS phases from files of the form that GEO distributes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, pp
from scdrug.datasets._gctx import read_gctx
from scdrug.pp._perturbation import read_perturbations

GENES = pd.DataFrame(
    {
        "pr_gene_id": ["780", "1956", "7157", "3845"],
        "pr_gene_symbol": ["DDR1", "EGFR", "TP53", "KRAS"],
        "pr_is_lm": [1, 0, 1, 0],
        "pr_is_bing": [1, 1, 1, 0],
    }
)
INSTANCES = pd.DataFrame(
    [
        ("p1:a", "A375", "BRD-1", "drugx", "trt_cp", "10.0", "um", "24", "h", "p1"),
        ("p1:b", "A375", "BRD-2", "drugy", "trt_cp", "500", "nM", "6", "h", "p1"),
        ("p1:c", "A375", "DMSO", "DMSO", "ctl_vehicle", "-666", "-666", "24", "h", "p1"),
        ("p2:a", "PC3", "BRD-1", "drugx", "trt_cp", "10.0", "um", "24", "h", "p2"),
        ("p2:b", "PC3", "DMSO", "DMSO", "ctl_vehicle", "-666", "-666", "24", "h", "p2"),
        ("p2:c", "PC3", "BRD-3", "EGF", "trt_lig", "3", "ng/ml", "24", "h", "p2"),
        ("p2:d", "PC3", "BRD-9", "secret", "trt_cp", "10", "um", "24", "h", "p2"),
    ],
    columns=[
        "inst_id", "cell_id", "pert_id", "pert_iname", "pert_type", "pert_dose", "pert_dose_unit", "pert_time",
        "pert_time_unit", "rna_plate",
    ],
)  # fmt: skip
COMPOUNDS = pd.DataFrame({"pert_id": ["BRD-1", "BRD-2", "BRD-9"], "canonical_smiles": ["CCO", "CCN", "restricted"]})
VALUES = np.arange(7 * 4, dtype=np.float32).reshape(7, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "GSE92742_level3.gctx", "w") as file:
        file["0/DATA/0/matrix"] = VALUES
        file["0/META/ROW/id"] = np.array(GENES["pr_gene_id"].tolist(), dtype="S")
        file["0/META/COL/id"] = np.array(INSTANCES["inst_id"].tolist(), dtype="S")
    for name, table in (("inst_info", INSTANCES), ("gene_info", GENES), ("pert_info", COMPOUNDS)):
        table.to_csv(tmp_path / f"GSE92742_Broad_LINCS_{name}.txt.gz", sep="\t", index=False)
    return tmp_path


def test_a_phase_is_read_in_common_units_with_its_controls(folder: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 4 treated profiles are left out"):
        adata = datasets.l1000("phase1", path=folder)
    assert list(adata.var_names) == ["DDR1", "TP53"]
    assert list(adata.obs_names) == ["p1:a", "p1:b", "p1:c", "p2:a", "p2:b"]
    np.testing.assert_array_equal(adata.X, VALUES[:5][:, [0, 2]])
    np.testing.assert_allclose(adata.obs["dose"], [10, 0.5, 0, 10, 0])
    assert list(adata.obs["control"]) == [False, False, True, False, True]


def test_profiles_of_a_phase_are_paired_and_read_as_perturbations(folder: Path) -> None:
    with pytest.warns(UserWarning, match="left out"):
        adata = datasets.l1000("phase1", path=folder, genes="inferred")
    pp.pair_controls(adata)
    data = read_perturbations(adata)
    np.testing.assert_array_equal(data.basal, VALUES[[2, 2, 4]][:, :3])
    np.testing.assert_array_equal(data.treated, VALUES[[0, 1, 3]][:, :3])
    assert data.conditions["smiles"].tolist() == ["CCO", "CCN", "CCO"]
    assert data.conditions["time"].tolist() == [24, 6, 24]


def test_only_the_lines_asked_for_are_read(folder: Path) -> None:
    adata = datasets.l1000("phase1", path=folder, genes="all", cell_lines=["A375"])
    assert set(adata.obs["cell_line"]) == {"A375"}
    assert adata.n_vars == 4
    with pytest.raises(KeyError, match="MCF7"):
        datasets.l1000("phase1", path=folder, cell_lines=["MCF7"])


def test_parts_of_a_matrix_come_in_the_order_asked_for(folder: Path) -> None:
    path = folder / "GSE92742_level3.gctx"
    values, profiles, genes = read_gctx(path, rows=["3845", "780"], columns=["p2:a", "p1:a", "p2:a"])
    np.testing.assert_array_equal(values, VALUES[[3, 0, 3]][:, [3, 0]])
    assert profiles.tolist() == ["p2:a", "p1:a", "p2:a"]
    assert genes.tolist() == ["3845", "780"]
    with pytest.raises(KeyError, match="1 ids are not in the file: '99'"):
        read_gctx(path, rows=["99"])


def test_files_of_another_form_are_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gctx").write_text("no matrix")
    with pytest.raises(ValueError, match="not a GCTX file"):
        read_gctx(tmp_path / "text.gctx")
    with h5py.File(tmp_path / "other.gctx", "w") as file:
        file["x"] = [1]
    with pytest.raises(ValueError, match="no GCTX"):
        read_gctx(tmp_path / "other.gctx")
    with pytest.raises(FileNotFoundError, match="GSE70138"):
        datasets.l1000("phase2")
    for path in folder.glob("*pert_info*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="pert_info"):
        datasets.l1000("phase1", path=folder)
