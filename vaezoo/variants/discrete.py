"""Variants whose latents are discrete codes, or relax them; and one that trains q without a gradient through z."""

from vaezoo.registry import Variant, register

VARIANTS = (
    Variant(
        "discrete-vae",
        posterior="categorical",
        prior="categorical",
        objective="vimco",
        about="one-hot codes of `block` categories (block = 1: bits) and learned probabilities, trained by VIMCO",
        paper="Mnih and Rezende (2016), arXiv:1602.06725",
    ),
    Variant(
        "vq-vae",
        posterior="nearest-code",
        prior="codebook",
        about="learned vectors as codes, with a stochastic q about the nearest one, so that its bound is one of "
        "log p(x); straight-through gradients",
        paper="van den Oord et al. (2017), arXiv:1711.00937",
    ),
    Variant(
        "vae-binary-concrete",
        posterior="binary-concrete",
        prior="binary-concrete",
        decoder="sigmoid-mlp",
        about="relaxed bits with a density of their own, in posterior and prior alike",
        paper="Maddison et al. (2017), arXiv:1611.00712",
    ),
    Variant(
        "vae-wake-wake",
        objective="wake-wake",
        about="the VAE whose q learns to cover the posterior from weighted samples: reweighted wake-sleep",
        paper="Bornschein and Bengio (2015), arXiv:1406.2751; Le et al. (2019), arXiv:1805.10469",
    ),
)

for variant in VARIANTS:
    register.variant(variant)
