"""Data sets: fetched, checked by hash and brought into one form; and synthetic ones that need no network."""

from __future__ import annotations

from ._ccle import ccle
from ._cells import a375_plx4720, breast_atlas, oligodendroglioma, pbmc, sc_mixology
from ._deepcdr import deepcdr
from ._fetch import fetch
from ._gdsc import gdsc
from ._gene_sets import gene_sets, read_gmt
from ._he2025 import he2025
from ._l1000 import l1000
from ._mipe import mipe
from ._mtigcn import mtigcn, mtigcn_patients
from ._mtigcn_ccle import mtigcn_ccle
from ._nci60 import nci60
from ._patients import read_patients
from ._pdx import pdx
from ._ppi import ppi
from ._registry import list_datasets as list
from ._toy import toy, toy_cells
from ._toy_perturbations import toy_perturbations

__all__ = [
    "a375_plx4720",
    "breast_atlas",
    "ccle",
    "deepcdr",
    "fetch",
    "gdsc",
    "gene_sets",
    "he2025",
    "l1000",
    "list",
    "mipe",
    "mtigcn",
    "mtigcn_ccle",
    "mtigcn_patients",
    "nci60",
    "oligodendroglioma",
    "pbmc",
    "pdx",
    "ppi",
    "read_gmt",
    "read_patients",
    "sc_mixology",
    "toy",
    "toy_cells",
    "toy_perturbations",
]
