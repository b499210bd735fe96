"""Linear variants, whose optimum is known in closed form."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "ppca",
        encoder="linear",
        decoder="linear",
        likelihood="gaussian",
        about="the linear Gaussian VAE: probabilistic PCA, whose optimum is known in closed form",
        paper="Tipping and Bishop (1999), JRSS B 61(3); Lucas et al. (2019), arXiv:1911.02469",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
