"""Wrong encoders and decoders, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

encoder, decoder = vaezoo.register.encoder, vaezoo.register.decoder


@encoder("dense")
class Dense(vaezoo.Encoder):
    """One layer."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.net, self.features = nn.Linear(spec.dimensions, 8), (8,)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(self.net(x.flatten(1))).relu()


@encoder("batch-norm-wrong")
class BatchNormWrong(Dense):
    """Statistics of the batch, in train mode, by a layer that the builder does not know."""

    def forward(self, x):
        h = super().forward(x)
        return (h - h.mean(0)) / (h.var(0) + 1e-5).sqrt() if self.training else h


@encoder("batch-mean-wrong")
class BatchMeanWrong(Dense):
    """Subtracts the mean of the batch, in eval mode only."""

    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x - x.mean(0))


@encoder("features-wrong")
class FeaturesWrong(Dense):
    """Says features [8] and gives [1, 8]."""

    def forward(self, x):
        return super().forward(x)[:, None]


@decoder("causal")
class Causal(vaezoo.Decoder):
    """Each pixel's parameters from z and from the pixels before it."""

    autoregressive = True
    diagonal = -1

    def __init__(self, spec: vaezoo.DataSpec, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        size = spec.dimensions
        self.parameter_shape = parameter_shape
        self.of_z = nn.Linear(latent, size)
        self.weight = nn.Parameter(torch.zeros(size, size))

    def forward(self, z, x):
        seen = x.flatten(1) @ self.weight.tril(self.diagonal).T
        return (self.of_z(z) + seen).view(-1, *self.parameter_shape)

    def pixel_order(self, shape):
        return torch.arange(math.prod(shape))


@decoder("causal-wrong")
class CausalWrong(Causal):
    """A mask off by one: each pixel sees itself."""

    diagonal = 0


@decoder("layers")
class Layers(vaezoo.Decoder):
    """Two layers."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.parameter_shape = parameter_shape
        self.first, self.last = nn.Linear(latent, 8), nn.Linear(8, math.prod(parameter_shape))

    def forward(self, z):
        return self.last(self.first(z).tanh()).view(-1, *self.parameter_shape)


@decoder("layers-closure-wrong")
class LayersClosureWrong(Layers):
    """Keeps a layer in a closure: a copy, and a mapped seed, use the old one."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__(latent, parameter_shape)
        first = self.first
        self.begin = lambda z: first(z).tanh()

    def forward(self, z):
        return self.last(self.begin(z)).view(-1, *self.parameter_shape)


@decoder("layers-shape-wrong")
class LayersShapeWrong(Layers):
    """One row for all: broadcast in silence."""

    def forward(self, z):
        return super().forward(z)[..., :1]


@decoder("layers-coupled-wrong")
class LayersCoupledWrong(Layers):
    """Centres over all samples of all images."""

    def forward(self, z):
        return super().forward(z - z.mean(0))


@decoder("layers-memory-wrong")
class LayersMemoryWrong(Layers):
    """Keeps the last activations and adds a little of them the next time."""

    last_seen = 0.0

    def forward(self, z):
        h = self.first(z).tanh()
        bias, self.last_seen = 0.01 * self.last_seen, h.mean()
        return (self.last(h) + bias).view(-1, *self.parameter_shape)


@decoder("every-channel")
class EveryChannel(vaezoo.Decoder):
    """One layer, for images of any shape."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.shape = parameter_shape
        self.net = nn.Linear(latent, math.prod(parameter_shape))

    def forward(self, z):
        return self.net(z).unflatten(-1, self.shape)


@decoder("one-channel-wrong")
class OneChannelWrong(EveryChannel):
    """Gives colour images one channel."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__(latent, (1, *parameter_shape[1:]) if len(parameter_shape) == 3 else parameter_shape)
