"""Conditional variants of each family of networks: the models of variants/conditional.py with other networks."""

from vaezoo.registry import Variant, register

ABOUT = {
    "gated-mlp": "gated dense layers",
    "conv": "convolutions; images only",
    "gated-conv": "gated convolutions; images only",
    "resnet": "residual blocks of convolutions; images only",
}
"""The families and what they are made of."""
VARIANTS = tuple(
    Variant(
        f"conditional-vae-{family}",
        encoder=f"conditional-{family}",
        decoder=f"conditional-{family}",
        about=f"the VAE whose encoder and decoder are given each image's context, of {networks}",
        paper="Sohn et al. (2015), NeurIPS",
    )
    for family, networks in ABOUT.items()
)

for variant in VARIANTS:
    register.variant(variant)
