"""Images of a measure; a specification, a cell and a task with every field filled in; edited files; a prior."""

from pathlib import Path
from typing import Any

from torch import Tensor

import vaezoo
from vaezoo.runner.formats import sealed
from vaezoo.runner.plan.cell import Cell, Comparability, Task
from vaezoo.runner.plan.specification import DatasetChoice, EvaluationOptions, Specification
from vaezoo.training.options import TrainingOptions


def images_of(measure: str, x: Tensor) -> vaezoo.Dataset:
    """A data set of continuous images or of counts, from numbers in [0, 1], whose first 20 are its other splits."""
    if measure == "counts":
        x = (9 * x).floor()
    return vaezoo.Dataset(x, x[:20], x[:20], measure, levels=256 if measure == "continuous" else None)


def a_specification() -> Specification:
    return Specification(
        protocol=2,
        variant="vae",
        slots={"prior": ("mixture", {"components": 3, "spread": 1.5}), "encoder": ("mlp", {"activation": "relu"})},
        latent=8,
        hidden=(4, 5),
        allow_pseudo_likelihood=False,
        dataset=DatasetChoice("digits", {"labels": True}, "c" * 64),
        code={"prior/mixture": "a" * 64, "metric/likelihood": "b" * 64},
        train=TrainingOptions(epochs=7, gradient_clip=2.0, compile=True, precision="bfloat16", patience=3),
        metrics=(("likelihood", {}), ("active-units", {"threshold": 0.01})),
        evaluate=EvaluationOptions(10, None),
        seed=0,
    )


def a_cell(seed: int = 0) -> Cell:
    [(key, specification)] = a_specification().with_seeds([seed])
    facts = Comparability("discrete", "none", "c" * 64, "test", "iwll", False, False, 300, 10, "bfloat16")
    return Cell("a row", "vae", "digits", seed, key, specification, facts, {"model.latent": 8})


def a_task(folder: Path, seed: int = 0) -> Task:
    return Task(a_cell(seed), folder, (Path("/plugins/mine.py"),), data_root="/data")


def resealed(value: dict[str, Any]) -> dict[str, Any]:
    """A record or a plan that was edited, with the digest of what it holds now."""
    return sealed({name: each for name, each in value.items() if name != "digest"})


def unsealed(value: dict[str, Any]) -> dict[str, Any]:
    """A record or a plan as a version without formats and digests wrote it."""
    return {name: each for name, each in value.items() if name not in ("format", "digest", "files")}


PRIOR = '''
@vaezoo.register.prior("own")
class Own(vaezoo.Prior):
    """A standard normal."""
    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent
    def log_density(self, z):
        return vaezoo.DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z)).log_density(z)
    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)
'''
"""The source of a prior from outside. Its file imports torch and vaezoo."""
