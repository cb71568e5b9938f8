"""Models that are fitted exactly instead of by gradient descent."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._arguments import checked
from ._arrays import Array
from ._base import BaseModuleClass, DrugResponseModel

if TYPE_CHECKING:
    from anndata import AnnData


class ArrayModule(BaseModuleClass):
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

    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self.module = ArrayModule()

    @abstractmethod
    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        """Fit to expression (lines × genes) and responses (lines × drugs, NaN = not measured)."""

    @checked
    def train(self, max_epochs: int | None = None) -> None:
        """Fit the model in closed form.

        Parameters
        ----------
        max_epochs
            Accepted so that all models are called alike; an exact fit has no epochs. Batches, validation responses or an
            accelerator it has none either, and their arguments are refused.
        """
        expression, response = self._training_arrays()
        self.module.set_arrays(**self._fit(expression, response))
        self._finish_training(expression, response)
        self.history_ = {}

    @abstractmethod
    def _wanted_arrays(self) -> dict[str, Array]:
        """Arrays that :meth:`_predict_rows` needs, as they stand in a file."""

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.module.set_arrays(**arrays)
