"""Variants that differ from the VAE in their likelihood."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "sigma-vae",
        likelihood=("gaussian", {"scale": "optimal"}),
        about="the Gaussian VAE whose one standard deviation is set to its best value after each epoch",
        paper="Rybkin et al. (2021), arXiv:2006.13202",
    ),
    Variant(
        "cb-vae",
        likelihood="continuous-bernoulli",
        about="the VAE of gray images in [0, 1] with a Bernoulli's cross-entropy, made a density by its constant",
        paper="Loaiza-Ganem and Cunningham (2019), arXiv:1907.06845",
    ),
    Variant(
        "count-vae",
        encoder="log-mlp",
        likelihood="negative-binomial",
        about="the VAE of counts: a negative binomial whose mean is library size (where it is a context) times rate",
        paper="Lopez et al. (2018), scVI, doi:10.1038/s41592-018-0229-2",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
