"""vaezoo: a plugin-based benchmark suite of variational autoencoders on one shared reparameterised-Gaussian core.

Importing this package does not import torch: its names are looked up when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.registry import Variant, names, register

if TYPE_CHECKING:  # what type checkers see of the names that `__getattr__` looks up
    from vaezoo import figures, flows, nets
    from vaezoo.api import load_model, run
    from vaezoo.builder import build
    from vaezoo.core import bounds, noise
    from vaezoo.core.columns import Column
    from vaezoo.core.contracts import (
        Decoder,
        Encoder,
        Latents,
        Likelihood,
        Objective,
        Posterior,
        PosteriorDistribution,
        Prior,
    )
    from vaezoo.core.data import Dataset, DataSpec
    from vaezoo.core.draws import Batch, Draws
    from vaezoo.core.gaussian import DiagonalGaussian, mixture_log_density
    from vaezoo.core.groups import GaussianGroups, TopDownPrior
    from vaezoo.core.model import LatentModel
    from vaezoo.datasets import load_dataset
    from vaezoo.evaluation.estimate import Estimate, evaluating, log_likelihood
    from vaezoo.evaluation.evaluation import Evaluation
    from vaezoo.reports.compare import compare
    from vaezoo.runner.events import Event
    from vaezoo.runner.history import read_history
    from vaezoo.runner.results import read_results
    from vaezoo.training.notebook import train

__version__ = "0.1.0"

_MODULES = {
    "core.columns": ("Column",),
    "core.contracts": (
        "Encoder",
        "Posterior",
        "PosteriorDistribution",
        "Prior",
        "Decoder",
        "Likelihood",
        "Objective",
        "Latents",
    ),
    "core.data": ("DataSpec", "Dataset"),
    "core.draws": ("Batch", "Draws"),
    "core.gaussian": ("DiagonalGaussian", "mixture_log_density"),
    "core.groups": ("GaussianGroups", "TopDownPrior"),
    "core.model": ("LatentModel",),
    "datasets": ("load_dataset",),
    "builder": ("build",),
    "evaluation.estimate": ("Estimate", "evaluating", "log_likelihood"),
    "evaluation.evaluation": ("Evaluation",),
    "reports.compare": ("compare",),
    "runner.events": ("Event",),
    "runner.history": ("read_history",),
    "runner.results": ("read_results",),
    "training.notebook": ("train",),
    "api": ("run", "load_model"),
}
_LAZY = {name: f"vaezoo.{module}" for module, found in _MODULES.items() for name in found}
_SUBMODULES = {
    name: f"vaezoo.{module}"
    for name, module in (
        *(("bounds", "core.bounds"), ("figures", "figures"), ("flows", "flows")),
        *(("nets", "nets"), ("noise", "core.noise")),
    )
}

__all__ = [
    "Batch",
    "Column",
    "DataSpec",
    "Dataset",
    "Decoder",
    "DiagonalGaussian",
    "Draws",
    "Encoder",
    "Estimate",
    "Evaluation",
    "Event",
    "GaussianGroups",
    "LatentModel",
    "Latents",
    "Likelihood",
    "Objective",
    "Posterior",
    "PosteriorDistribution",
    "Prior",
    "Skip",
    "TopDownPrior",
    "VaezooError",
    "VaezooWarning",
    "Variant",
    "bounds",
    "build",
    "compare",
    "evaluating",
    "figures",
    "flows",
    "load_dataset",
    "load_model",
    "log_likelihood",
    "mixture_log_density",
    "names",
    "nets",
    "noise",
    "read_history",
    "read_results",
    "register",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        value = import_module(_SUBMODULES[name])
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'vaezoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
