"""The one large product of a block of rows, in NumPy or on the device that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np


class Product:
    """Rows times weights plus an offset.

    Parameters
    ----------
    weights
        Inputs × outputs.
    offset
        Outputs.
    accelerator
        ``"cpu"``: by NumPy, without PyTorch. ``"gpu"``, ``"cuda"`` or ``"mps"``: by PyTorch on that device, and ``"auto"`` on the first that
        it finds, else by NumPy.
    """

    def __init__(self, weights: np.ndarray, offset: np.ndarray, *, accelerator: str = "cpu") -> None:
        self._weights = np.ascontiguousarray(weights, dtype=np.float32)
        self._offset = offset.astype(np.float32)
        self._device = find_device(accelerator)
        if self._device is not None:
            import torch

            self._on_device = [torch.from_numpy(part).to(self._device) for part in (self._offset, self._weights)]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return rows × outputs."""
        if self._device is None:
            out = rows @ self._weights
            out += self._offset
            return out
        import torch

        offset, weights = self._on_device
        return torch.addmm(offset, torch.from_numpy(rows).to(self._device), weights).cpu().numpy()


def find_device(accelerator: str) -> Any:
    """Device of PyTorch by the name of an accelerator, see :class:`Product`; `None` for the CPU."""
    if accelerator == "cpu":
        return None
    import torch

    for kind, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if there and accelerator in ("auto", "gpu", kind):
            return torch.device(kind)
    return None
