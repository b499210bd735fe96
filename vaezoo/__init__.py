"""vaezoo: a plugin-based benchmark suite of variational autoencoders on one shared reparameterised-Gaussian core.

Importing this package does not import torch: its names are looked up when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.registry import Variant, names, register

if TYPE_CHECKING:
    from vaezoo import flows, nets
    from vaezoo.api import load_model, run
    from vaezoo.builder import build
    from vaezoo.core import bounds, noise
    from vaezoo.core.contracts import Decoder, Encoder, Likelihood, Objective, Posterior, Prior
    from vaezoo.core.data import Dataset, DataSpec
    from vaezoo.core.draws import Batch, Draws
    from vaezoo.core.gaussian import DiagonalGaussian
    from vaezoo.core.model import LatentModel
    from vaezoo.datasets import load_dataset
    from vaezoo.evaluation.estimate import log_likelihood
    from vaezoo.runner.store import read_results

__version__ = "0.1.0"

_PLACES = {
    "core.contracts": ("Encoder", "Posterior", "Prior", "Decoder", "Likelihood", "Objective"),
    "core.data": ("DataSpec", "Dataset"),
    "core.draws": ("Batch", "Draws"),
    "evaluation.estimate": ("log_likelihood",),
    "core.gaussian": ("DiagonalGaussian",),
    "core.model": ("LatentModel",),
    "datasets": ("load_dataset",),
    "builder": ("build",),
    "runner.store": ("read_results",),
    "api": ("run", "load_model"),
}
_LAZY = {name: f"vaezoo.{module}" for module, found in _PLACES.items() for name in found}
_MODULES = {
    "bounds": "vaezoo.core.bounds",
    "flows": "vaezoo.flows",
    "nets": "vaezoo.nets",
    "noise": "vaezoo.core.noise",
}

__all__ = [
    "Batch",
    "DataSpec",
    "Dataset",
    "Decoder",
    "DiagonalGaussian",
    "Draws",
    "Encoder",
    "LatentModel",
    "Likelihood",
    "Objective",
    "Posterior",
    "Prior",
    "Skip",
    "VaezooError",
    "VaezooWarning",
    "Variant",
    "bounds",
    "build",
    "flows",
    "load_dataset",
    "load_model",
    "log_likelihood",
    "names",
    "nets",
    "noise",
    "read_results",
    "register",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = import_module(_MODULES[name])
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'vaezoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
