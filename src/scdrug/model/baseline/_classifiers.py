"""The classifiers of one drug: which there are, how they are fitted, and what of them is kept."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy.special import expit, logit

from ..._validate import check_choice, import_optional, nearest
from ..prior._kernels import GeneScaler, fit_gene_scaler
from ._class_labels import ClassLabels
from ._tree_arrays import Tree, from_sklearn, from_xgboost

LINEAR = ("logistic", "svm")
TREES = ("tree", "forest", "boosting", "xgboost")
CONSTANT = ("sensitive", "drug_rate")
METHODS = (*LINEAR, *TREES, *CONSTANT)
#: Penalties that did best on lines held out of GDSC2, for features scaled by the root of their number.
DEFAULT_C = {"logistic": 3.0, "svm": 1.0}
#: Genes that trees choose from, those of largest variance: more cost time and did not help on held-out lines.
DEFAULT_TREE_GENES = 1000

_GROWTH = (
    "ccp_alpha", "criterion", "max_depth", "max_features", "max_leaf_nodes", "min_impurity_decrease",
    "min_samples_leaf", "min_samples_split",
)  # fmt: skip
#: Arguments of the estimators that leave the model what it says it is.
PARAMS: dict[str, tuple[str, ...]] = {
    "logistic": ("class_weight", "max_iter", "tol"),
    "svm": ("class_weight", "max_iter", "shrinking", "tol"),
    "tree": ("class_weight", "splitter", *_GROWTH),
    "forest": ("class_weight", "max_samples", *_GROWTH),
    "boosting": ("learning_rate", "subsample", *_GROWTH),
    "xgboost": (
        "colsample_bylevel", "colsample_bynode", "colsample_bytree", "gamma", "grow_policy", "learning_rate", "max_bin",
        "max_delta_step", "max_depth", "max_leaves", "min_child_weight", "reg_alpha", "reg_lambda", "scale_pos_weight",
        "subsample", "tree_method",
    ),
    "sensitive": (),
    "drug_rate": (),
}  # fmt: skip
#: Where the defaults of the libraries would take minutes without being better, see the guide.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "logistic": {"max_iter": 2000, "solver": "newton-cg", "tol": 1e-6},
    "boosting": {"max_features": "sqrt"},
    "xgboost": {"colsample_bytree": 0.1, "max_bin": 64},
}


class Recipe(NamedTuple):
    """What to fit for every drug."""

    method: str
    C: float
    n_estimators: int
    params: Mapping[str, Any]


class Rotation(NamedTuple):
    """Training lines in the directions that they span: as many features as lines instead of genes."""

    scaler: GeneScaler
    #: Lines × directions; inner products are those of the z scores divided by the number of genes.
    coordinates: np.ndarray
    #: Directions in z scores (genes × directions).
    directions: np.ndarray

    def weights(self, coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn coefficients (directions × drugs) into weights on expression (genes × drugs) and intercepts."""
        weights = (self.directions @ coefficients) / self.scaler.scale[:, None]
        return weights, intercepts - self.scaler.mean @ weights


class DrugFit(NamedTuple):
    """What is kept of one drug's classifier."""

    #: Coefficients (directions), for linear methods.
    coefficients: np.ndarray | None
    #: Intercept, or the value before any tree.
    base: float
    trees: list[Tree]
    #: Probability of its labelled lines from classifiers that did not see them; `None` if that was not asked for, or
    #: there are too few lines.
    left_out: np.ndarray | None


