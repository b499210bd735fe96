"""The VAE and the variants that differ from it in what training maximises."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "vae",
        about="Gaussian posterior, standard normal prior, trained on the ELBO",
        paper="Kingma and Welling (2014), arXiv:1312.6114",
    ),
    Variant(
        "beta-vae",
        objective="beta",
        about="the VAE with its KL weighted by beta in training",
        paper="Higgins et al. (2017), ICLR",
    ),
    Variant(
        "iwae",
        objective="iwae",
        about="the VAE trained on the importance-weighted bound",
        paper="Burda et al. (2016), arXiv:1509.00519",
    ),
    Variant(
        "vae-dreg",
        objective="dreg",
        about="the importance-weighted autoencoder whose encoder has doubly reparameterised gradients",
        paper="Tucker et al. (2019), arXiv:1810.04152",
    ),
    Variant(
        "factor-vae",
        objective=("factor", {"width": 1000, "depth": 6}),
        about="the VAE with the total correlation of its latents penalised through a discriminator",
        paper="Kim and Mnih (2018), arXiv:1802.05983",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
