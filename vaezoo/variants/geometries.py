"""Variants whose latents live on a curved space."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "svae",
        posterior="von-mises-fisher",
        prior="uniform-sphere",
        decoder="sphere-mlp",
        about="the VAE whose latents are on a sphere: von Mises-Fisher posterior, uniform prior",
        paper="Davidson et al. (2018), arXiv:1804.00891",
    ),
    Variant(
        "poincare-vae",
        posterior="poincare",
        prior="hyperbolic-normal",
        decoder="poincare-mlp",
        about="the VAE whose latents are in the Poincare ball: wrapped normal posterior and prior",
        paper="Mathieu et al. (2019), arXiv:1901.06033",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
