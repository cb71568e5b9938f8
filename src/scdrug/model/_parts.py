"""What every model folder holds of its reference and arrays, read and checked without the class of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..pp._profile import ReferenceProfile
from ._arrays import Array, check_header, check_values, under_prefix, with_prefix
from ._data import CALIBRATION_ARRAYS, PROFILE_ARRAYS, Calibration, ReferenceInfo, check_tables
from ._storage import Weights

_MODULE = "module."


class Parts(NamedTuple):
    """Arrays of a model folder, by what they are for."""

    profile: ReferenceProfile
    calibration: Calibration
    #: What the module of the model takes, by name.
    module: dict[str, np.ndarray]


def read_parts(
    weights: Weights,
    config: Mapping[str, Any],
    reference: ReferenceInfo,
    wanted: Mapping[str, Array],
    sizes: Mapping[str, int],
) -> Parts:
    """Read the arrays of a model folder; what its file looks like is checked before, and numbers after.

    Parameters
    ----------
    weights
        The file.
    config
        What ``model.json`` holds.
    reference
        Genes and drugs, read from `config`.
    wanted
        Arrays that the module takes, by name.
    sizes
        Sizes that these share, by name, beside the numbers of genes and drugs.

    Raises
    ------
    ValueError
        Naming file and array.
    """
    everything = with_prefix(_MODULE, wanted) | PROFILE_ARRAYS | CALIBRATION_ARRAYS
    known = {**sizes, "genes": len(reference.genes), "drugs": len(reference.drugs)}
    check_header(weights.path, weights.header, everything, known)
    arrays = weights.read()
    check_values(weights.path, arrays, everything)
    tables = under_prefix("calibration.", arrays)
    if weights.header["calibration.quantiles"].scaled:  # as 0.1 did: rows with a scale each need not rise any more
        tables["quantiles"] = np.sort(tables["quantiles"], axis=0)
    profile = ReferenceProfile.from_arrays(under_prefix("profile.", arrays), reference.genes)
    calibration = Calibration(**tables, **config["calibration"])  # type: ignore[arg-type]
    check_tables(weights.path, profile, calibration)
    return Parts(profile, calibration, under_prefix(_MODULE, arrays))
