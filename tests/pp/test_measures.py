from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.pp import build_reference
from scdrug.pp._measures import find_measure, read_direction, to_ln_micromolar


@pytest.fixture(scope="module")
def toy():
    reference = scdrug.datasets.toy()
    return reference.to_df(), reference.obsm["response"]


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_reference(*args, **options)


#: How ln IC50 in µM turns into other measures.
LOWER = {
    ("log10_IC50", None, "log10(µM)"): lambda ln: ln / np.log(10),
    ("IC50", "nM", "nM"): lambda ln: 1000 * np.exp(ln),
    ("IC50 (µM)", None, "µM"): np.exp,
    ("ln(IC50)", "ln(nM)", "ln(nM)"): lambda ln: ln + np.log(1000),
    ("log EC50", "log2(uM)", "log2(µM)"): lambda ln: ln / np.log(2),
    ("auc", None, "fraction"): lambda ln: 1 / (1 + np.exp(-ln)),
    ("Cell viability", "percent", "percent"): lambda ln: 100 / (1 + np.exp(-ln)),
    ("GRmax", "", ""): np.tanh,
}
HIGHER = {
    ("pIC50", "", "-log10(M)"): lambda ln: 6 - ln / np.log(10),
    ("pGI50", None, "-log10(M)"): lambda ln: 6 - ln / np.log(10),
    ("p_EC50", "-log10(M)", "-log10(M)"): lambda ln: 6 - ln / np.log(10),
    ("AAC", None, "fraction"): lambda ln: 1 / (1 + np.exp(ln)),
    ("aac_recomputed", "%", "%"): lambda ln: 100 / (1 + np.exp(ln)),
    ("DSS", None, ""): lambda ln: 50 / (1 + np.exp(ln)),
    ("NCI-60 activity", None, "SD"): lambda ln: -(ln - ln.mean()) / ln.std(),
}


@pytest.mark.parametrize("key", LOWER, ids=str)
def test_measures_that_fall_with_sensitivity_are_stored_as_they_are(toy, key):
    measure, unit, stored = key
    values = LOWER[key](toy[1])
    adata = quietly(toy[0], values, measure=measure, unit=unit)
    assert adata.uns["response"]["direction"] == "lower is more sensitive"
    assert adata.uns["response"]["unit"] == stored
    assert not adata.uns["response"]["negated"]
    np.testing.assert_allclose(adata.obsm["response"], values, rtol=1e-5)


@pytest.mark.parametrize("key", HIGHER, ids=str)
def test_measures_that_grow_with_sensitivity_are_turned_round(toy, key):
    measure, unit, stored = key
    values = HIGHER[key](toy[1])
    adata = quietly(toy[0], values, measure=measure, unit=unit)
    described = adata.uns["response"]
    assert (described["direction"], described["unit"], described["negated"]) == (
        "lower is more sensitive",
        stored,
        True,
    )
    assert described["measure"].startswith("-")
    np.testing.assert_allclose(adata.obsm["response"], -values, rtol=1e-4, atol=1e-6)
    # what is stored is understood when it is read again
    assert find_measure(described["measure"], described["unit"]).lower_is_sensitive


@pytest.mark.parametrize("measure", ["pIC50", "AAC"])
def test_percentiles_do_not_depend_on_the_measure(toy, measure):
    cells = scdrug.datasets.toy_cells()
    forms = {"ln_IC50": lambda ln: ln, **{name: change for (name, _, _), change in HIGHER.items()}}
    found = []
    for name in ("ln_IC50", measure):
        reference = quietly(toy[0], forms[name](toy[1]), measure=name)
        scdrug.model.KernelRidge.setup_anndata(reference)
        model = scdrug.model.KernelRidge(reference)
        model.train()
        predicted = scdrug.tl.predict_response(cells, model, copy=True)
        found.append(predicted.obsm["response_percentile"].to_numpy().ravel())
    assert np.corrcoef(*found)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "pIC50", "direction": "lower is more sensitive"}, "higher is more sensitive"),
        ({"measure": "AAC", "lower_is_sensitive": True}, "higher is more sensitive"),
        ({"measure": "ln_IC50", "direction": "higher"}, "'-ln_IC50'"),
        ({"measure": "AUC", "unit": "µM"}, "not a unit of AUC"),
        ({"measure": "ln_IC50", "unit": "fraction"}, "concentration"),
        ({"measure": "ln_IC50", "unit": "log10(µM)"}, "'log10_IC50'"),
        ({"measure": "IC50", "unit": "ln(µM)"}, "'ln_IC50'"),
        ({"measure": "IC50"}, "many units.*'µM'"),
        ({"measure": "log IC50"}, "to which base"),
        ({"measure": "killing"}, "`direction` must be given"),
        ({"measure": "killing", "direction": "sideways"}, "'sideways'"),
        ({"measure": "killing", "direction": "higher", "lower_is_sensitive": True}, "contradict each other"),
    ],
)
def test_statements_that_contradict_each_other_are_refused(toy, options, message):
    with pytest.raises(ValueError, match=message):
        build_reference(*toy, **options)


