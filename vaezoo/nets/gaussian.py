"""A network whose output is a diagonal Gaussian."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.dense import dense_stack
from vaezoo.nets.linear import Linear


class GaussianNet(nn.Module):
    """N(mean(h), diag(std(h)^2)): dense layers of these widths, each followed by the activation, then linear heads for
    the mean and the bounded log_std. [..., inputs] -> a DiagonalGaussian over [..., outputs]
    """

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int, *, activation: str = "relu"):
        super().__init__()
        last = widths[-1] if widths else inputs
        self.net = nn.Sequential(dense_stack(inputs, widths, activation), Linear(last, 2 * outputs))

    def forward(self, h: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.from_heads(self.net(h))
