"""What the arguments of public functions must be, checked in one place and said in one way.

The type of an argument stands in the signature already, so :func:`checked` reads it there; what a type cannot say, the
range of a number, stands in :data:`RANGES` by name, since a name means the same in every function.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ._annotations import Kind, kinds_of, numbers_in
from ._former import current_arguments, named_arguments
from ._validate import check_choice, examples, nearest

F = TypeVar("F", bound=Callable[..., Any])


class Span(NamedTuple):
    """Range of a number, in words and as a check."""

    words: str
    holds: Callable[[float], bool]


def _span(words: str, holds: Callable[[float], bool]) -> Span:
    return Span(words, lambda value: math.isfinite(value) and holds(value))


def _at_least(low: int) -> Span:
    return _span(f"at least {low}", lambda value: value >= low)


_ANY = Span("", lambda value: True)
_POSITIVE = _span("positive", lambda value: value > 0)
_NOT_ZERO = _span("other than 0", lambda value: value != 0)
_SHARE = _span("a share between 0 and 1", lambda value: 0 <= value <= 1)
_INNER_SHARE = _span("between 0 and 1, both excluded", lambda value: 0 < value < 1)
_SHARE_ABOVE_0 = _span("above 0 and at most 1", lambda value: 0 < value <= 1)
_SHARE_BELOW_1 = _span("at least 0 and less than 1", lambda value: 0 <= value < 1)
_SEED = _span("between 0 and 2**32 - 1", lambda value: 0 <= value < 2**32)

#: Names of numeric arguments by their range. Limits that depend on the data, or on other arguments, are checked where
#: these are known.
_NAMES_BY_RANGE = {
    _at_least(0): """calibration_folds denoise dispersion kernel_share n n_bootstrap n_free n_labels n_top_genes noise
        platform_sd radius rank shrinkage w_align w_dense w_diff w_sparse""",
    _at_least(1): """batch_size chunk_size hidden k max_cells max_epochs max_genes max_length min_cells min_count min_drugs min_genes min_lines
        min_patients n_bits n_cells n_components n_drugs n_estimators n_folds n_genes n_head n_heads n_hidden n_latent n_lines
        n_neighbors n_pairs n_pathways n_permutations n_pool n_profiles n_repeats n_resamples n_samples n_sets n_steps
        n_combinations n_trials patience top width""",
    _at_least(2): "n_bins",
    _POSITIVE: "C depth dose drug_ridge figsize hill lr resolution ridge size target_depth time",
    _NOT_ZERO: "n_jobs",
    _SHARE: "alpha fdr_max max_jaccard max_normal max_treated_share min_coverage min_covered min_percentile validation",
    _INNER_SHARE: "fraction level test_fraction",
    _SHARE_ABOVE_0: "depths",
    _SHARE_BELOW_1: "dropout edge_dropout node_dropout",
    _SEED: "seed seeds",
    _ANY: "cell_layers devices drug_layers fill_value linear_ridge max_normal_score threshold",
}  # fmt: skip
RANGES = {name: span for span, names in _NAMES_BY_RANGE.items() for name in names.split()}

#: What to do about a value of the wrong type, by the type, or the name of the argument, that was expected and the type
#: that was found.
_REMEDIES = {
    ("AnnData", "str"): "Read the file first, for example with anndata.read_h5ad.",
    ("AnnData", "Path"): "Read the file first, for example with anndata.read_h5ad.",
    (
        "AnnData",
        "DataFrame",
    ): "Make one of the table with anndata.AnnData(table), samples as rows and genes as columns.",
    ("AnnData", "MuData"): "Pass one modality, e.g. mdata['rna'].",
    ("AnnData", "SpatialData"): "Pass one of its tables, e.g. sdata.tables['table'].",
    ("AnnData", "Raw"): "Turn it into one with adata.raw.to_adata().",
    ("AnnData", "ndarray"): "Make one with anndata.AnnData(X), and set `var_names` to the names of the genes.",
    ("AnnData", "spmatrix"): "Make one with anndata.AnnData(X), and set `var_names` to the names of the genes.",
    ("AnnData", "sparray"): "Make one with anndata.AnnData(X), and set `var_names` to the names of the genes.",
    ("Axes", "ndarray"): "Pass one of these Axes, e.g. axes[0].",
    ("Axes", "Figure"): "Pass Axes of it, e.g. figure.add_subplot().",
    (
        "pathways",
        "dict",
    ): "For sets of your own call scdrug.pp.pathway_mask(adata, sets) first, and leave `pathways` out.",
    ("gene_sets", "list"): "Pass a mapping of names to genes, e.g. {'my set': ['EGFR', 'KRAS']}.",
    ("normal_markers", "str"): "Pass a list of genes, e.g. ['CD3D'], or a mapping of names to such lists.",
    ("DrugResponseModel", "object"): "Pass a trained model, or the name or folder of one.",
    ("Results", "object"): "Read the folder of a run with scdrug.benchmark.read_results.",
    ("Axes", "module"): "Pass the current Axes, plt.gca().",
}


@dataclass(frozen=True)
class _Rule:
    """What one argument must be."""

    name: str
    kinds: tuple[Kind, ...]
    span: Span

    @property
    def words(self) -> str:
        span = f" ({self.span.words})" if self.span.words else ""
        parts = [kind.words + span * kind.numeric for kind in self.kinds]
        return " or ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]

    def check(self, value: Any) -> Any:
        """Return the value, numpy scalars as plain ones, or raise what is wrong with it."""
        if isinstance(value, np.generic) and not isinstance(value, str):
            value = value.item()
        for kind in self.kinds:
            if kind.accepts(value):
                if kind.numeric and not all(map(self.span.holds, numbers_in(value))):
                    break
                if self.name in _FURTHER:
                    _FURTHER[self.name](self.name, value)
                return value
        else:
            for kind in self.kinds:
                for item in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []:
                    if kind.choices and isinstance(item, str):
                        check_choice(self.name, item, kind.choices)
            raise TypeError(f"`{self.name}` must be {self.words}; found {_found(value)}.{self._remedy(value)}")
        raise ValueError(f"`{self.name}` must be {self.span.words}; found {_found(value)}.")

    def _remedy(self, value: Any) -> str:
        found = [cls.__name__ for cls in type(value).__mro__]
        expected = [self.name, *(kind.name for kind in self.kinds)]
        remedies = [_REMEDIES[one, other] for one in expected for other in found if (one, other) in _REMEDIES]
        return f" {remedies[0]}" if remedies else ""


def checked(function: F) -> F:
    """Check the arguments of a public function before it runs.

    Parameters
    ----------
    function
        Function, method or dataclass, annotated. Signature, help and docstring stay as they are.

    Returns
    -------
    The same, which raises :class:`TypeError` for arguments of another type than the annotation says or that it does not
    have, and :class:`ValueError` for numbers out of the range that :data:`RANGES` has for their name. Numpy's scalars
    are accepted, and handed on as plain ones; a boolean is no number, and NaN and infinity are none either.
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)  # type: ignore[misc]
        return function
    code = compile(_CALL, "<arguments checked by scdrug, a frame like importlib._bootstrap>", "exec")
    names = {"function": function, "check": _Checker(function)}
    exec(code, names)
    wrapper = functools.wraps(function)(names["call"])  # type: ignore[arg-type]
    wrapper.is_checked = True  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _check_accelerator(argument: str, value: str) -> None:
    """Refuse what PyTorch does not find on this machine; an index, as in ``"cuda:1"``, is for `device` alone."""
    kind, _, index = value.partition(":") if argument == "device" else (value, "", "")
    check_choice(argument, kind, ("auto", "cpu", "cuda", "mps") if argument == "device" else _ACCELERATORS)
    if value in ("auto", "cpu"):
        return
    import torch

    n_devices = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    n_devices["gpu"] = max(n_devices.values())
    if not n_devices.get(kind) or (index and not (index.isdigit() and int(index) < n_devices[kind])):
        there = [f"{name} ({n})" for name, n in n_devices.items() if n and name in ("cuda", "mps")]
        raise ValueError(
            f"`{argument}` asks for {value!r}, but PyTorch finds {examples(there) if there else 'no GPU'} on this machine. Use "
            "'auto' or 'cpu', or check driver and build of PyTorch with torch.cuda.is_available()."
        )