@pytest.mark.parametrize(
    ("measure", "unit", "change", "fits"),
    [
        ("ln_IC50", None, lambda ln: 3 * np.exp(ln), "IC50 in µM"),
        ("IC50", "µM", lambda ln: ln, "ln_IC50"),
        ("pIC50", None, lambda ln: ln, "ln_IC50"),
        ("pIC50", None, lambda ln: 1 / (1 + np.exp(ln)), "fraction"),
        ("AUC", None, lambda ln: ln, "ln_IC50"),
        ("AUC", None, lambda ln: 100 / (1 + np.exp(-ln)), "AUC in percent"),
        ("AAC", None, lambda ln: 6 - ln / np.log(10), "pIC50"),
        ("viability", "fraction", lambda ln: 100 / (1 + np.exp(-ln)), "viability in percent"),
        ("viability", "percent", lambda ln: 1 / (1 + np.exp(-ln)), "AUC in fraction"),
        ("DSS", None, lambda ln: 1000 * np.exp(ln), "IC50"),
        ("IC50", "M", np.exp, "IC50 in µM"),
    ],
)
def test_values_that_contradict_the_measure_are_refused(toy, measure, unit, change, fits):
    with pytest.raises(ValueError, match="cannot have.*median.*`measure=` and `unit=`") as error:
        build_reference(toy[0], change(toy[1]), measure=measure, unit=unit)
    assert fits in str(error.value)


def test_values_that_look_like_another_measure_are_warned_of(toy):
    with pytest.warns(UserWarning, match="pIC50 look like this"):
        build_reference(toy[0], 6 - toy[1] / np.log(10))
    with pytest.warns(UserWarning, match="AAC"):
        build_reference(toy[0], 1 / (1 + np.exp(toy[1] + 2)), measure="AUC")


def test_a_measure_of_ones_own_keeps_its_name_and_direction(toy):
    kept = quietly(*toy, measure="killing", unit="points", direction="lower is more sensitive").uns["response"]
    assert (kept["measure"], kept["unit"], kept["negated"]) == ("killing", "points", False)
    turned = quietly(*toy, measure="killing", direction="higher").uns["response"]
    assert (turned["measure"], turned["negated"]) == ("-killing", True)


def test_a_column_called_like_another_measure_is_not_taken_for_this_one(toy):
    long = pd.DataFrame({"cell_line": toy[0].index[:3], "drug": "x", "auc": [0.1, 0.5, 0.9]})
    with pytest.raises(ValueError, match="'auc'.*`measure='AUC'`"):
        build_reference(toy[0], long)
    assert quietly(toy[0], long, measure="AUC").n_obs == 3


def test_directions_are_read_whatever_their_case():
    assert read_direction("Lower is more sensitive", where="x")
    assert not read_direction("higher", where="x")
    for odd in ("low", "sideways", "", None, 1):
        with pytest.raises(ValueError, match="`x` must be"):
            read_direction(odd, where="x")


def train(reference, **changes):
    reference = reference.copy()
    reference.uns["response"] = changes
    scdrug.model.AdditiveMean.setup_anndata(reference)
    return scdrug.model.AdditiveMean(reference).reference


def test_setup_reads_the_direction_from_the_measure():
    reference = scdrug.datasets.toy()
    assert train(reference, measure="ln_IC50").lower_is_sensitive
    negated = reference.copy()
    negated.obsm["response"] = 1 / (1 + np.exp(reference.obsm["response"]))
    assert not train(negated, measure="AAC").lower_is_sensitive
    for changes in ({"measure": "killing"}, {"measure": "ln_IC50", "direction": "sideways"}, {"measure": "AAC"}):
        with pytest.raises(ValueError, match="direction|cannot have"):
            train(reference, **changes)
    with pytest.warns(UserWarning, match="other way round"):
        train(reference, measure="ln_IC50", direction="higher is more sensitive")
    with pytest.warns(UserWarning, match="cannot have"):
        train(reference, measure="AUC", direction="lower is more sensitive")


def test_setup_says_when_nothing_is_stated():
    reference = scdrug.datasets.toy()
    del reference.uns["response"]
    with pytest.warns(UserWarning, match="lower = more sensitive"):
        scdrug.model.AdditiveMean.setup_anndata(reference)


def test_labels_follow_the_direction_of_the_measure():
    reference = scdrug.datasets.toy()
    scdrug.pp.binarize_response(reference)
    turned = reference.copy()
    turned.obsm["response"] = 6 - reference.obsm["response"] / np.log(10)
    turned.uns["response"] = {"measure": "pIC50"}
    scdrug.pp.binarize_response(turned, key_added="turned")
    one, other = reference.obsm["response_binary"], turned.obsm["turned"]
    assert (one.fillna(-1) == other.fillna(-1)).to_numpy().mean() > 0.99


@pytest.mark.parametrize(
    ("measure", "unit", "value"),
    [
        ("ln_IC50", "ln(µM)", np.log(2.0)), ("IC50", "nM", 2000.0), ("log10_EC50", "log10(M)", np.log10(2e-6)), ("pIC50", "-log10(M)", 6 - np.log10(2)),
        ("-pIC50", "-log10(M)", np.log10(2) - 6), ("log2_GI50", "log2(µM)", 1.0), ("IC50", "µM", 2.0),
    ],
)  # fmt: skip
def test_concentrations_of_half_an_effect_become_ln_micromolar(measure: str, unit: str, value: float) -> None:
    assert float(to_ln_micromolar(measure, unit)(value)) == pytest.approx(np.log(2.0))


@pytest.mark.parametrize(
    ("measure", "unit"), [("AUC", "fraction"), ("TGI", "µM"), ("IC90", "µM"), ("mine", ""), ("IC50", "")]
)
def test_measures_without_a_dose_of_half_an_effect_have_no_concentration(measure: str, unit: str) -> None:
    assert to_ln_micromolar(measure, unit) is None
