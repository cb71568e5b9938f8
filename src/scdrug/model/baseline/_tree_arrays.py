"""Decision trees as plain arrays: what every tree model is saved as and predicted with, whatever grew it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._compiled import compiled, over_rows
from .._arrays import Array

#: Rows that are led through the trees together, so that their genes stay in the cache.
_BLOCK = 64
_NAMES = ("feature", "value", "left", "right", "tree_starts", "drug_starts")
#: What :func:`pack_trees` returns, as arrays of a model file; :func:`check_trees` compares their lengths.
TREE_ARRAYS = {name: Array((f"entries of `{name}`",), "float" if name == "value" else "int") for name in _NAMES}


class Tree(NamedTuple):
    """One tree; a row goes left where its feature is at most the threshold."""

    #: Column to look at; -1 for a leaf.
    feature: np.ndarray
    #: Threshold, or what the leaf adds to the prediction.
    value: np.ndarray
    #: Positions of the children.
    left: np.ndarray
    right: np.ndarray


def from_sklearn(tree: Any, leaf_values: np.ndarray) -> Tree:
    """Take over a fitted ``tree_`` of scikit-learn.

    Parameters
    ----------
    tree
        Attribute `tree_` of a decision tree.
    leaf_values
        What each node adds to the prediction if it is a leaf (nodes).

    Notes
    -----
    scikit-learn compares float32 features with float64 thresholds. The largest float32 that is not above the threshold
    decides every comparison in the same way.
    """
    leaf = tree.children_left < 0
    threshold = tree.threshold.astype(np.float32)
    above = threshold > tree.threshold
    threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
    return Tree(
        np.where(leaf, -1, tree.feature).astype(np.int32),
        np.where(leaf, leaf_values, threshold).astype(np.float32),
        tree.children_left.astype(np.int32),
        tree.children_right.astype(np.int32),
    )


def from_xgboost(booster: Any) -> list[Tree]:
    """Take over the trees of a fitted XGBoost booster through its documented JSON form.

    Notes
    -----
    XGBoost sends a row left where its feature is below the threshold, so the next smaller float32 stands for it here.
    """
    model = json.loads(booster.save_raw(raw_format="json"))
    trees = []
    for grown in model["learner"]["gradient_booster"]["model"]["trees"]:
        left = np.asarray(grown["left_children"], dtype=np.int32)
        value = np.asarray(grown["split_conditions"], dtype=np.float32)
        below = np.nextafter(value, np.float32(-np.inf))
        feature = np.where(left < 0, -1, np.asarray(grown["split_indices"], dtype=np.int32))
        trees.append(
            Tree(
                feature.astype(np.int32),
                np.where(left < 0, value, below).astype(np.float32),
                left,
                np.asarray(grown["right_children"], dtype=np.int32),
            )
        )
    return trees


def pack_trees(forests: Sequence[Sequence[Tree]]) -> dict[str, np.ndarray]:
    """Lay the trees of all drugs end to end.

    Parameters
    ----------
    forests
        Trees by drug; a drug may have none.

    Returns
    -------
    ``feature``, ``value``, ``left``, ``right`` (nodes; children are counted from the start of their tree),
    ``tree_starts`` (trees + 1: first node of each tree) and ``drug_starts`` (drugs + 1: first tree of each drug).
    """
    trees = [tree for forest in forests for tree in forest]
    packed = {
        name: np.concatenate([getattr(tree, name) for tree in trees]) if trees else np.empty(0) for name in Tree._fields
    }
    largest = max((len(tree.feature) for tree in trees), default=0)
    for name, top in (("feature", packed["feature"].max(initial=0)), ("left", largest), ("right", largest)):
        packed[name] = packed[name].astype(np.int16 if top <= np.iinfo(np.int16).max else np.int32)
    packed["value"] = packed["value"].astype(np.float32)
    packed["tree_starts"] = np.cumsum([0, *(len(tree.feature) for tree in trees)], dtype=np.int64)
    packed["drug_starts"] = np.cumsum([0, *map(len, forests)], dtype=np.int64)
    return packed


def check_trees(arrays: Mapping[str, np.ndarray], *, n_features: int, n_drugs: int) -> None:
    """Raise unless packed trees, as read from a file, can be walked: compiled code would not notice.

    Raises
    ------
    ValueError
        If an array is missing, lengths disagree, or a node points to a feature or a child that there is not.
    """

    def require(condition: Any, what: str) -> None:
        if not condition:
            raise ValueError(f"The trees of this model are damaged: {what}. Fetch or save the model again.")

    require(all(name in arrays and arrays[name].ndim == 1 for name in _NAMES), f"expected {', '.join(_NAMES)}")
    feature, value, left, right, tree_starts, drug_starts = (arrays[name] for name in _NAMES)
    require(len(feature) == len(value) == len(left) == len(right), "nodes differ in number")
    sizes = np.diff(tree_starts)
    require(len(tree_starts) and tree_starts[0] == 0 and (sizes > 0).all(), "trees overlap")
    require(tree_starts[-1] == len(feature), "nodes are missing")
    require(
        len(drug_starts) == n_drugs + 1 and drug_starts[0] == 0 and (np.diff(drug_starts) >= 0).all(), "drugs overlap"
    )
    require(drug_starts[-1] == len(sizes), "trees are missing")
    require((feature < n_features).all(), "a node asks for a gene that the model does not have")
    inner = feature >= 0
    place = (np.arange(len(feature)) - np.repeat(tree_starts[:-1], sizes))[inner]
    last = np.repeat(sizes, sizes)[inner]
    for child in (left[inner], right[inner]):  # children stand behind their parents, so every walk ends
        require(((child > place) & (child < last)).all(), "a node points outside of its tree")


def sum_leaves(arrays: Mapping[str, np.ndarray], features: np.ndarray, drugs: np.ndarray) -> np.ndarray:
    """Sum over each drug's trees of the leaf that a row falls into.

    Parameters
    ----------
    arrays
        What :func:`pack_trees` returned.
    features
        Rows × features, finite.
    drugs
        Positions of the drugs to predict.

    Returns
    -------
    Rows × drugs, float64; zero for a drug without trees.

    Examples
    --------
    >>> import numpy as np
    >>> stump = Tree(*map(np.array, ([0, -1, -1], [0.5, -1.0, 1.0], [1, -1, -1], [2, -1, -1])))
    >>> sum_leaves(pack_trees([[stump, stump], []]), np.array([[0.0], [1.0]]), np.array([0, 1]))
    array([[-2.,  0.],
           [ 2.,  0.]])
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    out = np.zeros((len(features), len(drugs)))
    parts = np.asarray(drugs, dtype=np.int64), *(np.ascontiguousarray(arrays[name]) for name in _NAMES)
    over_rows(len(features), lambda _, first, last: _walk(first, last, features, *parts, out))
    return out


@compiled
def _walk(
    first_row, last_row, features, drugs, feature, value, left, right, tree_starts, drug_starts, out
):  # pragma: no cover - compiled
    for first in range(first_row, last_row, _BLOCK):
        stop = min(last_row, first + _BLOCK)
        for column in range(len(drugs)):
            drug = drugs[column]
            for tree in range(drug_starts[drug], drug_starts[drug + 1]):
                start = tree_starts[tree]
                for row in range(first, stop):
                    node = start
                    split = feature[node]
                    while split >= 0:
                        node = start + (left[node] if features[row, split] <= value[node] else right[node])
                        split = feature[node]
                    out[row, column] += value[node]