def _check_devices(argument: str, value: Any) -> None:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    parts = [str(part).strip() for part in parts]
    if "," in str(value):
        valid = all(part.isdigit() for part in parts if part) and any(parts)
    else:
        valid = (
            value == "auto" or parts[0] == "-1" or (parts[0].isdigit() and (isinstance(value, list) or parts[0] != "0"))
        )
    if not valid:
        raise ValueError(
            f"`{argument}` must be how many to use, 1 or more, -1 or 'auto' for all, or a list of their numbers, counted from 0; "
            f"found {value!r}."
        )


def _check_precision(argument: str, value: str) -> None:
    check_choice(argument, value, ("32-true", "bf16-mixed"))


_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
#: What has to be checked besides type and range, by name of the argument.
_FURTHER: dict[str, Callable[[str, Any], None]] = {
    "accelerator": _check_accelerator,
    "device": _check_accelerator,
    "devices": _check_devices,
    "precision": _check_precision,
}

#: Under a file name that Python counts as a part of importing, its frame is left out when `warnings.warn` looks for the
#: caller: `stacklevel` stays the number of scdrug's own functions in between.
_CALL = """
def call(*args, **kwargs):
    __tracebackhide__ = True
    args, kwargs = check(args, kwargs)
    return function(*args, **kwargs)
"""


