from __future__ import annotations

import pytest
from anndata import AnnData

from scdrug import datasets


@pytest.fixture(scope="session")
def screen() -> AnnData:
    """A small screen: 60 lines, 12 drugs, some pairs missing. Not to be changed."""
    return datasets.toy(n_lines=60)
