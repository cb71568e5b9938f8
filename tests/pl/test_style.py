"""Letters and lines follow the style of Matplotlib that is in force."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import scdrug
from scdrug.pl._style import shade


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def brightness(color) -> float:
    return float(np.mean(to_rgb(color)))


@pytest.mark.parametrize(("style", "page"), [("default", 1.0), ("dark_background", 0.0)])
def test_everything_written_stands_out_from_the_page(style: str, page: float) -> None:
    scores = pd.DataFrame(
        {
            "split": "line",
            "model": ["ridge", "mean"] * 2,
            "repeat": 1,
            "fold": [1, 1, 2, 2],
            "metric": "per_drug_pearson",
            "value": [0.5, 0.0, 0.6, 0.1],
        }
    )
    with plt.style.context(style):
        ax = scdrug.pl.benchmark_scores(scores, baselines=["mean"])
        written = [*ax.get_yticklabels(), *ax.get_xticklabels(), *ax.texts, ax.xaxis.label]
        assert len(written) > 6
        assert all(abs(brightness(text.get_color()) - page) > 0.4 for text in written)
        assert brightness(shade(0.0)) == page
        assert brightness(shade(1.0)) == 1 - page
