"""Dropout with keyed noise."""

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError


class Dropout(nn.Module):
    """In training h_i / (1 - p) with probability 1 - p, else 0, independently for each element; in evaluation h itself.

    The mean over masks is h. A mask is a function of the seed, the step, the image and the sample, and of this layer's
    own key: two passes of one step use the same masks. So the posterior that DReG scores a second time is the one that
    drew the samples, and the steps of a Hamiltonian flow follow one potential. (`torch.nn.Dropout` draws a new mask in
    each pass, from a generator that neither packed seeds nor the order of a batch leave alone.)

    p: the probability of 0, at least 0 and below 1. h: [N, ...] -> the same shape, where N is B, or K * B as a decoder
    sees its latents. Raises VaezooError for another p, and where N is no multiple of the stream's images.

    Srivastava et al. (2014), JMLR 15.
    """

    key: Tensor

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise VaezooError(f"Dropout needs p of at least 0 and below 1, got {p:g}")
        self.p = p
        self.register_buffer("key", torch.randint(1 << 62, ()))

    def forward(self, h: Tensor) -> Tensor:
        """h with each element dropped, or divided by 1 - p; h itself in eval mode. [N, ...] -> [N, ...]"""
        if not self.training or self.p == 0:
            return h
        shape, images = h.shape, noise.source().images
        if images is not None:
            if len(h) % images:
                raise VaezooError(
                    f"Dropout needs [N, ...] with N a multiple of the {images} images, got {list(shape)}: "
                    "flatten samples and images into one axis, samples first"
                )
            shape = torch.Size((len(h) // images, images, *shape[1:]))
        with noise.repeatable(self.key):
            kept = noise.uniform(*shape).view(h.shape) >= self.p
        return h * (kept.to(h) / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
