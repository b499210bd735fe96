"""Wrong parts that request context or index, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@vaezoo.register.prior("told")
class Told(vaezoo.Prior):
    """N(z; mean(context), std(context))."""

    def __init__(self, spec: vaezoo.DataSpec, latent: int):
        super().__init__()
        self.heads = nn.Linear(spec.context, 2 * latent)

    def moments(self, context):
        return self.heads(context).chunk(2, -1)

    def log_density(self, z, context):
        mean, log_std = self.moments(context)
        return -(0.5 * ((z - mean) / log_std.exp()) ** 2 + log_std + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n, context):
        mean, log_std = self.moments(context)
        return mean + log_std.exp() * vaezoo.noise.normal(*mean.shape)


@vaezoo.register.prior("told-constant-wrong")
class ToldConstantWrong(Told):
    """Without log std(context)."""

    def log_density(self, z, context):
        return super().log_density(z, context) + self.moments(context)[1].sum(-1)


@vaezoo.register.prior("told-sample-wrong")
class ToldSampleWrong(Told):
    """Samples of another context."""

    def sample(self, n, context):
        return super().sample(n, 2 - context)


@vaezoo.register.prior("left-out")
class LeftOut(vaezoo.Prior):
    """A mixture of a Gaussian for each of eight training images; the image's own is left out."""

    def __init__(self, latent: int):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(8, latent))

    def counted(self, own):
        """How many Gaussians count. [B, 1]"""
        return (~own).sum(-1, keepdim=True)

    def log_density(self, z, index):
        own = index[:, None] == torch.arange(8, device=z.device)
        terms = -(0.5 * (z[..., None, :] - self.mean) ** 2 + HALF_LOG_TWO_PI).sum(-1)
        return (terms - self.counted(own).log()).masked_fill(own, -math.inf).logsumexp(-1)

    def sample(self, n):
        chosen = (vaezoo.noise.uniform(n) * 8).long()
        return vaezoo.DiagonalGaussian(self.mean, torch.zeros_like(self.mean)).mean[chosen] + vaezoo.noise.normal(
            n, self.mean.shape[1]
        )


@vaezoo.register.prior("left-out-wrong")
class LeftOutWrong(LeftOut):
    """Divides by all of them, also where one is left out."""

    def counted(self, own):
        return torch.full_like(own.sum(-1, keepdim=True), 8)


@vaezoo.register.encoder("informed")
class Informed(vaezoo.Encoder):
    """The image and its context, side by side."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.features = (spec.dimensions + spec.context,)

    def forward(self, x, context):
        return torch.cat([x.flatten(1), context], -1)


@vaezoo.register.encoder("informed-coupled-wrong")
class InformedCoupledWrong(Informed):
    """Beside the contexts' deviation from the mean over the batch."""

    def forward(self, x, context):
        return super().forward(x, context - context.mean(0))


@vaezoo.register.encoder("memorising-wrong")
class MemorisingWrong(Informed):
    """Features of the image's place in its batch, where it should be its index."""

    def forward(self, x, context, index):
        place = torch.arange(len(x), dtype=x.dtype, device=x.device)[:, None]
        return super().forward(x, context + place * (index[:, None] >= 0))
