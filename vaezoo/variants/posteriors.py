"""Variants that differ from the VAE in their posterior."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "vae-realnvp",
        posterior="realnvp",
        about="the VAE whose posterior is a Gaussian pushed through affine coupling layers",
        paper="Dinh et al. (2017), arXiv:1605.08803; Rezende and Mohamed (2015), arXiv:1505.05770",
    ),
    Variant(
        "vae-hamiltonian",
        posterior="hamiltonian",
        about="the VAE whose posterior follows the gradient of log p(x, z) by tempered leapfrog steps",
        paper="Caterini et al. (2018), arXiv:1805.11328",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
