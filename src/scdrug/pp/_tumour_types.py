"""Types of tumours: codes of TCGA, what they stand for, and other words for them."""

from __future__ import annotations

import re
from collections.abc import Collection

from .._validate import examples, nearest

#: Study names of TCGA by code.
TCGA = {
    "ACC": "adrenocortical carcinoma", "BLCA": "bladder urothelial carcinoma", "BRCA": "breast invasive carcinoma",
    "CESC": "cervical squamous cell carcinoma and endocervical adenocarcinoma", "CHOL": "cholangiocarcinoma",
    "COAD": "colon adenocarcinoma", "DLBC": "diffuse large B-cell lymphoma", "ESCA": "esophageal carcinoma",
    "GBM": "glioblastoma multiforme", "HNSC": "head and neck squamous cell carcinoma", "KICH": "kidney chromophobe",
    "KIRC": "kidney renal clear cell carcinoma", "KIRP": "kidney renal papillary cell carcinoma", "LAML": "acute myeloid leukemia",
    "LCML": "chronic myelogenous leukemia", "LGG": "brain lower grade glioma", "LIHC": "liver hepatocellular carcinoma",
    "LUAD": "lung adenocarcinoma", "LUSC": "lung squamous cell carcinoma", "MESO": "mesothelioma",
    "OV": "ovarian serous cystadenocarcinoma", "PAAD": "pancreatic adenocarcinoma", "PCPG": "pheochromocytoma and paraganglioma",
    "PRAD": "prostate adenocarcinoma", "READ": "rectum adenocarcinoma", "SARC": "sarcoma", "SKCM": "skin cutaneous melanoma",
    "STAD": "stomach adenocarcinoma", "TGCT": "testicular germ cell tumors", "THCA": "thyroid carcinoma", "THYM": "thymoma",
    "UCEC": "uterine corpus endometrial carcinoma", "UCS": "uterine carcinosarcoma", "UVM": "uveal melanoma",
}  # fmt: skip
#: What else they are called, without "cancer", "carcinoma" or "tumour" at the end; one word may stand for several.
_WORDS = {
    "adrenal": "ACC", "adrenocortical": "ACC", "bladder": "BLCA", "urothelial": "BLCA", "breast": "BRCA", "cervical": "CESC",
    "cervix": "CESC", "bile duct": "CHOL", "colon": "COAD", "rectum": "READ", "rectal": "READ", "colorectal": "COAD READ",
    "bowel": "COAD READ", "dlbcl": "DLBC", "esophagus": "ESCA", "esophageal": "ESCA", "oesophageal": "ESCA", "oesophagus": "ESCA",
    "glioblastoma": "GBM", "head and neck": "HNSC", "kidney": "KIRC KIRP KICH", "renal": "KIRC KIRP KICH", "renal cell": "KIRC KIRP KICH",
    "aml": "LAML", "acute myeloid leukaemia": "LAML", "cml": "LCML", "chronic myeloid leukemia": "LCML",
    "chronic myeloid leukaemia": "LCML", "chronic myelogenous leukaemia": "LCML", "low grade glioma": "LGG",
    "lower grade glioma": "LGG", "oligodendroglioma": "LGG", "liver": "LIHC", "hepatocellular": "LIHC", "lung": "LUAD LUSC",
    "non small cell lung": "LUAD LUSC", "nsclc": "LUAD LUSC", "ovarian": "OV", "ovary": "OV", "pancreatic": "PAAD", "pancreas": "PAAD",
    "pheochromocytoma": "PCPG", "paraganglioma": "PCPG", "prostate": "PRAD", "melanoma": "SKCM", "skin": "SKCM", "stomach": "STAD",
    "gastric": "STAD", "testicular": "TGCT", "testis": "TGCT", "germ cell": "TGCT", "thyroid": "THCA", "thymus": "THYM",
    "endometrial": "UCEC", "endometrium": "UCEC", "uterine": "UCEC", "uterus": "UCEC",
}  # fmt: skip


def tumour_codes(tumour_type: str, covered: Collection[str]) -> tuple[str, ...]:
    """Codes of TCGA that a type of tumour stands for.

    Parameters
    ----------
    tumour_type
        Code, several codes with slashes (``"COAD/READ"``), name of TCGA, or a plain word (``"breast cancer"``).
    covered
        Codes that the list which is to be asked knows.

    Returns
    -------
    Those of its codes that are covered.

    Raises
    ------
    ValueError
        If it is not known, or the list covers none of it.

    Examples
    --------
    >>> from scdrug.pp._tumour_types import tumour_codes
    >>> tumour_codes("Colorectal cancer", {"COAD", "READ", "OV"}), tumour_codes("ov", {"OV"})
    (('COAD', 'READ'), ('OV',))
    """
    parts = [part.strip().upper() for part in tumour_type.split("/")]
    words = {_plain(name): code for code, name in TCGA.items()} | {
        _plain(word): codes for word, codes in _WORDS.items()
    }
    if all(part in TCGA or part in covered for part in parts):
        codes = tuple(parts)
    elif _plain(tumour_type) in words:
        codes = tuple(words[_plain(tumour_type)].split())
    else:
        names = [*TCGA, *TCGA.values(), *_WORDS, *(f"{word} cancer" for word in _WORDS)]
        near = nearest(tumour_type, names, n=3)
        hint = f"Did you mean {examples(near)}?" if near else f"Codes are {examples(sorted(TCGA), len(TCGA))}."
        raise ValueError(
            f"`tumour_type` must be a code of TCGA, such as 'BRCA', or a name, such as 'breast cancer'; found {tumour_type!r}. {hint}"
        )
    known = tuple(code for code in codes if code in covered)
    if not known:
        raise ValueError(
            f"The list of indications says nothing of {'/'.join(codes)}, so that no drug could be called indicated or not. It covers "
            f"{examples(sorted(covered), len(covered))}."
        )
    return known


def _plain(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    return re.sub(r" (cancer|carcinoma|tumou?rs?)$", "", words)
