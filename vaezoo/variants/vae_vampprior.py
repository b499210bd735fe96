"""The VAE with a VampPrior."""

from vaezoo.registry import Variant, register

register.variant(
    Variant(
        "vae-vampprior",
        prior="vampprior",
        about="the VAE whose prior is a mixture of its own posteriors at learned pseudo-inputs",
        paper="Tomczak and Welling (2018), arXiv:1705.07120",
    )
)
