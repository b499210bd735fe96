"""Variants that differ from the VAE in the networks of their encoder and decoder."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "conv-vae",
        encoder="conv",
        decoder="conv",
        about="the VAE of convolutions of stride 2 and their transposes; images only",
        paper="Salimans et al. (2015), arXiv:1410.6460",
    ),
    Variant(
        "resnet-vae",
        encoder="resnet",
        decoder="resnet",
        about="the VAE of residual blocks of convolutions, without normalisation; images only",
        paper="Kingma et al. (2016), arXiv:1606.04934; He et al. (2016), arXiv:1603.05027",
    ),
    Variant(
        "pixel-vae",
        encoder="conv",
        decoder="pixelcnn",
        about="the VAE whose decoder draws pixel by pixel, each given z and the pixels before it; images only",
        paper="Gulrajani et al. (2017), arXiv:1611.05013",
    ),
    Variant(
        "spatial-broadcast-vae",
        encoder="conv",
        decoder="spatial-broadcast",
        about="the VAE whose decoder sees z and the coordinates at each pixel; images only",
        paper="Watters et al. (2019), arXiv:1901.07017",
    ),
    Variant(
        "skip-vae",
        decoder="skip",
        about="the VAE whose decoder gives z to each of its layers, which keeps information in z",
        paper="Dieng et al. (2019), arXiv:1807.04863",
    ),
    Variant(
        "conv-hvae",
        encoder="gated-conv",
        posterior="top-down",
        prior="top-down",
        decoder="gated-conv",
        about="gated convolutions with several latent groups, latent = [20, 20], top first, drawn from the top down; "
        "images only",
        paper="Tomczak and Welling (2018), arXiv:1705.07120",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