class _Checker:
    """Checks the arguments of one function; its annotations are read at the first call, when all modules are loaded."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @functools.cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self._function).parameters)

    @functools.cached_property
    def _positional(self) -> list[str]:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [name for name, item in self._parameters.items() if item.kind in kinds]

    @functools.cached_property
    def _takes_any(self) -> bool:
        return any(item.kind is inspect.Parameter.VAR_KEYWORD for item in self._parameters.values())

    @functools.cached_property
    def _rules(self) -> dict[str, _Rule]:
        return rules_of(self._function)

    @functools.cached_property
    def _has_former(self) -> bool:
        return hasattr(self._function, "former_arguments")

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional arguments and those by name, under their present names, with plain scalars."""
        rules = self._rules
        if self._has_former:
            args, named = named_arguments(self._function, args, len(self._positional))
            kwargs = current_arguments(self._function, {**kwargs, **named})
        for name, value in kwargs.items():
            rule = rules.get(name)
            if rule is not None:
                if value is not self._parameters[name].default:
                    kwargs[name] = rule.check(value)
            elif name not in self._parameters and not self._takes_any:
                self._refuse(name, args)
        if not args:
            return args, kwargs
        checked_args = tuple(
            rules[name].check(value) if name in rules and value is not self._parameters[name].default else value
            for name, value in zip(self._positional, args, strict=False)
        )
        return checked_args + args[len(self._positional) :], kwargs

    def _refuse(self, name: str, args: tuple[Any, ...]) -> None:
        known = [item for item in self._parameters if item not in ("self", "cls")]
        near = nearest(name, known, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        title = self._function.__qualname__
        if args and next(iter(self._parameters), "") in ("self", "cls"):
            owner = args[0] if isinstance(args[0], type) else type(args[0])
            if name in inspect.signature(owner).parameters:
                hint = f" It is an argument of {owner.__name__}(…): give it there."
            title = f"{owner.__name__}.{self._function.__name__}".removesuffix(".__init__")
        takes = f"It takes {', '.join(f'`{item}`' for item in known)}." if known else "It takes none."
        raise TypeError(f"{title} got an unexpected argument `{name}`.{hint} {takes}")


def rules_of(function: Callable[..., Any]) -> dict[str, _Rule]:
    """Rules of those parameters of a function whose annotation can be checked."""
    function = inspect.unwrap(function)
    rules = {}
    for name, item in inspect.signature(function).parameters.items():
        if item.annotation is item.empty or item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL):
            continue
        kinds = kinds_of(item.annotation, getattr(function, "__globals__", {}))
        if kinds is not None:
            rules[name] = _Rule(name, kinds, RANGES.get(name, _ANY))
    return rules


def _found(value: Any) -> str:
    """Describe a value in a message: short ones as they are, others by their type."""
    if isinstance(value, bool | int | float | complex | str | bytes | os.PathLike) or value is None:
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}…"
    if isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__} of {examples(value)}" if value else f"an empty {type(value).__name__}"
    return type(value).__name__
