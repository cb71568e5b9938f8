"""What is expected of lines and drugs before any network: kernels, ridge regression, completion and coupled processes.

Arrays in, arrays out: nothing here knows a model.
"""

from ._additive import fit_additive
from ._complete import complete_response, residual_scale
from ._coupled import ProcessOptions, fit_coupled
from ._decomposition import decompose_kernel
from ._drug_kernels import (
    DrugFeatures,
    contrast_kernel,
    describe_drugs,
    drug_features,
    drug_similarity,
    structure_kernel,
    training_features,
)
from ._kernels import (
    FIVE_KERNELS,
    RBF,
    KernelSpec,
    apply_kernel,
    fit_gene_scaler,
    fit_kernel,
    linear_kernel,
    median_distance,
    rbf_kernel,
    squared_distances,
)
from ._kronecker import kronecker_ridge
from ._linear import LinearPrior
from ._new_drugs import EFFECT_RIDGES, NewDrugs, select_effect_ridge
from ._process import Context, ResponseProcess, contexts
from ._ridge import leave_one_out, primal_weights, select_ridge, solve_ridge
from ._soft_impute import select_threshold, shrink_singular_values, soft_impute

__all__ = [
    "Context", "DrugFeatures", "EFFECT_RIDGES", "FIVE_KERNELS", "KernelSpec", "LinearPrior", "NewDrugs", "ProcessOptions",
    "RBF", "ResponseProcess", "apply_kernel", "complete_response", "contexts", "contrast_kernel", "decompose_kernel",
    "describe_drugs", "drug_features", "drug_similarity", "fit_additive", "fit_coupled", "fit_gene_scaler", "fit_kernel",
    "kronecker_ridge", "leave_one_out", "linear_kernel", "median_distance", "primal_weights", "rbf_kernel",
    "residual_scale", "select_effect_ridge", "select_ridge", "select_threshold", "shrink_singular_values", "soft_impute",
    "solve_ridge", "squared_distances", "structure_kernel", "training_features",
]  # fmt: skip
