"""Settings of DeepCDR by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ..._validate import check_choice
from ...nn._molecule_graph import POOLS
from .._options import preset_settings
from ._drugs import DRUG_FEATURES

HEADS = ("plain", "conv")
ENCODERS = ("gcn", "gin", "gat")
TARGETS = ("response", "sensitivity")


@dataclass(frozen=True)
class Settings:
    """What a preset fixes and a keyword replaces."""

    drug_features: str = "rich"
    drug_encoder: str = "gin"
    drug_layers: tuple[int, ...] = (64, 64, 64)
    drug_pool: str = "max"
    #: Widths of a cell branch; empty for the published one.
    cell_layers: tuple[int, ...] = (256, 64)
    head: str = "plain"
    dropout: float = 0.2
    # not to be set one by one
    drug_norm: str = "batch"
    #: Whether features of cells are standardised, and responses, by one mean and deviation over all drugs.
    standardise: bool = True
    scale_response: bool = True
    max_epochs: int = 40
    batch_size: int = 4096
    lr: float = 3e-4
    patience: int = 5
    weight_decay: float = 0.05

    def with_values(self, **given: object) -> Settings:
        """The same with what was given, that is, is not `None`.

        Raises
        ------
        ValueError
            If a choice is unknown, or two settings exclude each other.
        """
        changed = {name: value for name, value in given.items() if value is not None}
        for name in ("drug_layers", "cell_layers"):
            if name in changed:
                changed[name] = _widths(name, changed[name])
        result = replace(self, **changed)  # type: ignore[arg-type]
        check_choice("drug_features", result.drug_features, DRUG_FEATURES)
        check_choice("drug_encoder", result.drug_encoder, ENCODERS)
        check_choice("drug_pool", result.drug_pool, POOLS)
        check_choice("head", result.head, HEADS)
        if result.drug_pool == "mean_padded" and result.drug_features != "deepcdr":
            raise ValueError(
                "`drug_pool='mean_padded'` averages over atoms that only fill up to 100, as the released code does; it "
                "needs `drug_features='deepcdr'`."
            )
        return result


def _widths(name: str, value: object) -> tuple[int, ...]:
    widths = tuple(value) if isinstance(value, list | tuple) else ()
    ok = all(isinstance(width, int) and not isinstance(width, bool) and width > 0 for width in widths)
    if not ok or (not widths and not isinstance(value, list | tuple)) or (not widths and name == "drug_layers"):
        raise ValueError(f"`{name}` must list the widths of layers, such as (64, 64); found {value!r}.")
    return widths


_PUBLISHED = Settings(
    drug_features="deepcdr",
    drug_encoder="gcn",
    drug_layers=(256, 256, 256, 100),
    cell_layers=(),
    head="conv",
    dropout=0.1,
    drug_norm="keras",
    standardise=False,
    scale_response=False,
    max_epochs=500,
    batch_size=64,
    patience=10,
    weight_decay=0.0,
)

#: Settings by name. ``"default"``: the network with its defects mended: richer atoms and bonds in layers that tell isomers apart,
#: standardised features and responses, weight decay, and sizes that train in minutes. ``"rossner2025"``: as the paper describes; ``"deepcdr_released"``: average over 100 atoms, filling
#: included, as the code of DeepCDR and scFoundation does.
PRESETS = {
    "default": Settings(),
    "rossner2025": _PUBLISHED,
    "deepcdr_released": replace(_PUBLISHED, drug_pool="mean_padded"),
}

#: Settings of a preset with what was given instead, see :func:`preset_settings`.
settings_of = partial(preset_settings, PRESETS)


def check_target(target: str, prior: str | None, settings: Settings, pretrained_drugs: str | None) -> None:
    """Raise if a target is unknown, or what it stands on and the pretrained weights do not fit it.

    Raises
    ------
    ValueError
        Saying what to do instead.
    """
    check_choice("target", target, TARGETS)
    if target == "sensitivity" and prior is not None:
        raise ValueError(
            f"`prior={prior!r}` models continuous responses with normal errors, which labels do not have. Omit it for "
            "`target='sensitivity'`, or train on the responses themselves."
        )
    if pretrained_drugs is not None and settings.drug_features != "contextpred":
        raise ValueError(
            "`pretrained_drugs` needs a model with drug_features='contextpred'; this one has "
            f"{settings.drug_features!r}."
        )
