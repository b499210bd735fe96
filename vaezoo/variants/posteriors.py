"""Variants that differ from the VAE in their posterior."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "vae-realnvp",
        posterior="realnvp",
        about="the VAE whose posterior is a Gaussian pushed through affine coupling layers",
        paper="Dinh et al. (2017), arXiv:1605.08803; Rezende and Mohamed (2015), arXiv:1505.05770",
    ),
    Variant(
        "vae-hamiltonian",
        posterior="hamiltonian",
        about="the VAE whose posterior follows the gradient of log p(x, z) by tempered leapfrog steps",
        paper="Caterini et al. (2018), arXiv:1805.11328",
    ),
    Variant(
        "vae-full-gaussian",
        posterior="full-gaussian",
        about="the VAE whose posterior is a Gaussian with a full covariance matrix",
        paper="Kingma and Welling (2019), arXiv:1906.02691, section 2.5.1",
    ),
    Variant(
        "vae-mixture-posterior",
        posterior="mixture",
        about="the VAE whose posterior is a mixture of diagonal Gaussians of equal weights",
        paper="Kviman et al. (2023), arXiv:2209.15514",
    ),
    Variant(
        "vae-planar",
        posterior="planar",
        about="the VAE whose posterior is a Gaussian pushed through planar flows",
        paper="Rezende and Mohamed (2015), arXiv:1505.05770; van den Berg et al. (2018), arXiv:1803.05649",
    ),
    Variant(
        "vae-householder",
        posterior="householder",
        about="the VAE whose posterior is a Gaussian reflected at planes, with a full covariance",
        paper="Tomczak and Welling (2016), arXiv:1611.09630",
    ),
    Variant(
        "vae-sylvester",
        posterior="sylvester",
        about="the VAE whose posterior is a Gaussian pushed through Sylvester flows",
        paper="van den Berg et al. (2018), arXiv:1803.05649",
    ),
    Variant(
        "vae-iaf",
        posterior="iaf",
        about="the VAE whose posterior is a Gaussian pushed through inverse autoregressive flows",
        paper="Kingma et al. (2016), arXiv:1606.04934",
    ),
    Variant(
        "vae-spline",
        posterior="spline",
        about="the VAE whose posterior is a Gaussian pushed through coupling layers of splines",
        paper="Durkan et al. (2019), arXiv:1906.04032",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
