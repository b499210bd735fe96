"""The beta-VAE."""

from vaezoo.registry import Variant, register

register.variant(
    Variant(
        "beta-vae",
        objective="beta",
        about="the VAE with its KL weighted by beta in training",
        paper="Higgins et al. (2017), ICLR",
    )
)
