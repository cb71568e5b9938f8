"""What the synthetic data are made of: real gene symbols and approved drugs, so that every function takes them.

The pathways are excerpts of the MSigDB hallmark sets without shared genes (CC BY 4.0, Liberzon et al. 2015); the
structures are those of PubChem. Which pathway drives which drug is invented.
"""

from __future__ import annotations

#: Eight pathways of 25 genes.
PATHWAYS = {
    "E2F_TARGETS": (
        "AURKA CDC20 CDK1 DLGAP5 DNMT1 EZH2 GINS1 GINS4 HMGB2 LIG1 MCM2 MCM3 MCM4 MCM5 MCM6 MKI67 PLK1 POLE "
        "RAD51AP1 RFC3 RRM2 SMC4 TMPO TOP2A UBE2T"
    ),
    "EPITHELIAL_MESENCHYMAL_TRANSITION": (
        "CDH2 COL16A1 COL1A1 COL1A2 COL3A1 COL4A1 COL4A2 COL5A2 COL6A2 COL6A3 COL7A1 FBN1 FN1 ITGAV LAMC1 LAMC2 "
        "LOXL2 LUM MMP2 NNMT SPARC TAGLN THBS2 TPM1 VCAN"
    ),
    "HYPOXIA": (
        "ADM BNIP3L CCNG2 CITED2 CSRP2 ENO3 ERRFI1 EXT1 GBE1 HK1 HK2 MXI1 P4HA1 P4HA2 PDK3 PFKP PGF PGM1 PLIN2 "
        "PPFIA4 SLC2A1 STC1 STC2 VLDLR WSB1"
    ),
    "INTERFERON_ALPHA_RESPONSE": (
        "BST2 CMPK2 DDX60 GBP2 HERC6 IFI27 IFI35 IFI44 IFI44L IFIT3 IFITM3 IRF7 ISG15 LGALS3BP LY6E MX1 OASL "
        "PLSCR1 PSMB9 RSAD2 RTP4 SAMD9 SAMD9L SP110 UBE2L6"
    ),
    "KRAS_SIGNALING_UP": (
        "ADAM8 DCBLD2 DUSP6 ETV1 ETV4 ETV5 GABRA3 GALNT3 HSD11B1 IRF8 ITGB2 MMP10 MMP11 MMP9 PPBP PRDM1 RBP4 SCG5 "
        "SLPI SPRY2 TFPI TMEM158 TSPAN1 TSPAN7 WNT7A"
    ),
    "OXIDATIVE_PHOSPHORYLATION": (
        "ACADM ACAT1 ATP1B1 ATP6V0E1 BDH2 CASP7 CPT1A CYB5A CYB5R3 DECR1 ETFB IDH1 IDH2 MAOB MGST3 NNT NQO2 PDK4 "
        "PHYH POR SLC25A20 SLC25A4 SLC25A6 TCIRG1 UQCRH"
    ),
    "P53_PATHWAY": (
        "ADA AEN AK1 CCNG1 CDKN2B CYFIP2 DCXR DDB2 DGKA FDXR KLK8 MDM2 NOTCH1 PDGFA PERP PHLDA3 RALGDS RRAD "
        "S100A10 SERPINB5 SESN1 SFN SLC19A2 TOB1 ZMAT3"
    ),
    "TNFA_SIGNALING_VIA_NFKB": (
        "BCL2A1 CCL2 CD83 CXCL2 CXCL3 DUSP2 EGR1 ETS2 FOSL1 GCH1 ICAM1 JAG1 JUNB MAP3K8 NFKB1 NFKB2 NFKBIA NR4A1 "
        "NR4A2 RCAN1 RELB SOD2 TNF TNFAIP2 ZC3H12A"
    ),
}

#: Genes of no pathway.
BACKGROUND = (
    "A4GALT ACSF2 ADPRHL1 AIG1 AMOTL1 ANXA6 ARHGAP22 ARL14 ASB9 ATP8A1 BARX1 BIVM BTN3A2 CALML4 CBX2 CCDC88B "
    "CD6 CDX2 CHDH CLDN12 CNNM4 COTL1 CRISPLD1 CTSW CYTL1 DECR2 DLEU2 DOCK11 DSG3 ECE1 ELAVL3 ENTPD2 ERP27 "
    "FAIM FCHO2 FIBIN FOXF1 FUT2 GAS2L3 GGCT GMFG GPR15 GRAMD4 GTF3A HDC HLX HOXD8 IAH1 IKZF3 IQGAP3 ITPRIPL1 "
    "KCNC3 KDR KLHL23 LACTB LHX1 LPAR5 LRRC45 LYZ MAN2A2 MARVELD3 MEOX2 MIR17HG MPP7 MUC13 MYO5A NCAPD3 NEU1 "
    "NLRP1 NPW NUCB1 OLFML1 P2RY8 PAQR8 PCDH18 PDGFRA PHF10 PITPNM2 PLD3 PLP2 PON2 PPP1R1A PRPH PSG1 PTPRN2 "
    "RAB33A RARG RBM20 RENBP RHOQ RND2 RPIA RUFY3 SAMD12 SCPEP1 SEMA6C SFTA2 SH3TC2 SIX5 SLC22A3 SLC39A11 "
    "SLC6A20 SMOC2 SOX11 SPIRE1 ST3GAL2 STMN2 SYCP2 TANC2 TCF12 TIFA TMEM101 TMEM229B TMPRSS4 TNK1 TRAM2 "
    "TRPC1 TTC22 TYSND1 UNC5CL"
)

