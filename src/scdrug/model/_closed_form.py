"""Models that are fitted exactly instead of by gradient descent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from ._arrays import Array
from ._base import DrugResponseModel
from ._options import TrainOptions

if TYPE_CHECKING:
    from anndata import AnnData


class ArrayModule(nn.Module):
    """Module of a model that is fitted in closed form: named arrays, no gradients."""

    def set_arrays(self, **arrays: np.ndarray) -> None:
        """Replace the arrays of the module."""
        for name, value in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    def array(self, name: str) -> np.ndarray:
        """Return one array."""
        return self.get_buffer(name).numpy()


class ClosedFormModel(DrugResponseModel):
    """Base of models that are fitted exactly instead of by gradient descent.

    A subclass brings :meth:`_fit`, which returns the arrays that :meth:`_predict_rows` needs.
    """

    _without_effect: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("accelerator", "devices", "precision", "plan_kwargs"), "it is fitted by NumPy on the CPU. Leave it out."
    ) | {
        **dict.fromkeys(("max_epochs", "batch_size", "lr"), "an exact fit takes no steps. Leave it out."),
        **dict.fromkeys(
            ("validation", "early_stopping", "patience"),
            "an exact fit is never stopped. Leave it out, and keep lines for a test out of the reference.",
        ),
        "seed": "nothing is drawn at random. Leave it out.",
        "checkpoint_dir": "an exact fit has no state in between. Leave it out, and save() the model when it is trained.",
    }

    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self.module = ArrayModule()
        self._seed = 0

    @abstractmethod
    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        """Fit to expression (lines × genes) and responses (lines × drugs, NaN = not measured)."""

    def _fit_to(self, options: TrainOptions) -> None:
        expression, response = self._training_arrays()
        self._seed = options.seed
        self.module.set_arrays(**self._fit(expression, response))
        self._finish_training(expression, response)
        self.history_ = {}

    @abstractmethod
    def _wanted_arrays(self) -> dict[str, Array]:
        """Arrays that :meth:`_predict_rows` needs, as they stand in a file."""

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.module.set_arrays(**arrays)
