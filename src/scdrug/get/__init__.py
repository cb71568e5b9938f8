"""Tidy tables of what :mod:`scdrug.tl` stored, each named after its function; those of predicted responses after what they show.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

import lazy_loader as lazy

from .._former import former_names

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
__getattr__ = former_names(
    __name__,
    __getattr__,
    {
        "expression_df": "predict_expression_df",
        "importance_df": "attribute_pathways_df",
    },
    kept={"attribution_df": "_former", "perturbation_df": "_former"},
)
