"""The VAE with a mixture prior."""

from vaezoo.registry import Variant, register

register.variant(
    Variant("vae-mixture", prior="mixture", about="the VAE whose prior is a learned mixture of diagonal Gaussians")
)
