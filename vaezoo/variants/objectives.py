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
    Variant(
        "miwae",
        objective="miwae",
        about="the VAE trained on the mean of several importance-weighted bounds",
        paper="Rainforth et al. (2018), arXiv:1802.04537",
    ),
    Variant(
        "piwae",
        objective="piwae",
        about="the VAE whose decoder trains on one importance-weighted bound and its encoder on the mean of several",
        paper="Rainforth et al. (2018), arXiv:1802.04537",
    ),
    Variant(
        "ciwae",
        objective="ciwae",
        about="the VAE trained on a combination of the ELBO and the importance-weighted bound",
        paper="Rainforth et al. (2018), arXiv:1802.04537",
    ),
    Variant(
        "vae-stl",
        objective="stl",
        about="the VAE trained with the path derivative of the ELBO, which vanishes where q is the posterior",
        paper="Roeder et al. (2017), arXiv:1703.09194",
    ),
    Variant(
        "vae-renyi",
        objective="renyi",
        about="the VAE trained on the variational Rényi bound, between the ELBO and the importance-weighted bound",
        paper="Li and Turner (2016), arXiv:1602.02311",
    ),
    Variant(
        "beta-tcvae",
        objective="beta-tc",
        about="the VAE with the total correlation of its latents penalised, estimated from the batch",
        paper="Chen et al. (2018), arXiv:1802.04942",
    ),
    Variant(
        "dip-vae",
        objective="dip",
        about="the VAE with the covariance of its aggregate posterior drawn to the identity",
        paper="Kumar et al. (2018), arXiv:1711.00848",
    ),
    Variant(
        "info-vae",
        objective="info",
        about="the VAE with the maximum mean discrepancy of its aggregate posterior and its prior penalised",
        paper="Zhao et al. (2019), arXiv:1706.02262",
    ),
    Variant(
        "capacity-vae",
        objective="capacity",
        about="the VAE whose KL is drawn to a capacity that rises over training",
        paper="Burgess et al. (2018), arXiv:1804.03599",
    ),
    Variant(
        "vae-free-bits",
        objective="free-bits",
        about="the VAE whose KL costs nothing below a few nats a dimension",
        paper="Kingma et al. (2016), arXiv:1606.04934",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
