"""Variants that differ from the VAE in their prior."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "vae-vampprior",
        prior="vampprior",
        about="the VAE whose prior is a mixture of its own posteriors at learned pseudo-inputs",
        paper="Tomczak and Welling (2018), arXiv:1705.07120",
    ),
    Variant(
        "vae-mixture",
        prior="mixture",
        about="the VAE whose prior is a learned mixture of diagonal Gaussians",
    ),
    Variant(
        "exemplar-vae",
        prior="exemplar",
        about="the VAE whose prior is a mixture about the encodings of training images",
        paper="Norouzi et al. (2020), arXiv:2004.04795",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
