"""Chemical conditions: doses and times scaled, concatenated, projected."""

from __future__ import annotations

import torch

from scdrug.nn import ConditionEncoder


def test_a_condition_is_the_published_chain_of_layers() -> None:
    torch.manual_seed(0)
    encoder = ConditionEncoder(3, 5).eval()
    structure, dose, time = (
        torch.randn(4, 3),
        torch.tensor([0.0, 1.0, 10.0, 100.0]),
        torch.tensor([6.0, 24.0, 24.0, 72.0]),
    )
    joined = torch.cat([structure, encoder.dose(dose[:, None] / 100), encoder.time(time[:, None] / 72)], dim=1)
    linear, norm = encoder.project[0], encoder.project[1]
    expected = torch.relu((joined @ linear.weight.T - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps))
    torch.testing.assert_close(encoder(structure, dose, time), expected)
    assert linear.bias is None
    assert (encoder(structure, dose, time) >= 0).all()
