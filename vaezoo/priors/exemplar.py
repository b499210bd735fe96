"""The exemplar prior: a mixture about the encodings of training images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.gaussian import DiagonalGaussian, bounded_log_std, mixture_log_density
from vaezoo.registry import register

Encode = Callable[[Tensor], PosteriorDistribution]
"""Images [N, *shape] -> q(z|x)."""


@register.prior("exemplar", paper="Norouzi et al. (2020), arXiv:2004.04795")
class Exemplar(Prior):
    """p(z) = (1/N) sum_n N(z; mean(x_n), std^2 I), where mean(x_n) is the posterior's mean at a training image, an
    exemplar, and std is learned and shared by all.

    In training an image's own exemplar is left out, and the sum is divided by the number of the others: else the prior
    could become the image's own posterior. In evaluation all N count. N is fixed; the paper's
    approximation by nearest neighbours is not implemented. Where images are binarised dynamically, an exemplar is the
    gray image.

    exemplars: N; where there are fewer training images, all of them. Raises VaezooError for fewer than 2, and Skip at
    the first use of a posterior that is not Gaussian.
    """

    def __init__(self, train_sample: Callable[[int], tuple[Tensor, Tensor]], train_size: int, *, exemplars: int = 500):
        super().__init__()
        if min(exemplars, train_size) < 2:
            raise VaezooError(
                f"exemplars must be 2 or more, because training leaves an image's own one out, got {exemplars} of "
                f"{train_size} training images"
            )
        images, numbers = train_sample(exemplars)
        self.images: Tensor
        self.numbers: Tensor
        self.register_buffer("images", images)
        self.register_buffer("numbers", numbers)
        self.log_std = nn.Parameter(torch.zeros(()))

    def _components(self, encode: Encode) -> DiagonalGaussian:
        """N(mean(x_n), std^2 I) of all exemplars. [N, Z]"""
        q = encode(self.images).gaussian
        if q is None:
            raise Skip("prior 'exemplar' needs a Gaussian posterior, for the means of its components")
        return DiagonalGaussian(q.mean, bounded_log_std(self.log_std).expand_as(q.mean))

    def log_density(self, z: Tensor, encode: Encode, index: Tensor) -> Tensor:
        """log p(z) in nats, in training without the image's own exemplar. [K, B, Z] -> [K, B]"""
        components = self._components(encode)
        own = index[:, None] == self.numbers  # [B, N]
        count = own.shape[1] - own.sum(-1, keepdim=True)
        log_weight = (-count.to(z.dtype).log()).masked_fill(own, -math.inf)
        return mixture_log_density(z, components.mean, components.log_std, log_weight)

    def sample(self, n: int, encode: Encode) -> Tensor:
        """Draws an exemplar, then a point of its component. [n, Z]"""
        components = self._components(encode)
        count = len(self.numbers)
        chosen = (noise.uniform(n) * count).long().clamp(max=count - 1)
        return DiagonalGaussian(components.mean[chosen], components.log_std[chosen]).draw()