#: Approved drugs: name, SMILES, PubChem id, targets, pathway of the target.
DRUGS = (
    (
        "5-Fluorouracil",
        "C1=C(C(=O)NC(=O)N1)F",
        "3385",
        "Antimetabolite (DNA & RNA)",
        "Other",
    ),
    (
        "Bortezomib",
        "B([C@H](CC(C)C)NC(=O)[C@H](CC1=CC=CC=C1)NC(=O)C2=NC=CN=C2)(O)O",
        "387447",
        "Proteasome",
        "Protein stability and degradation",
    ),
    (
        "Dabrafenib",
        "CC(C)(C)C1=NC(=C(S1)C2=NC(=NC=C2)N)C3=C(C(=CC=C3)NS(=O)(=O)C4=C(C=CC=C4F)F)F",
        "44462760",
        "BRAF",
        "ERK MAPK signaling",
    ),
    (
        "Dasatinib",
        "CC1=C(C(=CC=C1)Cl)NC(=O)C2=CN=C(S2)NC3=CC(=NC(=N3)C)N4CCN(CC4)CCO",
        "3062316",
        "ABL, SRC, Ephrins, PDGFR, KIT",
        "RTK signaling",
    ),
    (
        "Erlotinib",
        "COCCOC1=C(C=C2C(=C1)C(=NC=N2)NC3=CC=CC(=C3)C#C)OCCOC",
        "176870",
        "EGFR",
        "EGFR signaling",
    ),
    (
        "Gemcitabine",
        "C1=CN(C(=O)N=C1N)[C@H]2C([C@@H]([C@H](O2)CO)O)(F)F",
        "60750",
        "Pyrimidine antimetabolite",
        "DNA replication",
    ),
    (
        "Lapatinib",
        "CS(=O)(=O)CCNCC1=CC=C(O1)C2=CC3=C(C=C2)N=CN=C3NC4=CC(=C(C=C4)OCC5=CC(=CC=C5)F)Cl",
        "208908",
        "EGFR, ERBB2",
        "RTK signaling",
    ),
    (
        "Methotrexate",
        "CN(CC1=CN=C2C(=N1)C(=NC(=N2)N)N)C3=CC=C(C=C3)C(=O)N[C@@H](CCC(=O)O)C(=O)O",
        "126941",
        "Antimetabolite",
        "DNA replication",
    ),
    (
        "Olaparib",
        "C1CC1C(=O)N2CCN(CC2)C(=O)C3=C(C=CC(=C3)CC4=NNC(=O)C5=CC=CC=C54)F",
        "23725625",
        "PARP1, PARP2",
        "Genome integrity",
    ),
    (
        "Paclitaxel",
        "CC1=C2[C@H](C(=O)[C@@]3([C@H](C[C@@H]4[C@]([C@H]3[C@@H]([C@@](C2(C)C)(C[C@@H]1OC(=O)[C@@H]([C@H](C5=CC=CC=C5)NC(=O)C6=CC=CC=C6)O)O)OC(=O)C7=CC=CC=C7)(CO4)OC(=O)C)O)C)OC(=O)C",
        "36314",
        "Microtubule stabiliser",
        "Mitosis",
    ),
    (
        "Ruxolitinib",
        "C1CCC(C1)[C@@H](CC#N)N2C=C(C=N2)C3=C4C=CNC4=NC=N3",
        "25126798",
        "JAK1, JAK2",
        "Other, kinases",
    ),
    (
        "Trametinib",
        "CC1=C2C(=C(N(C1=O)C)NC3=C(C=C(C=C3)I)F)C(=O)N(C(=O)N2C4=CC=CC(=C4)NC(=O)C)C5CC5",
        "11707110",
        "MEK1, MEK2",
        "ERK MAPK signaling",
    ),
    (
        "Afatinib",
        "CN(C)C/C=C/C(=O)NC1=C(C=C2C(=C1)C(=NC=N2)NC3=CC(=C(C=C3)F)Cl)O[C@H]4CCOC4",
        "10184653",
        "ERBB2, EGFR",
        "EGFR signaling",
    ),
    (
        "Doxorubicin",
        "C[C@H]1[C@H]([C@H](C[C@@H](O1)O[C@H]2C[C@@](CC3=C2C(=C4C(=C3O)C(=O)C5=C(C4=O)C(=CC=C5)OC)O)(C(=O)CO)O)N)O",
        "31703",
        "Anthracycline",
        "DNA replication",
    ),
    (
        "Imatinib",
        "CC1=C(C=C(C=C1)NC(=O)C2=CC=C(C=C2)CN3CCN(CC3)C)NC4=NC=CC(=N4)C5=CN=CC=C5",
        "5291",
        "ABL, KIT, PDGFR",
        "Other, kinases",
    ),
    (
        "Palbociclib",
        "CC1=C(C(=O)N(C2=NC(=NC=C12)NC3=NC=C(C=C3)N4CCNCC4)C5CCCC5)C(=O)C",
        "5330286",
        "CDK4, CDK6",
        "Cell cycle",
    ),
    (
        "Sorafenib",
        "CNC(=O)C1=NC=CC(=C1)OC2=CC=C(C=C2)NC(=O)NC3=CC(=C(C=C3)Cl)C(F)(F)F",
        "216239",
        "PDGFR, KIT, VEGFR, RAF",
        "RTK signaling",
    ),
    (
        "Tamoxifen",
        "CC/C(=C(\\C1=CC=CC=C1)/C2=CC=C(C=C2)OCCN(C)C)/C3=CC=CC=C3",
        "2733526",
        "ESR1",
        "Hormone-related",
    ),
    (
        "Venetoclax",
        "CC1(CCC(=C(C1)C2=CC=C(C=C2)Cl)CN3CCN(CC3)C4=CC(=C(C=C4)C(=O)NS(=O)(=O)C5=CC(=C(C=C5)NCC6CCOCC6)[N+](=O)[O-])OC7=CN=C8C(=C7)C=CN8)C",
        "49846579",
        "BCL2",
        "Apoptosis regulation",
    ),
    (
        "Vorinostat",
        "C1=CC=C(C=C1)NC(=O)CCCCCCC(=O)NO",
        "5311",
        "HDAC inhibitor Class I, IIa, IIb, IV",
        "Chromatin histone acetylation",
    ),
)

