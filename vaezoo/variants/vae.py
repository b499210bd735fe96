"""The variational autoencoder."""

from vaezoo.registry import Variant, register

register.variant(
    Variant(
        "vae",
        about="Gaussian posterior, standard normal prior, trained on the ELBO",
        paper="Kingma and Welling (2014), arXiv:1312.6114",
    )
)
