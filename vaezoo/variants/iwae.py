"""The importance-weighted autoencoder."""

from vaezoo.registry import Variant, register

register.variant(
    Variant(
        "iwae",
        objective="iwae",
        about="the VAE trained on the importance-weighted bound",
        paper="Burda et al. (2016), arXiv:1509.00519",
    )
)
