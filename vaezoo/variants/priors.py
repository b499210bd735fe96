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
        paper="Tomczak and Welling (2018), arXiv:1705.07120, as their MoG prior",
    ),
    Variant(
        "exemplar-vae",
        prior="exemplar",
        about="the VAE whose prior is a mixture about the encodings of training images",
        paper="Norouzi et al. (2020), arXiv:2004.04795",
    ),
    Variant(
        "vae-realnvp-prior",
        prior="realnvp",
        about="the VAE whose prior is a standard normal pushed through affine coupling layers",
        paper="Dinh et al. (2017), arXiv:1605.08803",
    ),
    Variant(
        "vae-student-t",
        prior="student-t",
        about="the VAE whose prior has Student-t dimensions with learned degrees of freedom",
        paper="Mathieu et al. (2019), arXiv:1812.02833",
    ),
    Variant(
        "vae-laplace",
        prior="laplace",
        about="the VAE whose prior has Laplace dimensions, which prefers sparse codes",
        paper="Geadah et al. (2024), Neural Computation 36(12)",
    ),
    Variant(
        "vae-maf-prior",
        prior="maf",
        about="the VAE whose prior is made of a standard normal by masked autoregressive flows",
        paper="Papamakarios et al. (2017), arXiv:1705.07057",
    ),
    Variant(
        "vae-spline-prior",
        prior="spline",
        about="the VAE whose prior is a standard normal pushed through coupling layers of splines",
        paper="Durkan et al. (2019), arXiv:1906.04032",
    ),
    Variant(
        "vae-resampled",
        prior="resampled",
        about="the VAE whose prior is a standard normal from which a learned network rejects draws",
        paper="Bauer and Mnih (2019), arXiv:1810.11428",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
