"""The Gaussian likelihood: its standard deviation is fixed, learned, given for each pixel, or fitted."""

from collections.abc import Callable

from torch import Tensor

from vaezoo.core.contracts import Likelihood
from vaezoo.core.data import DataSpec
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.scale import KindOrOptimal, Scale
from vaezoo.registry import register


@register.likelihood("gaussian", paper="Rybkin et al. (2021), arXiv:2006.13202, for the scale 'optimal'")
class Gaussian(Likelihood):
    """p(x|z) = N(x; mean(z), std^2), of independent pixels. Integrates to 1.

    scale: what std is. `learned`, one parameter for all pixels; `fixed`, `initial_std`; `per-pixel`, the decoder's
    second output, so that the parameters are [2, *shape]; `optimal`, the sigma-VAE, in which `refit` sets

        std^2 = the mean of (x - mean(z))^2 over training images and pixels, at one z ~ q(z|x) each,

    after each epoch: the maximum of E_q[log p(x|z)] over std. Between epochs, and in evaluation, it is fixed. std
    starts at `initial_std` and stays above `min_std`, so that the density stays bounded on images with constant pixels.
    """

    measures = ("continuous",)

    def __init__(
        self, spec: DataSpec, *, scale: KindOrOptimal = "learned", initial_std: float = 0.5, min_std: float = 1e-3
    ):
        super().__init__()
        self.scale = Scale(scale, initial_std, min_std, ("initial_std", "min_std"))
        self.parameter_shape = self.scale.parameter_shape(spec.shape)
        self.axes, self.min_std = len(spec.shape), min_std

    @property
    def refit(self) -> Callable[[Tensor, Callable[[Tensor], Tensor]], None] | None:
        """What fits an optimal std after each epoch; None for a std of another kind."""
        return self._fit_std if self.scale.kind == "optimal" else None

    def _fit_std(self, images: Tensor, parameters: Callable[[Tensor], Tensor]) -> None:
        self.scale.hold((images - parameters(images)).square().mean().sqrt())

    @property
    def raw(self) -> Tensor:
        """The parameter of a learned std, min_std + softplus(raw)."""
        return self.scale.raw

    @property
    def std(self) -> Tensor:
        """The one standard deviation, a scalar, of every kind but `per-pixel`."""
        std: Tensor = self.scale(self.scale.raw if self.scale.kind == "learned" else self.scale.held, 0)[1]
        return std

    def _of(self, parameters: Tensor) -> DiagonalGaussian:
        mean, std = self.scale(parameters, self.axes)
        return DiagonalGaussian(mean, std.log())

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) of each image in nats."""
        normal = self._of(parameters)
        mean, log_std = normal.mean.flatten(2), normal.log_std
        return DiagonalGaussian(mean, log_std.flatten(2) if log_std.ndim else log_std).log_density(x.flatten(1))

    def mean(self, parameters: Tensor) -> Tensor:
        return self._of(parameters).mean

    def sample(self, parameters: Tensor) -> Tensor:
        return self._of(parameters).rsample(1)[0]