def check_params(method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return arguments for the estimator of a method.

    Raises
    ------
    ValueError
        If one is not among :data:`PARAMS`; the nearest is offered.

    Examples
    --------
    >>> check_params("tree", {"max_depth": 4})
    {'max_depth': 4}
    """
    check_choice("method", method, METHODS)
    given = dict(params or {})
    for name in given:
        if name not in PARAMS[method]:
            near = nearest(name, PARAMS[method], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            can = f"It takes: {', '.join(PARAMS[method])}." if PARAMS[method] else "It takes none."
            raise ValueError(f"`params` of method {method!r} cannot set {name!r}.{hint} {can}")
    return given


def select_genes(expression: np.ndarray, names: np.ndarray, n_genes: int | None) -> np.ndarray:
    """Positions of the genes of largest variance over the training lines, falling; ties in the order of their names.

    Parameters
    ----------
    expression
        Lines × genes.
    names
        Genes.
    n_genes
        How many to keep; all if `None` or more than there are.

    Examples
    --------
    >>> import numpy as np
    >>> select_genes(np.array([[0.0, 0.0, 5.0], [1.0, 4.0, 5.0]]), np.array(["A", "B", "C"]), 2)
    array([1, 0])
    """
    variance = np.asarray(expression, dtype=np.float64).var(axis=0)
    return np.lexsort((np.asarray(names).astype(str), -variance))[:n_genes]


def rotate(expression: np.ndarray) -> Rotation:
    """Turn lines × genes into lines × directions without changing what a linear classifier with an L2 penalty finds.

    Genes are z-scored over the lines and divided by the root of their number, so that a penalty means the same whatever
    that number is. The weights of such a classifier are combinations of the training lines; in an orthonormal basis of
    these, inner products and the penalty keep their values.

    Parameters
    ----------
    expression
        Training lines × genes.
    """
    scaler = fit_gene_scaler(expression)
    z = scaler.transform(expression) / np.sqrt(expression.shape[1])
    values, vectors = np.linalg.eigh(z @ z.T)
    keep = values > 1e-10 * max(values[-1], 1e-300)
    root = np.sqrt(values[keep])
    directions = z.T @ (vectors[:, keep] / root) / np.sqrt(expression.shape[1])
    return Rotation(scaler, vectors[:, keep] * root, directions)


def make_estimator(recipe: Recipe, *, rate: float, seed: int, n_jobs: int = 1) -> Any:
    """Return an unfitted classifier of scikit-learn or XGBoost.

    Parameters
    ----------
    recipe
        Method and arguments.
    rate
        Share of sensitive lines, where XGBoost starts.
    seed
        Seed of what is random in trees.
    n_jobs
        Threads over the trees of a forest.

    Raises
    ------
    ImportError
        If XGBoost is asked for and not installed.
    """
    options = {**_DEFAULTS.get(recipe.method, {}), **recipe.params}
    if recipe.method == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=recipe.C, **options)
    if recipe.method == "svm":
        from sklearn.svm import SVC

        return SVC(C=recipe.C, kernel="linear", **options)
    if recipe.method == "tree":
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(random_state=seed, **options)
    if recipe.method == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=recipe.n_estimators, random_state=seed, n_jobs=n_jobs, **options)
    if recipe.method == "boosting":
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(n_estimators=recipe.n_estimators, random_state=seed, **options)
    xgboost = import_optional("xgboost", extra="boosting", purpose="method='xgboost'")
    return xgboost.XGBClassifier(
        n_estimators=recipe.n_estimators, base_score=rate, n_jobs=1, random_state=seed, **options
    )


def probability(estimator: Any, features: np.ndarray) -> np.ndarray:
    """Return the probability of being sensitive (rows); for an SVM the logistic function of its decision value."""
    if not hasattr(estimator, "predict_proba"):
        return expit(estimator.decision_function(features))
    return np.asarray(estimator.predict_proba(features), dtype=np.float64)[:, 1]


def fit_drug(
    recipe: Recipe, features: np.ndarray, labels: np.ndarray, *, seed: int, n_folds: int, n_jobs: int = 1
) -> DrugFit:
    """Fit the classifier of one drug.

    Parameters
    ----------
    recipe
        Method and arguments.
    features
        Labelled lines × features: directions for linear methods, expression in float32 for trees.
    labels
        1 sensitive, 0 resistant; both occur.
    seed
        Seed of the trees and the folds.
    n_folds
        Folds for :attr:`DrugFit.left_out`; 0 for none. A forest uses the lines that each tree did not see instead.
    n_jobs
        Threads over the trees of a forest.
    """
    classes = labels.astype(np.int64)
    rate = float(classes.mean())
    estimator = make_estimator(recipe, rate=rate, seed=seed, n_jobs=n_jobs).fit(features, classes)
    left_out = _left_out(recipe, estimator, features, classes, rate, seed, n_folds) if n_folds else None
    if recipe.method in LINEAR:
        return DrugFit(estimator.coef_[0], float(estimator.intercept_[0]), [], left_out)
    if recipe.method == "xgboost":
        return DrugFit(None, float(logit(rate)), from_xgboost(estimator.get_booster()), left_out)
    if recipe.method == "boosting":
        grown = [item.tree_ for item in estimator.estimators_[:, 0]]
        trees = [from_sklearn(tree, estimator.learning_rate * tree.value[:, 0, 0]) for tree in grown]
        return DrugFit(None, float(logit(rate)), trees, left_out)
    grown = [item.tree_ for item in getattr(estimator, "estimators_", [estimator])]
    trees = [from_sklearn(tree, _class_share(tree.value) / len(grown)) for tree in grown]
    return DrugFit(None, 0.0, trees, left_out)


def _class_share(value: np.ndarray) -> np.ndarray:
    """Share of sensitive lines in each node (nodes × 1 × classes → nodes); one without that class has none."""
    return value[:, 0, 1] / value[:, 0].sum(axis=1)


def _left_out(
    recipe: Recipe,
    estimator: Any,
    features: np.ndarray,
    classes: np.ndarray,
    rate: float,
    seed: int,
    n_folds: int,
) -> np.ndarray | None:
    if recipe.method == "forest":
        return _out_of_bag(estimator, features, rate)
    from sklearn.model_selection import StratifiedKFold

    n_folds = min(n_folds, int(np.bincount(classes).min()))
    if n_folds < 2:
        return None
    left_out = np.empty(len(classes))
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(features, classes):
        fold = make_estimator(recipe, rate=float(classes[train].mean()), seed=seed)
        left_out[test] = probability(fold.fit(features[train], classes[train]), features[test])
    return left_out


def _out_of_bag(forest: Any, features: np.ndarray, rate: float) -> np.ndarray:
    """Mean over the trees that did not see a line; `rate` for a line that all of them saw."""
    total, count = np.zeros(len(features)), np.zeros(len(features))
    for tree, sample in zip(forest.estimators_, forest.estimators_samples_):
        unseen = np.setdiff1d(np.arange(len(features)), sample)
        total[unseen] += tree.predict_proba(features[unseen])[:, 1]
        count[unseen] += 1
    return np.divide(total, count, out=np.full(len(features), rate), where=count > 0)


def fit_drugs(
    recipe: Recipe, features: np.ndarray, labels: ClassLabels, *, seed: int, n_folds: int, n_jobs: int
) -> tuple[dict[int, DrugFit], np.ndarray]:
    """Fit the drugs that have enough lines of either class.

    Parameters
    ----------
    recipe
        Classifier.
    features, labels
        Lines × features, and labels of lines × drugs.
    seed, n_folds, n_jobs
        As :func:`fit_drug` takes them; each drug has a seed of its own, whichever others are fitted.

    Returns
    -------
    Fits by position of the drug, and predictions of lines by classifiers that did not see them (lines × drugs, NaN elsewhere).
    """
    rows = {int(drug): np.flatnonzero(np.isfinite(labels.values[:, drug])) for drug in np.flatnonzero(labels.usable)}
    # Threads, since the libraries release the interpreter and the lines are then shared instead of copied. A forest
    # has its own over trees: several forests at once would race for the interpreter's list of warning filters.
    inside, outside = (n_jobs, 1) if recipe.method == "forest" else (1, n_jobs)
    fitted = Parallel(n_jobs=outside, prefer="threads")(
        delayed(fit_drug)(
            recipe, features[lines], labels.values[lines, drug],
            seed=drug_seed(seed, labels.table.index[drug]), n_folds=n_folds, n_jobs=inside,
        )
        for drug, lines in rows.items()
    )  # fmt: skip
    fits, left_out = dict(zip(rows, fitted)), np.full(labels.values.shape, np.nan)
    for drug, fit in fits.items():
        if fit.left_out is not None:
            left_out[rows[drug], drug] = fit.left_out
    return fits, left_out


def drug_seed(seed: int, drug: str) -> int:
    """Seed of one drug, which does not depend on the other drugs."""
    return int(np.random.SeedSequence([seed, zlib.crc32(str(drug).encode())]).generate_state(1)[0] >> 1)
