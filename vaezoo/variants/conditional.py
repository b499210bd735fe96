"""Conditional variants: models of p(x|context), for data sets with a context."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "conditional-vae",
        encoder="conditional-mlp",
        decoder="conditional-mlp",
        about="the VAE whose encoder and decoder are given each image's context, such as its label",
        paper="Sohn et al. (2015), NeurIPS",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
