"""What every network inherits: seeds, validation, the best state, and files."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from scdrug import datasets
from scdrug.model._batches import TableBatches, hold_out
from scdrug.model._card import MethodCard
from scdrug.model._network import NetworkModel
from scdrug.model._plan import Critic, Phase, Stopping, seeded
from scdrug.model._schema import Part, Size
from scdrug.nn import MLP, masked_mse


class MiniState(Part):
    """What a file of `Mini` says beside its arrays."""

    n_genes: Size


class Mini(NetworkModel):
    """The smallest model that the base allows."""

    card = MethodCard("Mini", "An MLP", "this test", unseen_cells=True, unseen_drugs=False, validates=True)
    _max_epochs, _batch_size, _lr = 30, 16, 1e-2
    _state_schema = MiniState

    def __init__(self, adata: ad.AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self._model_summary_string = "Mini"
        self.init_params_ = self._get_init_params(locals())
        self.losses: list[float] = []

    def _make_module(self, task):
        return MLP(task.expression.shape[1], [8], task.response.shape[1], dropout=0.2, norm="batch")

    def _phases(self, task, options):
        def batches(rows, response, generator=None):
            tensors = {
                "x": torch.from_numpy(task.expression[rows] - 6),
                "y": torch.from_numpy(response[rows].astype(np.float32)),
            }
            return TableBatches(tensors, options.batch_size, generator=generator)

        def loss(batch):
            measured = torch.isfinite(batch["y"]).sum()
            return {"loss": masked_mse(self.module(batch["x"]), batch["y"]), "n": measured}

        validation = batches(task.validation_rows, task.validation_response) if task.has_validation else None
        return [
            Phase(
                batches=batches(task.train_rows, task.train_response, options.generator),
                validation=validation,
                loss=loss,
                max_epochs=options.max_epochs,
                lr=options.lr,
                stopping=Stopping(patience=options.patience) if options.early_stopping else None,
            )
        ]

    def _predict_rows(self, expression, drugs, names=None):
        return self._evaluate(self.module, expression.astype(np.float32) - 6)[:, drugs]

    def _state(self):
        return {"n_genes": len(self.genes)}

    def _load_state(self, state):
        self.module = MLP(state["n_genes"], [8], len(self.drugs), dropout=0.2, norm="batch")


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=60)


def make(reference: ad.AnnData, **train: Any) -> Mini:
    adata = reference.copy()
    Mini.setup_anndata(adata)
    model = Mini(adata)
    model.train(**train)
    return model


def values(model: Mini, reference: ad.AnnData) -> np.ndarray:
    return model.predict(reference.copy(), key_added=None).to_numpy()


def weights(model: Mini) -> np.ndarray:
    # not predictions: compiled code may change the number of torch's threads, and with it the last bits
    return np.concatenate([value.numpy().ravel() for value in model.module.state_dict().values()])


def test_the_same_seed_gives_the_same_network_and_another_seed_another(reference: ad.AnnData) -> None:
    first, again, other = (weights(make(reference, max_epochs=3, seed=seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_training_leaves_the_caller_s_random_state_alone(reference: ad.AnnData) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    benchmark = torch.backends.cudnn.benchmark
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make(reference, max_epochs=2)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.backends.cudnn.benchmark == benchmark


def test_the_seed_decides_whatever_was_drawn_before(reference: ad.AnnData) -> None:
    torch.manual_seed(1)
    first = weights(make(reference, max_epochs=2))
    torch.rand(7)
    np.testing.assert_array_equal(first, weights(make(reference, max_epochs=2)))


def test_the_best_epoch_is_kept_and_not_the_last(reference: ad.AnnData) -> None:
    model = make(reference, max_epochs=60, patience=5, lr=0.05)
    losses = model.history["validation_loss"]["validation_loss"]
    assert model.best_epoch_ == int(losses.to_numpy().argmin())
    assert len(losses) == min(model.best_epoch_ + 1 + 5, 60)
    expression, response = model._training_arrays()
    rows = model.validation_indices_
    predicted = model._predict_rows(expression[rows], np.arange(response.shape[1]))
    held_out = torch.from_numpy(response[rows].astype(np.float32))
    assert float(masked_mse(torch.from_numpy(predicted), held_out)) == pytest.approx(losses.min(), rel=1e-5)


def test_without_validation_all_epochs_are_run_on_all_lines(reference: ad.AnnData) -> None:
    model = make(reference, max_epochs=4, early_stopping=False)
    assert list(model.history) == ["train_loss"]
    assert len(model.history["train_loss"]) == 4
    assert len(model.train_indices_) == 60
    assert len(model.validation_indices_) == 0


def test_named_validation_responses_never_reach_the_loss(reference: ad.AnnData) -> None:
    table = pd.DataFrame(False, index=reference.obs_names, columns=reference.obsm["response"].columns)
    table.iloc[:20] = True
    first = make(reference, max_epochs=3, validation=table, early_stopping=False)
    changed = reference.copy()
    changed.obsm["response"].iloc[:20] += 100.0
    second = make(changed, max_epochs=3, validation=table.iloc[:20, ::-1], early_stopping=False)
    np.testing.assert_array_equal(weights(first), weights(second))
    assert set(first.validation_indices_) == set(range(20))
    assert second.history["validation_loss"].iloc[-1, 0] > 1000


def test_phases_follow_each_other_and_frozen_parts_do_not_move(reference: ad.AnnData) -> None:
    class Two(Mini):
        def _phases(self, task, options):
            (phase,) = super()._phases(task, options)
            first = Phase(phase.batches, phase.loss, 2, lr=1e-2, name="pretrain")

            def second() -> Phase:
                self.before = {name: value.clone() for name, value in self.module.state_dict().items()}
                return Phase(phase.batches, phase.loss, 2, trained=[self.module.output], lr=1e-2)

            return [first, second]

    adata = reference.copy()
    Two.setup_anndata(adata)
    model = Two(adata)
    model.train(early_stopping=False)
    assert set(model.history) == {"pretrain_train_loss", "train_loss"}
    after = model.module.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], model.before[name])}
    assert moved == {"output"}, "frozen parts keep weights and running statistics"


def test_a_critic_takes_several_steps_for_one_of_the_network(reference: ad.AnnData) -> None:
    steps = {"critic": 0, "network": 0}

    class Adversarial(Mini):
        def _phases(self, task, options):
            (phase,) = super()._phases(task, options)
            critic = nn.Linear(task.response.shape[1], 1)

            def count(name, loss):
                def counted(batch):
                    steps[name] += 1
                    return loss(batch)

                return counted

            def critic_loss(batch):
                return {"loss": critic(self.module(batch["x"]).detach()).square().mean()}

            against = Critic(critic, count("critic", critic_loss), steps=3)
            return [Phase(phase.batches, count("network", phase.loss), 6, critic=against)]

    adata = reference.copy()
    Adversarial.setup_anndata(adata)
    Adversarial(adata).train(early_stopping=False, batch_size=30)
    assert steps == {"critic": 12, "network": 4}


def test_mixed_precision_trains_weights_of_full_precision(reference: ad.AnnData) -> None:
    full, mixed = (make(reference, max_epochs=3, precision=precision) for precision in ("32-true", "bf16-mixed"))
    assert {value.dtype for value in mixed.module.state_dict().values() if value.is_floating_point()} == {torch.float32}
    ours, theirs = (model.history["train_loss"].to_numpy() for model in (full, mixed))
    assert not np.array_equal(ours, theirs), "products are rounded"
    np.testing.assert_allclose(ours, theirs, rtol=0.05)
    assert values(mixed, reference).dtype == values(full, reference).dtype


def test_a_compiled_loss_trains_the_same_network(reference: ad.AnnData) -> None:
    compiled = make(reference, max_epochs=2, plan_kwargs={"compile": True, "compile_kwargs": {"backend": "eager"}})
    np.testing.assert_array_equal(weights(make(reference, max_epochs=2)), weights(compiled))


def test_what_compiles_the_loss_is_the_caller_s_choice(reference: ad.AnnData) -> None:
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    make(reference, max_epochs=1, plan_kwargs={"compile": True, "compile_kwargs": {"backend": backend}})
    assert seen
    n_graphs = len(seen)
    make(reference, max_epochs=1, plan_kwargs={"compile": False, "compile_kwargs": {"backend": backend}})
    assert len(seen) == n_graphs, "without `compile` nothing is compiled"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that PyTorch finds")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_gpu_trains_nearly_the_same_network(reference: ad.AnnData, precision: str) -> None:
    host, device = (make(reference, max_epochs=3, precision=precision, accelerator=name) for name in ("cpu", "gpu"))
    np.testing.assert_allclose(*(model.history["train_loss"].to_numpy() for model in (host, device)), rtol=0.05)


def test_divergence_is_reported(reference: ad.AnnData) -> None:
    with pytest.raises(RuntimeError, match="diverged in epoch"):
        make(reference, lr=1e30, max_epochs=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 1.5}, "share"),
        ({"validation": True}, "share"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": -1.0}, "lr"),
    ],
)
def test_arguments_out_of_range_are_refused(reference: ad.AnnData, arguments, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(reference, max_epochs=1, **arguments)


def test_a_table_of_validation_responses_must_fit() -> None:
    response = pd.DataFrame([[1.0, np.nan], [2.0, 3.0]], index=["a", "b"], columns=["x", "y"])

    def table(**changes):
        return pd.DataFrame(False, index=["a", "b"], columns=["x", "y"]).assign(**changes)

    np.testing.assert_array_equal(hold_out(response, table(x=[True, False])), [[True, False], [False, False]])
    with pytest.raises(TypeError, match="boolean"):
        hold_out(response, table(x=[1.0, 0.0]))
    with pytest.raises(KeyError, match="'z'"):
        hold_out(response, table(z=[True, False]))
    with pytest.raises(ValueError, match="no measured response"):
        hold_out(response, table(y=[True, False]))
    with pytest.raises(ValueError, match="leaves 1 drugs without"):
        hold_out(response, table(y=[False, True]))


def test_a_draw_takes_whole_lines_or_single_pairs_and_never_a_whole_drug() -> None:
    rng = np.random.default_rng(0)
    response = pd.DataFrame(rng.normal(size=(50, 6))).where(rng.random((50, 6)) > 0.3)
    response[5] = [1.0] + [np.nan] * 49
    lines = hold_out(response, 0.2, seed=1)
    whole = lines | response.isna().to_numpy()
    whole[:, 5] = True
    assert lines.any(axis=1).sum() == 10
    assert whole[lines.any(axis=1)].all()
    pairs = hold_out(response, 0.2, pairs=True, seed=1)
    assert pairs.sum() == pytest.approx(0.2 * response.notna().to_numpy().sum(), abs=2)
    assert 20 < pairs.any(axis=1).sum()
    for marked in (lines, pairs):
        assert not (marked & response.isna().to_numpy()).any()
        assert (response.notna().to_numpy() & ~marked).any(axis=0).all()
    np.testing.assert_array_equal(lines, hold_out(response, 0.2, seed=1))
    assert hold_out(response.iloc[:1], 0.5).sum() == 0


def test_batches_are_of_nearly_equal_size_and_hold_each_row_once() -> None:
    with seeded(0) as generator:
        batches = TableBatches({"row": torch.arange(129)}, 32, generator=generator)
        first, second = ([batch["row"] for batch in batches] for _ in range(2))
    assert [len(rows) for rows in first] == [26, 26, 26, 26, 25] == [len(rows) for rows in second]
    assert len(batches) == 5
    assert torch.equal(torch.cat(first).sort().values, torch.arange(129))
    assert not torch.equal(torch.cat(first), torch.cat(second)), "each epoch has its own order"


def test_networks_are_saved_without_code_and_load_the_same(reference: ad.AnnData, tmp_path) -> None:
    model = make(reference, max_epochs=2)
    model.save(tmp_path / "mini")
    again = Mini.load(tmp_path / "mini")
    np.testing.assert_array_equal(values(model, reference), values(again, reference))
    assert not again.module.training


def test_training_keeps_no_data_alive_and_is_quiet(reference: ad.AnnData, capsys, caplog) -> None:
    from scdrug import settings

    settings.progress, before = False, settings.progress
    try:
        model = make(reference, max_epochs=2)
    finally:
        settings.progress = before
    assert capsys.readouterr().out == ""
    assert not [record for record in caplog.records if record.name.startswith("lightning")]
    assert model.trainer is None
