"""The network of CSG2A: published shapes, exact short cuts, frozen and trained cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scdrug.model.csg2a._module import CSG2ANetwork, Scaling
from scdrug.model.csg2a._panel import choose_panel, prior_edges, robust_scale
from scdrug.model.csg2a._settings import PRESETS, Settings, settings_of
from scdrug.model.csg2a._structures import Structures
from scdrug.model.csg2a._training import (
    Blueprint,
    GridBatches,
    PairLoss,
    frozen_parts,
    schedule_of,
    table_batches,
)

SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN"]


def small(**changes) -> Settings:
    return settings_of("default", {"encoder": "morgan", "n_branch": 6, "head": [5, 4], "dropout": 0.0, **changes})


def network(settings: Settings, n_genes: int = 9, n_features: int = 2048) -> CSG2ANetwork:
    torch.manual_seed(0)
    return CSG2ANetwork(settings, n_genes, 4, n_features=n_features, edges=torch.tensor([[0], [1]])).eval()


def test_the_presets_have_the_sizes_of_the_paper() -> None:
    paper, released = PRESETS["csg2a"], PRESETS["csg2a_released"]
    assert (paper.propagation, released.propagation) == ("matmul", "rowsum")
    assert (released.freeze, released.scaling) == ("released", "released")
    settings = settings_of("csg2a", {"encoder": "morgan"})
    net = CSG2ANetwork(settings, 978, 1, n_features=1024)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    g = 978
    assert count["core"] == (1028 * g + 4 + 4 + 2 * g) + 2 * g * 64 + (2 * g + g * g)
    branches = 3 * (g * 512 + 512 + 2 * 512)
    assert count["head"] == branches + (1536 * 512 + 512 + 1024) + (512 * 64 + 64 + 128) + 65
    assert count["scaling"] == 2


@pytest.mark.parametrize("propagation", ["matmul", "rowsum", "none"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_blocks_of_lines_and_drugs_give_what_single_pairs_give(propagation: str, norm: str) -> None:
    net = network(small(propagation=propagation, norm=norm))
    basal, condition = torch.randn(70, 9), torch.rand(40, 9)
    with torch.no_grad():
        grid = net.grid(basal, condition)
        for line, drug in ((0, 0), (69, 39), (3, 33)):
            zero = torch.zeros(1, dtype=torch.int64)
            perturbed = net.core(net.scaling(basal[line : line + 1]), condition[drug : drug + 1])
            alone = net(basal[line : line + 1], condition[drug : drug + 1], zero, zero, perturbed)
            torch.testing.assert_close(grid[line, drug], alone[0], rtol=1e-4, atol=1e-5)


def test_what_a_frozen_core_computes_once_is_what_it_would_compute_each_time() -> None:
    settings = small()
    net = network(settings)
    structures = Structures.read(SMILES, "morgan")
    basal = torch.randn(5, 9)
    batch = {"line": torch.tensor([0, 4, 4]), "drug": torch.tensor([1, 1, 3]), "y": torch.tensor([1.0, 2.0, 3.0])}
    kept = PairLoss(net, basal, structures, settings, frozen=True)
    fresh = PairLoss(net, basal, structures, settings, frozen=False)
    assert kept.perturbed is not None
    net.eval()
    assert kept(batch)["loss"].item() == pytest.approx(fresh(batch)["loss"].item(), rel=2e-3)


def test_a_frozen_core_stays_and_one_frozen_as_released_keeps_only_its_weights() -> None:
    structures, basal = Structures.read(SMILES, "morgan"), torch.randn(8, 9)
    line, drug = torch.arange(8), torch.arange(8) % 4
    batch = {"line": line, "drug": drug, "y": torch.randn(8)}
    moved = {}
    for freeze in ("frozen", "released", "none"):
        settings = small(norm="batch", scaling="scalar", freeze=freeze)
        net = network(settings)
        before = {name: value.clone() for name, value in net.core.state_dict().items()}
        trained, frozen = frozen_parts(net, freeze)
        loss = PairLoss(net, basal, structures, settings, frozen=frozen)
        net.eval() if trained else net.train()
        for part in trained or []:
            part.train()
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.1)
        loss(batch)["loss"].backward()
        optimizer.step()
        moved[freeze] = {name for name, value in net.core.state_dict().items() if not torch.equal(value, before[name])}
        assert float(net.scaling.shift.detach()) != 0, "the scaling layer is trained in each case"
    assert moved["frozen"] == set()
    assert all("running" in name or "num_batches" in name for name in moved["released"])
    assert moved["released"]
    assert "attention.basal_weight" in moved["none"]


def test_an_epoch_of_blocks_has_each_measured_pair_once() -> None:
    response = torch.arange(30.0).view(6, 5)
    response[0, 0] = response[2] = float("nan")
    batches = GridBatches(response, 6, generator=torch.Generator().manual_seed(0), n_drugs=2)
    seen = torch.cat([batch["y"] for batch in batches]).sort().values
    assert torch.equal(seen, response[torch.isfinite(response)].sort().values)
    for batch in batches:
        assert torch.equal(batch["y"], response[batch["line"], batch["drug"]])
    assert len(table_batches(response, 100)) == 1


def test_scaling_starts_as_the_identity_unless_as_released() -> None:
    x = torch.randn(3, 4)
    for kind in ("fixed", "scalar", "per_gene"):
        assert torch.equal(Scaling(kind, 4)(x), x)
    assert not list(Scaling("fixed", 4).parameters())
    assert Scaling("per_gene", 4).scale.shape == (4,)
    assert not torch.equal(Scaling("released", 4)(x), x)


def test_the_schedule_falls_along_a_cosine_and_then_stays() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = schedule_of(PRESETS["csg2a"], 1e-4)(optimizer)
    rates = []
    for _ in range(25):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(1e-4)
    assert rates[10] == pytest.approx(0.55e-4)
    assert rates[20] == rates[24] == pytest.approx(1e-5)


def test_drugs_without_structure_get_the_condition_of_no_structure() -> None:
    settings = small()
    structures = Structures.read(["CCO", None, "not a molecule"], "morgan")
    assert structures.known.tolist() == [True, False, False]
    conditions = network(settings).conditions(structures)
    assert torch.equal(conditions[1], conditions[2])
    assert not torch.equal(conditions[0], conditions[1])


@pytest.mark.parametrize("encoder", ["mat", "graph"])
def test_encoders_read_molecules_whatever_stands_beside_them_in_a_batch(encoder: str) -> None:
    settings = small(encoder=encoder, encoder_width=8, encoder_layers=1, encoder_heads=2)
    net = network(settings, n_features=0)
    together = net.conditions(Structures.read([*SMILES, "CC(C)Cc1ccc(cc1)C(C)C(=O)O"], encoder))
    alone = net.conditions(Structures.read(["OCC"], encoder))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_panels_hold_landmarks_first_and_refuse_what_the_reference_lacks() -> None:
    rng = np.random.default_rng(0)
    genes = ["EGFR", "TP53", "FLAT", "WILD", "ABL1", "ACD"]
    expression = rng.normal(size=(20, 6)) * [1, 1, 0, 9, 1, 1]
    rows = np.arange(20)
    panel = choose_panel(genes, expression, rows, wanted="auto", n_genes=5)
    assert set(panel.genes) >= {"EGFR", "TP53", "ABL1", "ACD", "WILD"} - {"WILD"}
    assert "FLAT" not in panel.genes
    with pytest.raises(ValueError, match="only 4 of the 978 genes"):
        choose_panel(genes, expression, rows, wanted="landmarks", n_genes=5)
    with pytest.raises(ValueError, match="names genes twice"):
        choose_panel(genes, expression, rows, wanted=["EGFR", "EGFR"], n_genes=5)
    with pytest.raises(ValueError, match="`genes` must be one of"):
        choose_panel(genes, expression, rows, wanted="landmark", n_genes=5)


def test_a_network_reads_robust_z_scores_of_its_panel_within_limits() -> None:
    genes = ["EGFR", "TP53", "WILD"]
    expression = np.random.default_rng(0).normal(size=(20, 3)) * [1, 1, 9]
    blueprint = Blueprint(small(clip=2.0), ["WILD", "NOGENE"], 5, "none")
    net = blueprint.network(blueprint.panel(genes, expression, np.arange(20)), 4, 2048)
    z = net.basal(torch.from_numpy(expression))
    assert net.panel == ["WILD", "NOGENE"]
    assert abs(float(z[:, 0].median())) < 0.2
    assert float(z.abs().max()) <= 2
    assert not z[:, 1].any(), "the reference lacks this gene"
    unlimited = replace(blueprint, settings=small(clip=0.0)).network(
        blueprint.panel(genes, expression, np.arange(20)), 4, 2048
    )
    assert float(unlimited.basal(torch.from_numpy(10 * expression)).abs().max()) > 2


def test_robust_scale_ignores_an_outlier_and_survives_constants() -> None:
    values = np.array([[1.0, 5.0, 0.0], [2.0, 5.0, 0.0], [3.0, 5.0, 0.0], [1000.0, 5.0, 8.0]])
    center, scale = robust_scale(values)
    np.testing.assert_allclose(center, [2.5, 5.0, 0.0])
    assert scale[0] == pytest.approx(1.4826)
    assert scale[1] == 1
    assert scale[2] == pytest.approx(values[:, 2].std())


def test_prior_networks_come_from_tables_files_or_nowhere(tmp_path) -> None:
    import pandas as pd

    table = pd.DataFrame({"source": ["EGFR", "KRAS"], "target": ["KRAS", "TP53"]})
    table.to_csv(tmp_path / "edges.csv", index=False)
    genes = ["TP53", "KRAS", "EGFR"]
    assert prior_edges("none", genes) is None
    np.testing.assert_array_equal(prior_edges(table, genes), [[0, 1], [1, 2]])
    np.testing.assert_array_equal(prior_edges(str(tmp_path / "edges.csv"), genes), [[0, 1], [1, 2]])
    with pytest.raises(FileNotFoundError):
        prior_edges("nowhere.csv", genes)
    with pytest.raises(ValueError, match="Did you mean 'string'"):
        prior_edges("strings", genes)
    with pytest.raises(ValueError, match="No gene of the panel"):
        prior_edges(table, ["NOGENE"])


def test_settings_that_do_not_exist_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="Did you mean 'dropout'"):
        settings_of("default", {"dropuot": 0.1})
    with pytest.raises(ValueError, match="drug_features"):
        settings_of("default", {"encoder": "ecfp"})
    for wrong in (
        {"dropout": 1.0},
        {"dose": -1.0},
        {"n_hidden": 0},
        {"freeze": "half"},
        {"kernel_path": True},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            settings_of("default", wrong)
    with pytest.raises(ValueError, match="preset"):
        settings_of("csg2b", {})
