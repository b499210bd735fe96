"""The variational mixture of posteriors."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.gaussian import DiagonalGaussian, mixture_log_density
from vaezoo.registry import register


@register.prior("vampprior", paper="Tomczak and Welling (2018), arXiv:1705.07120")
class VampPrior(Prior):
    """p(z) = (1/C) sum_c q(z|u_c), with C learned pseudo-inputs u_c.

    The pseudo-inputs start at C training images, shrunk by a tenth towards gray, and are clamped to [0, 1].
    Continuous pseudo-inputs are neither shrunk nor clamped. Raises Skip for counts, and at the first use of a posterior
    that is not Gaussian.
    """

    def __init__(self, spec: DataSpec, train_images: Callable[[int], Tensor], *, components: int = 500):
        super().__init__()
        if components < 1:
            raise VaezooError(f"components must be 1 or more, got {components}")
        if spec.measure == "counts":
            raise Skip("prior 'vampprior' has no pseudo-inputs for counts; use binary, discrete or continuous images")
        self.bounded = spec.measure != "continuous"
        images = train_images(components)
        if len(images) < components:
            raise VaezooError(f"components must be at most the {len(images)} training images, got {components}")
        self.pseudo_inputs = nn.Parameter(0.05 + 0.9 * images if self.bounded else images.clone())

    def _components(self, encode: Callable[[Tensor], PosteriorDistribution]) -> DiagonalGaussian:
        q = encode(self.pseudo_inputs.clamp(0, 1) if self.bounded else self.pseudo_inputs).gaussian
        if q is None:
            raise Skip("prior 'vampprior' needs a Gaussian posterior, for the densities of its components")
        return q

    def log_density(self, z: Tensor, encode: Callable[[Tensor], PosteriorDistribution]) -> Tensor:
        q = self._components(encode)
        return mixture_log_density(z, q.mean, q.log_std, z.new_full((q.mean.shape[0],), -math.log(q.mean.shape[0])))

    def sample(self, n: int, encode: Callable[[Tensor], PosteriorDistribution]) -> Tensor:
        """Draws a pseudo-input, then a point from its posterior. [n, Z]"""
        q = self._components(encode)
        count = q.mean.shape[0]
        chosen = (noise.uniform(n) * count).long().clamp(max=count - 1)
        return DiagonalGaussian(q.mean[chosen], q.log_std[chosen]).rsample(1)[0]
