"""Find models: bundled ones by name, saved ones by path, all classes in one table."""

from __future__ import annotations

import importlib
import importlib.resources
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._validate import nearest
from ._registry import CLASSES, load_class
from ._storage import CONFIG, read_config
from .baseline._linear import LinearModel, is_linear

if TYPE_CHECKING:
    from ._base import DrugResponseModel

#: What ``model="default"`` means.
DEFAULT_MODEL = "gdsc-ridge"


def zoo_directory() -> Path:
    """Folder of the bundled models."""
    return Path(str(importlib.resources.files("scdrug"))) / "zoo"


def bundled_models() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.parent.name for path in zoo_directory().glob(f"*/{CONFIG}"))


def controls_file(name: str) -> Path:
    """Where the controls of a bundled model stand, as observed beside chance, if they do."""
    return zoo_directory() / name / "controls.csv"


def bundled_controls(name: str) -> pd.DataFrame | None:
    """Read the controls of a bundled model, see `scdrug.benchmark.check_default`; `None` where there are none."""
    if name not in bundled_models() or not controls_file(name).is_file():
        return None
    return pd.read_csv(controls_file(name))


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a bundled or saved model.

    Raises
    ------
    ValueError
        If there is neither a bundled model of that name nor a folder; the nearest names are offered.
    """
    if str(name_or_path) == "default":
        name_or_path = DEFAULT_MODEL
    bundled = bundled_models()
    if str(name_or_path) in bundled:
        return zoo_directory() / str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    near = nearest(str(name_or_path), bundled, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"No model {str(name_or_path)!r}: it is neither bundled ({', '.join(bundled) or 'none'}) nor a folder on disk."
        f"{hint} Pass a bundled name, or the folder that `model.save` wrote."
    )


@checked
def load_pretrained(name_or_path: str | os.PathLike[str] = "default") -> DrugResponseModel:
    """Load a bundled model by name, or a saved one by path.

    Parameters
    ----------
    name_or_path
        Name of a bundled model (see :func:`list_models`), ``"default"``, or a folder that `model.save` wrote.

    Returns
    -------
    The trained model, ready to predict.

    Raises
    ------
    ValueError
        If there is no such model, or its files are damaged.

    Examples
    --------
    >>> import scdrug
    >>> model = scdrug.model.load_pretrained("gdsc-ridge")
    >>> model.drugs.loc["gefitinib", "targets"]
    'EGFR'
    """
    path = find_model(name_or_path)
    name = read_config(path)["class"]
    if name not in CLASSES:
        raise ValueError(
            f"{path} holds a model of class {name!r}, which this version of scdrug does not have. "
            f"Known classes: {', '.join(CLASSES)}."
        )
    return load_class(name).load(path)


def load_predictor(name_or_path: str | os.PathLike[str]) -> DrugResponseModel | LinearModel:
    """Load what predicts: of a linear model its arrays, which takes neither torch nor scvi-tools; any other model as it is.

    Parameters
    ----------
    name_or_path
        As :func:`load_pretrained` takes it.

    Raises
    ------
    ValueError
        As :func:`load_pretrained`.
    """
    path = find_model(name_or_path)
    config = read_config(path)
    return LinearModel.load(path, config) if is_linear(config) else load_pretrained(path)


def list_models() -> pd.DataFrame:
    """Tabulate model classes and bundled models.

    Returns
    -------
    One row a class or bundled model: `kind` (``"class"`` or ``"pretrained"``), `unseen_cells`, `unseen_drugs`,
    `completes`, `summary`, `source`.

    Examples
    --------
    >>> import scdrug
    >>> bool(scdrug.model.list_models().loc["KernelRidge", "unseen_cells"])
    True
    """
    rows = []
    for name in CLASSES:
        card = load_class(name).card
        rows.append((name, "class", card.unseen_cells, card.unseen_drugs, card.completes, card.summary, card.source))
    for name in bundled_models():
        config = read_config(zoo_directory() / name)
        card = load_class(config["class"]).card
        summary = config["notes"].get("summary", card.summary)
        rows.append(
            (name, "pretrained", card.unseen_cells, bool(config["unseen_drugs"]), card.completes, summary, card.source)
        )
    columns = ["name", "kind", "unseen_cells", "unseen_drugs", "completes", "summary", "source"]
    return pd.DataFrame(rows, columns=columns).set_index("name")
