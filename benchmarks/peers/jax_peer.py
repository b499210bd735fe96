"""JAX (`pip install vaezoo[peers-jax]`): an epoch as one compiled scan over its steps, and the estimator in blocks.

The images stay on the device as bytes, Adam is optax's, and the parameters are updated in place (donated).
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jax import Array
from loops import BATCH, RATE, Net
from torch import Tensor, nn

BLOCKS = (2, 5, 10, 25, 50, 100)
"""The numbers of samples a block of which the fastest is taken."""
Layers = list[tuple[Array, Array]]
"""(weight [in, out], bias [out]) of each layer."""


def layers_of(net: nn.Sequential) -> Layers:
    """Copies of the weights of a torch net's linear layers."""
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    return [(jnp.array(each.weight.detach().cpu().numpy().T), jnp.array(each.bias.detach().cpu())) for each in linear]


def dense(layers: Layers, x: Array) -> Array:
    """The layers in turn, with ReLU between them."""
    for place, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        x = jax.nn.relu(x) if place + 1 < len(layers) else x
    return x


def bernoulli(x: Array, logits: Array) -> Array:
    """sum over pixels of x l - log(1 + e^l), in nats."""
    return (x * logits - jnp.maximum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits)))).sum(-1)


def elbo(net: dict[str, Layers], x: Array, key: Array) -> Array:
    """The mean ELBO of a batch with one sample an image, in nats an image."""
    mean, log_std = jnp.split(dense(net["encoder"], x), 2, -1)
    std = jnp.exp(log_std)
    z = mean + std * jax.random.normal(key, mean.shape)
    kl = (0.5 * (mean**2 + std**2 - 1) - log_std).sum(-1)
    return (bernoulli(x, dense(net["decoder"], z)) - kl).mean()


class Training:
    """Training with one compiled function an epoch."""

    def __init__(self, net: Net, x: Tensor):
        self.net = {"encoder": layers_of(net.encoder), "decoder": layers_of(net.decoder)}
        self.images = jnp.array(x.cpu().to(torch.uint8).numpy())
        adam = optax.adam(RATE)
        self.state, self.key = adam.init(self.net), jax.random.key(0)

        @partial(jax.jit, donate_argnums=(0, 1))
        def epoch(net: Any, state: Any, key: Array, images: Array) -> tuple[Any, Any, Array, Array]:
            key, order_key, noise_key = jax.random.split(key, 3)
            steps = len(images) // BATCH
            order = jax.random.permutation(order_key, len(images))[: steps * BATCH].reshape(steps, BATCH)

            def step(carry: Any, inputs: Any) -> tuple[Any, Array]:
                net, state = carry
                index, key = inputs
                x = images[index].astype(jnp.float32)
                loss, gradient = jax.value_and_grad(lambda net: -elbo(net, x, key))(net)
                change, state = adam.update(gradient, state, net)
                return (optax.apply_updates(net, change), state), loss

            (net, state), losses = jax.lax.scan(step, (net, state), (order, jax.random.split(noise_key, steps)))
            return net, state, key, -losses.mean()

        self._epoch = epoch

    def epoch(self) -> float:
        """Train for one epoch; the mean ELBO in nats an image."""
        self.net, self.state, self.key, value = self._epoch(self.net, self.state, self.key, self.images)
        return float(value)


class Estimator:
    """log (1/K) sum_k w_k of images, with the block of samples that is the fastest here."""

    def __init__(self, net: Net, x: Tensor, samples: int):
        self.net = {"encoder": layers_of(net.encoder), "decoder": layers_of(net.decoder)}
        self.x = jnp.array(x.cpu().numpy())
        sizes = [size for size in BLOCKS if samples % size == 0]
        self.block = min(sizes, key=partial(self._seconds, samples))

    def _seconds(self, samples: int, block: int) -> float:
        """The fastest of three runs after one that compiles."""
        self.block = block
        found = []
        for _ in range(4):
            started = time.perf_counter()
            self(samples)
            found.append(time.perf_counter() - started)
        return min(found[1:])

    def __call__(self, samples: int) -> Tensor:
        """The estimates. [N]"""
        seed = np.random.SeedSequence(samples).generate_state(1)[0]
        value = _log_likelihood(self.net, self.x, jax.random.key(int(seed)), samples, self.block)
        return torch.from_numpy(np.array(value))


@partial(jax.jit, static_argnums=(3, 4))
def _log_likelihood(net: dict[str, Layers], x: Array, key: Array, samples: int, block: int) -> Array:
    """The encoder runs once, and a block holds samples of all images. [N, pixels] -> [N]"""
    mean, log_std = jnp.split(dense(net["encoder"], x), 2, -1)
    std, entropy = jnp.exp(log_std), log_std.sum(-1)

    def weights(key: Array) -> Array:
        """The log-weights of a block. [block, N]"""
        noise = jax.random.normal(key, (block, *mean.shape))
        z = mean + std * noise
        return bernoulli(x, dense(net["decoder"], z)) + 0.5 * (noise**2 - z**2).sum(-1) + entropy

    found = jax.lax.map(weights, jax.random.split(key, samples // block))
    return jax.nn.logsumexp(found.reshape(samples, -1), axis=0) - math.log(samples)


def estimator(net: Net, x: Tensor, samples: int) -> tuple[str, Callable[[int], Tensor]]:
    """Its name in a table, with the block size, and the function samples -> estimates."""
    found = Estimator(net, x, samples)
    return f"JAX {jax.__version__}, compiled, blocks of {found.block}", found
