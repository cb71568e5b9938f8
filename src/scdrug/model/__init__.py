"""Models of drug response, bundled and to train; the first class that is used loads torch and scvi-tools."""

import lazy_loader as lazy

from ._registry import CLASSES

_MODULES = CLASSES | {
    "DrugResponseModel": "_base",
    "MethodCard": "_card",
    "list_models": "_pretrained",
    "load_pretrained": "_pretrained",
    "recommended": "_recommended",
}
# from the registry, so that a new model is registered once; the stub is for type checkers
__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        module: [name for name, home in _MODULES.items() if home == module] for module in set(_MODULES.values())
    },
)

#: Names of the model classes, as files refer to them.
MODEL_CLASSES = tuple(CLASSES)
