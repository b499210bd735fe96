"""The posterior that quantises the features to the vectors of the prior's codebook."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior, Prior
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.nets.codebook import Codebook, CodebookDistribution
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("nearest-code", paper="van den Oord et al. (2017), arXiv:1711.00937")
class NearestCode(Posterior):
    """q(k_n = k|x) proportional to exp(-|h_n(x) - e_k|^2 / (2 temperature^2)) for each block n of the codebook that the
    prior holds, where h(x) [B, Z] is a linear head of the features. A sample z is the vectors e_k of the chosen codes.

    As the temperature falls to 0, q becomes the nearest code, the one-hot posterior of the paper. At any temperature
    q(k|x) adds up to 1 over all codes, and log q is that of a discrete latent, so that the bounds are those of the
    model p(k) p(x|e_k).

    Kept from the paper: the codebook, the decoder that sees e_k, and the straight-through gradient, by which the
    decoder's gradient at e_k moves h. It is a surrogate, and declared as one. What differs: q is stochastic, and log q
    is in the bound, so that KL(q || p) replaces the terms that tie h to e_k; the gradients of decoder and KL move the
    vectors; the probabilities p(k) are learned together with the rest, and not by a second model afterwards.

    [B, *features] -> a CodebookDistribution over [B, Z]. Raises Skip where the prior has no codebook; VaezooError for a
    temperature that is not above 0.
    """

    support, surrogate = "discrete", True

    def __init__(self, features: tuple[int, ...], latent: int, *, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise VaezooError(f"temperature must be above 0, got {temperature:g}")
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), latent))
        self.temperature = temperature

    def forward(self, features: Tensor, prior: Prior) -> CodebookDistribution:
        """q(z|x) of each image. [B, *features] -> points of the codebook [K, B, Z]"""
        book = getattr(prior, "codebook", None)
        if not isinstance(book, Codebook):
            raise Skip("posterior 'nearest-code' needs a prior that holds a codebook; use the prior 'codebook'")
        h: Tensor = self.heads(features)
        scores = book.scores(h) / self.temperature**2
        return CodebookDistribution(book, scores.log_softmax(-1), h)