#: Mean ln IC50 of each drug, in ln(µM).
POTENCY = {
    "5-Fluorouracil": 4.0,
    "Bortezomib": -4.5,
    "Dabrafenib": 2.5,
    "Dasatinib": 1.5,
    "Erlotinib": 2.8,
    "Gemcitabine": -2.0,
    "Lapatinib": 3.0,
    "Methotrexate": 0.5,
    "Olaparib": 4.2,
    "Paclitaxel": -3.0,
    "Ruxolitinib": 4.5,
    "Trametinib": 0.2,
    "Afatinib": 1.2,
    "Doxorubicin": -1.8,
    "Imatinib": 4.1,
    "Palbociclib": 3.2,
    "Sorafenib": 2.6,
    "Tamoxifen": 3.6,
    "Venetoclax": 2.2,
    "Vorinostat": 1.4,
}

#: Change of ln IC50 for one unit of pathway activity: negative, and an active pathway makes cells sensitive.
EFFECTS = {
    "5-Fluorouracil": {"E2F_TARGETS": -0.7},
    "Bortezomib": {"TNFA_SIGNALING_VIA_NFKB": 0.8, "OXIDATIVE_PHOSPHORYLATION": -0.5},
    "Dabrafenib": {"KRAS_SIGNALING_UP": -1.0},
    "Dasatinib": {"EPITHELIAL_MESENCHYMAL_TRANSITION": -1.0},
    "Erlotinib": {"EPITHELIAL_MESENCHYMAL_TRANSITION": 0.9, "KRAS_SIGNALING_UP": 0.6},
    "Gemcitabine": {"E2F_TARGETS": -0.9, "HYPOXIA": 0.5},
    "Lapatinib": {"EPITHELIAL_MESENCHYMAL_TRANSITION": 0.8},
    "Methotrexate": {"OXIDATIVE_PHOSPHORYLATION": 0.8},
    "Olaparib": {"P53_PATHWAY": -0.7, "INTERFERON_ALPHA_RESPONSE": -0.5},
    "Paclitaxel": {"HYPOXIA": 0.9},
    "Ruxolitinib": {"INTERFERON_ALPHA_RESPONSE": -0.9},
    "Trametinib": {"KRAS_SIGNALING_UP": -1.1},
    "Afatinib": {"EPITHELIAL_MESENCHYMAL_TRANSITION": 0.8},
    "Doxorubicin": {"P53_PATHWAY": -0.8},
    "Imatinib": {"TNFA_SIGNALING_VIA_NFKB": -0.6},
    "Palbociclib": {"E2F_TARGETS": -0.8, "P53_PATHWAY": 0.5},
    "Sorafenib": {"HYPOXIA": -0.7},
    "Tamoxifen": {"INTERFERON_ALPHA_RESPONSE": 0.7},
    "Venetoclax": {"OXIDATIVE_PHOSPHORYLATION": -0.9},
    "Vorinostat": {"TNFA_SIGNALING_VIA_NFKB": 0.7},
}
