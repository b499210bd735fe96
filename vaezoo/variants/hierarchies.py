"""Variants with several latent groups: latent = [4, 8] gives two, top first, and [2, 4, 8] three.

A number is one group; the model is then the VAE. The decoder sees the lowest group.
"""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "hvae-2",
        posterior="bottom-up",
        prior="top-down",
        about="the VAE with several latent groups, latent = [4, 8], top first; of one group it is the VAE",
        paper="Burda et al. (2016), arXiv:1509.00519",
    ),
    Variant(
        "ladder-vae",
        posterior="ladder",
        prior="top-down",
        about="several latent groups, latent = [4, 8], whose q merges the image's estimate with the prior's; without "
        "BatchNorm; of one group it is the VAE",
        paper="Sønderby et al. (2016), arXiv:1602.02282",
    ),
    Variant(
        "hvae-vampprior",
        posterior="top-down",
        prior="top-down-vampprior",
        about="several latent groups, latent = [4, 8], drawn from the top down, with a VampPrior on the top one; of "
        "one group it is vae-vampprior",
        paper="Tomczak and Welling (2018), arXiv:1705.07120",
    ),
    Variant(
        "deep-hvae",
        encoder="residual",
        posterior="deep-top-down",
        prior="deep-top-down",
        decoder="deep-top-down",
        about="a hierarchy of residual convolutional blocks, latent = [8, 16, 32], as many groups as asked, which "
        "share a path from the top down; images only",
        paper="Child (2021), arXiv:2011.10650",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
