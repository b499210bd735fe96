"""LatentModel: encoder, posterior, prior, decoder and likelihood as one model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.core import noise
from vaezoo.core.contracts import Decoder, Encoder, Latents, Likelihood, Posterior, PosteriorDistribution, Prior
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch, Draws
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.precision import computing, known_precision
from vaezoo.core.requests import SERVABLE, call_with_requests, requested_arguments


class LatentModel(nn.Module):
    """p(x|z) p(z) with q(z|x): encoder, posterior, prior, decoder and likelihood.

    `posterior` and `log_joint` are the two primitives; `draw`, `sample`, `reconstruct` and `encode` compose them. Each
    call of a part's method serves the arguments that the method names, so no part keeps another part.

    Raises Skip where a part requests an argument that cannot be served, and VaezooError, which names the part, where a
    shape is wrong.
    """

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        spec: DataSpec,
    ):
        super().__init__()
        self.encoder, self.posterior_net, self.prior = encoder, posterior, prior
        self.decoder, self.likelihood, self.spec = decoder, likelihood, spec
        self.pseudo_likelihood = spec.measure not in likelihood.measures
        self.precision = "float32"
        first = next(self.parameters())
        self._place: Tensor
        self.register_buffer("_place", torch.empty(0, device=first.device, dtype=first.dtype), persistent=False)
        served = [name for name in SERVABLE if name != "context" or spec.context is not None]
        for part, methods in self._requests().items():
            for method, own in methods:
                for name, required in requested_arguments(method, own):
                    if required and name not in served:
                        raise Skip(
                            f"{part} {type(method.__self__).__name__} asks for '{name}' in {method.__name__}, "
                            f"which cannot be served here (there are: {', '.join(served)})"
                        )

    def _requests(self) -> dict[str, list[tuple[Any, int]]]:
        return {
            "encoder": [(self.encoder.forward, 1)],
            "posterior": [(self.posterior_net.forward, 1)],
            "prior": [
                (self.prior.log_density, 1),
                (self.prior.log_prob, 1),
                (self.prior.sample, 1),
                (self.prior.kl, 1),
            ],
            "decoder": [(self.decoder.forward, 1)],
            "likelihood": [(self.likelihood.log_prob, 2)],
        }

    @property
    def conditional(self) -> bool:
        """Whether a part requests the images' context."""
        requested = [
            name for all_of in self._requests().values() for m, own in all_of for name, _ in requested_arguments(m, own)
        ]
        return self.spec.context is not None and "context" in requested

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self._place.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the parameters."""
        return self._place.dtype

    @property
    def precision(self) -> str:
        """The precision in which encoder and decoder multiply: `float32`, `tf32` or `bfloat16`. Their results have the
        model's dtype.

        VaezooError where another one is assigned.
        """
        return self._precision

    @precision.setter
    def precision(self, name: str) -> None:
        self._precision = known_precision(name)

    def _network(self, run: Callable[[], Tensor]) -> Tensor:
        """The result of an encoder or a decoder, computed in the model's precision."""
        if self._precision == "float32":
            return run()
        with computing(self._precision, self.device):
            return run().to(self.dtype)

    def batch(self, x: Tensor, context: Tensor | None = None, index: Tensor | None = None) -> Batch:
        """A Batch on the model's device from images as they are stored or as floats. x: [B, *shape]"""
        if tuple(x.shape[1:]) != self.spec.shape:
            raise VaezooError(f"x must be [B, {', '.join(map(str, self.spec.shape))}], got {list(x.shape)}")
        return Batch(self.spec.to_float(x.to(self.device)).to(self.dtype), context, index)

    def _parts(self, batch: Batch | None) -> dict[str, Any]:
        parts: dict[str, Any] = {"encode": self._encode_images, "prior": self.prior}
        if batch is not None:
            parts |= {"x": batch.x, "index": batch.index, "log_joint": lambda z: self._log_joint_total(batch, z)}
            if batch.context is not None:
                parts["context"] = batch.context
        return parts

    def _encode_images(self, x: Tensor) -> PosteriorDistribution:
        return self.posterior(Batch(x))

    def _log_joint_total(self, batch: Batch, z: Latents) -> Tensor:
        log_likelihood, log_prior = self.log_joint(batch, z)
        return log_likelihood + log_prior.sum(0)

    def posterior(self, batch: Batch, stopped: bool = False) -> PosteriorDistribution:
        """q(z|x) of each image.

        stopped=True runs encoder and posterior with detached weights, so that log q depends on them only through z
        (sticking the landing, DReG).
        """
        parts = self._parts(batch)
        encoder, posterior = self.encoder, self.posterior_net
        encode, distribute = (_cut(encoder), _cut(posterior)) if stopped else (encoder, posterior)
        features = self._network(lambda: call_with_requests(encoder.forward, batch.x, parts=parts, entry=encode))
        q: PosteriorDistribution = call_with_requests(posterior.forward, features, parts=parts, entry=distribute)
        return q

    def log_likelihood(self, batch: Batch, z: Latents) -> Tensor:
        """log p(x|z) in nats. [K, B]"""
        parts = self._parts(batch)
        parameters = self._network(lambda: self.decoder.parameters_of(z, parts))
        value = call_with_requests(self.likelihood.log_prob, batch.x, parameters, parts=parts)
        return _checked("log_likelihood", value, "KB", z, self.likelihood)

    def log_prior(self, batch: Batch, z: Latents) -> Tensor:
        """log p(z) of each latent group in nats. [L, K, B]"""
        return _checked(
            "log_prior", call_with_requests(self.prior.log_prob, z, parts=self._parts(batch)), "LKB", z, self.prior
        )

    def log_joint(self, batch: Batch, z: Latents) -> tuple[Tensor, Tensor]:
        """(log p(x|z) [K, B], log p(z) [L, K, B]) in nats."""
        return self.log_likelihood(batch, z), self.log_prior(batch, z)

    def kl(self, batch: Batch, q: PosteriorDistribution) -> Tensor | None:
        """KL(q(z|x) || p(z)) in closed form, [L, B, Z] in nats, or None."""
        kl: Tensor | None = call_with_requests(self.prior.kl, q, parts=self._parts(batch))
        return kl

    def draw(self, batch: Batch, samples: int) -> Draws:
        """K samples of each image's posterior, with the terms of every bound. Gradients flow through the samples."""
        with noise.fallback(self.device, self.dtype):
            return self.draw_from(self.posterior(batch), batch, samples)

    def draw_from(self, q: PosteriorDistribution, batch: Batch, samples: int) -> Draws:
        """`draw` from a given posterior, so that the encoder runs once for many blocks of samples."""
        z, log_q = q.rsample_and_log_prob(samples)
        if any(group.shape[:2] != (samples, batch.x.shape[0]) for group in z):
            shapes = [list(group.shape) for group in z]
            wanted = f"[K={samples}, B={batch.x.shape[0]}, Z] a group"
            raise VaezooError(f"z must be {wanted}, got {shapes} from {_where(self.posterior_net)}")
        return Draws(self, batch, q, z, _checked("log_posterior", log_q, "LKB", z, self.posterior_net))

    def encode(self, x: Tensor) -> PosteriorDistribution:
        """q(z|x) of images as they are stored or as floats. [B, *shape]"""
        return self.posterior(self.batch(x))

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        """n images drawn from p(x|z) p(z), of a conditional model one for each context [n, C]. [n, *shape]"""
        return self.simulate(self.prior_sample(n), context)

    @torch.no_grad()
    def simulate(self, z: Latents, context: Tensor | None = None) -> Tensor:
        """An image drawn from p(x|z) for each of n latents. A tuple of [n, Z_l] -> [n, *shape]

        Raises NotImplementedError where the decoder needs x, which does not exist before it is drawn.
        """
        if ("x", True) in requested_arguments(self.decoder.forward, 1):
            raise NotImplementedError(f"{_where(self.decoder)} must be handed x: give it a default to sample without")
        return self._decoded(z, self.likelihood.sample, context=context)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x|z] at one draw z ~ q(z|x) of each image. [B, *shape] -> [B, *shape]"""
        batch = self.batch(x)
        return self._decoded(tuple(group[0] for group in self.draw(batch, 1).z), self.likelihood.mean, batch)

    @torch.no_grad()
    def prior_sample(self, n: int) -> Latents:
        """n draws from p(z), a tuple of [n, Z_l]."""
        with noise.fallback(self.device, self.dtype):
            z = call_with_requests(self.prior.sample, n, parts=self._parts(None))
        z = z if isinstance(z, tuple) else (z,)
        return tuple(group.to(self.device, self.dtype) for group in z)

    def _decoded(
        self, z: Latents, finish: Callable[[Tensor], Tensor], batch: Batch | None = None, context: Tensor | None = None
    ) -> Tensor:
        with noise.fallback(self.device, self.dtype):
            groups, parts = tuple(group[None] for group in z), self._parts(batch)
            if context is not None:
                parts["context"] = context.to(self.device, self.dtype)
            return finish(self._network(lambda: self.decoder.parameters_of(groups, parts))[0])


def _cut(module: nn.Module) -> Callable[..., Any]:
    """A function that runs the module with every parameter detached."""

    def run(*args: Any, **kwargs: Any) -> Any:
        stopped: Mapping[str, Tensor] = {name: p.detach() for name, p in module.named_parameters()}
        return functional_call(module, dict(stopped), args, kwargs)

    return run


def _where(part: nn.Module) -> str:
    """A part's class and where it is written: `StudentT (mine.py:12)`."""
    kind = type(part)
    try:
        return f"{kind.__name__} ({Path(inspect.getsourcefile(kind) or '?').name}:{inspect.getsourcelines(kind)[1]})"
    except (OSError, TypeError):
        return kind.__name__


def _checked(name: str, value: Tensor, letters: str, z: Latents, part: nn.Module) -> Tensor:
    sizes = {"L": len(z), "K": z[0].shape[0], "B": z[0].shape[1]}
    if tuple(value.shape) != tuple(sizes[letter] for letter in letters):
        expected = ", ".join(f"{letter}={sizes[letter]}" for letter in letters)
        raise VaezooError(f"{name} must be [{expected}], got {list(value.shape)} from {_where(part)}")
    return value
