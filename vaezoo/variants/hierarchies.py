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
)

for variant in VARIANTS:
    register.variant(variant)
