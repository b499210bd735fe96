"""The posterior of discrete codes."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior, Prior
from vaezoo.core.errors import Skip
from vaezoo.nets.codes import BlockCategorical, CodeBlocks
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("categorical", paper="Bengio et al. (2013), arXiv:1308.3432; Jang et al. (2017), arXiv:1611.01144")
class Categorical(Posterior):
    """q(z|x) = prod_n Cat(z_n; softmax(logits_n(x))): Z columns in one-hot blocks of `block` categories; a block of one
    column is a bit with the probability sigmoid(logit). A linear head maps the features to the logits.

    [B, *features] -> a BlockCategorical over [B, Z]; the probabilities of all codes add up to 1. With block = 1 it is
    prod_j Bernoulli(z_j), the codes of Mnih and Rezende (2016), arXiv:1602.06725. A decoder whose first layer is linear
    embeds the codes: its weight's columns are the vectors that stand for the categories.

    straight_through: whether z is given the gradient of its probabilities. It is a surrogate, which lets any objective
    train the encoder. `vimco` and `wake-wake` do not use it: they learn from log q(z|x) alone.

    Raises Skip with a prior whose blocks are others.
    """

    support = "discrete"

    def __init__(self, features: tuple[int, ...], latent: int, *, block: int = 8, straight_through: bool = True):
        super().__init__()
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), latent))
        self.blocks = CodeBlocks(latent, block)
        self.surrogate = straight_through

    def forward(self, features: Tensor, prior: Prior) -> BlockCategorical:
        """q(z|x) of each image. [B, *features] -> codes [K, B, Z]"""
        theirs = getattr(prior, "blocks", None)
        if isinstance(theirs, CodeBlocks) and theirs.width != self.blocks.width:
            raise Skip(
                f"posterior 'categorical' has codes of {self.blocks.width} columns a block, "
                f"the prior of {theirs.width}; give both the same `block`"
            )
        return self.blocks.distribution(self.heads(features), self.surrogate)
