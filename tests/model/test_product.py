"""Where the product is computed changes nothing but the last digits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import scdrug
from scdrug.model._product import Product, find_device


@pytest.fixture
def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((40, 30), (30, 7), (7,)))


def _gpu() -> str:
    import torch

    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        pytest.skip("PyTorch finds no GPU on this machine")
    return "gpu"


@pytest.mark.parametrize("accelerator", ["cpu", "auto", "gpu"])
def test_product_is_that_of_double_precision(accelerator: str, parts) -> None:
    rows, weights, offset = parts
    found = Product(weights, offset, accelerator=_gpu() if accelerator == "gpu" else accelerator)(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, rows.astype(float) @ weights + offset, atol=1e-4)


def test_the_device_of_pytorch_takes_the_same_product(parts, monkeypatch) -> None:
    """Its path, on the CPU where there is no GPU."""
    import torch

    rows, weights, offset = parts
    monkeypatch.setattr("scdrug.model._product.find_device", lambda _: torch.device("cpu"))
    np.testing.assert_allclose(Product(weights, offset, accelerator="gpu")(rows), rows @ weights + offset, atol=1e-4)


def test_auto_takes_the_gpu_that_is_there(monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert str(find_device("auto")) == str(find_device("gpu")) == "cuda"
    assert find_device("cpu") is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") is None


@pytest.mark.parametrize("accelerator", ["auto", "gpu"])
def test_cells_are_predicted_alike(accelerator: str) -> None:
    accelerator = _gpu() if accelerator == "gpu" else accelerator
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    cells = scdrug.datasets.toy_cells(n_cells=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.predict_response(cells, model)
        scdrug.tl.predict_response(cells, model, accelerator=accelerator, key_added="there")
    np.testing.assert_allclose(cells.obsm["there"], cells.obsm["predicted_response"], atol=1e-4)


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_done() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    cells = scdrug.datasets.toy_cells(n_cells=60)
    with pytest.raises(ValueError, match="`accelerator` asks for 'cuda', but PyTorch finds"):
        scdrug.tl.predict_response(cells, accelerator="cuda")
    assert "predicted_response" not in cells.obsm
