"""Hyper-parameters of PathwayTransfer and the presets that name them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from ..._validate import check_choice

#: Ablations of He et al. 2025 (Table 3), from the plain autoencoder to the full model.
VARIANTS = ("base", "adversarial", "shared", "adversarial_shared", "full")
TARGETS = ("response", "sensitivity")
SCHEDULES = ("joint", "two_phase", "fine_tune")
ALIGNMENTS = ("none", "mmd", "coral", "adversarial")
NORMS = ("batch", "layer", "none")
PRIORS = ("linear",)
LABELS = ("extreme", "median", "waterfall")
_CHOICES = {
    "target": TARGETS, "labels": LABELS, "variant": VARIANTS, "schedule": SCHEDULES, "align": ALIGNMENTS, "norm": NORMS,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """All that decides a network and its training; the defaults are the preset ``"default"``."""

    target: str = "response"
    #: Rule that makes labels of continuous responses, and share of lines on either side.
    labels: str = "extreme"
    fraction: float = 0.3
    variant: str = "full"
    #: What the network stands on: ``"linear"``, a ridge regression on all genes, or nothing; and the regression's ridge.
    prior: str | None = None
    linear_ridge: float = 1.0
    #: Most variable genes that the network reads, in lines and in cells; 0 for all.
    n_top_genes: int = 2000
    #: Standardise each gene by the lines; `None` only where expression holds negative values.
    standardize: bool | None = True
    #: Genes (of those read) that a pathway needs, and whether it needs more than that.
    min_genes: int = 5
    strictly: bool = False
    n_free: int = 5
    #: Size of the code where there are no pathways.
    n_latent: int = 128
    n_hidden: int = 256
    #: ``"batch"``, ``"layer"`` or ``"none"``, in encoders and the dense decoder.
    norm: str = "batch"
    dropout: float = 0.3
    n_head: tuple[int, ...] = (128,)
    w_dense: float = 0.1
    w_sparse: float = 1.0
    w_diff: float = 0.01
    #: Alignment of the shared codes of lines and cells, where there are cells.
    align: str = "mmd"
    w_align: float = 1.0
    #: Relative noise on cells in training.
    noise: float = 0.1
    #: ReLU on the sparse reconstruction.
    relu: bool = False
    schedule: str = "fine_tune"
    weight_decay: float = 1e-2
    #: Largest gradient norm of the head, and of the autoencoder when it is trained alone; 0 for no limit.
    clip_head: float = 1.0
    clip_autoencoder: float = 3.0
    #: What early stopping watches, from which epoch on, and what counts as a decrease.
    monitor: str = "validation_loss"
    warm_up: int = 0
    min_delta: float = 0.0
    max_epochs: int = 60
    batch_size: int = 128
    patience: int = 10
    lr: float = 2e-3

    @property
    def is_adversarial(self) -> bool:
        """Whether a critic is trained against the encoders."""
        return self.variant.startswith("adversarial") or self.align == "adversarial"

    @property
    def is_shared(self) -> bool:
        """Whether both domains go through one encoder."""
        return "shared" in self.variant or self.variant == "full"


#: He et al. 2025 as the paper describes it. What the paper leaves open (epochs, batch, share of lines, noise, norm) is as
#: in the released code.
_HE2025 = Settings(
    target="sensitivity",
    n_top_genes=2500,
    standardize=None,
    min_genes=10,
    strictly=True,
    n_hidden=512,
    dropout=0.4,
    n_head=(128, 32),
    w_dense=1.0,
    w_sparse=0.1,
    w_diff=0.1,
    align="none",
    relu=True,
    schedule="two_phase",
    weight_decay=0.0,
    min_delta=1e-4,
    warm_up=20,
    max_epochs=300,
    batch_size=256,
    patience=5,
    lr=1e-3,
)

PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "he2025": _HE2025,
    # The released script: no pre-training, reconstruction weights swapped, stops on the training loss. The classifier
    # has weight 1 and the autoencoder 0.1 in all.
    "he2025_released": replace(
        _HE2025,
        n_top_genes=3500,
        min_genes=4,
        w_dense=0.01,
        w_sparse=0.1,
        w_diff=0.01,
        relu=False,
        schedule="joint",
        monitor="train_loss",
        warm_up=100,
    ),
}

#: Genes read, and genes that a pathway has to exceed, which the paper found best by drug; of other drugs it says nothing.
_HE2025_BY_DRUG: dict[str, dict[str, int]] = {
    "cisplatin": {"min_genes": 10},
    "paclitaxel": {"min_genes": 10, "n_top_genes": 3000},
    "plx-4720": {"min_genes": 2},
    "lapatinib": {"min_genes": 4},
}


def resolve_settings(preset: str, given: dict[str, Any], *, drug: str | None = None) -> Settings:
    """Fill in a preset where an argument was not given.

    Parameters
    ----------
    preset
        Name of the preset.
    given
        Arguments by name; `None` means not given.
    drug
        Name of the drug, if there is one alone: the paper's preset has values of its own for four.

    Returns
    -------
    The settings.

    Raises
    ------
    ValueError
        If a choice is unknown, or a value contradicts another.
    """
    check_choice("preset", preset, tuple(PRESETS))
    known = {field.name for field in fields(Settings)}
    chosen = {name: value for name, value in given.items() if value is not None and name in known}
    if "n_head" in chosen:
        chosen["n_head"] = tuple(int(width) for width in chosen["n_head"])
    if chosen.get("variant") in ("base", "adversarial", "adversarial_shared"):
        chosen.setdefault("align", "none")
    of_drug = _HE2025_BY_DRUG.get((drug or "").lower(), {}) if preset == "he2025" else {}
    settings = replace(PRESETS[preset], **(of_drug | chosen))
    for name, choices in _CHOICES.items():
        check_choice(name, getattr(settings, name), choices)
    if settings.prior is not None:
        check_choice("prior", settings.prior, PRIORS)
        if settings.target == "sensitivity":
            raise ValueError(
                "`prior='linear'` predicts responses, not labels. Leave it out for `target='sensitivity'`."
            )
        if not settings.linear_ridge > 0:
            raise ValueError(f"`prior='linear'` needs a `linear_ridge` above 0; found {settings.linear_ridge}.")
    if settings.align != "none" and not settings.is_shared:
        raise ValueError(
            f"`align={settings.align!r}` brings the codes of one shared encoder together; `variant={settings.variant!r}` has "
            "none. Choose 'shared' or 'full'."
        )
    return settings
