"""LatentModel: encoder, posterior, prior, decoder and likelihood as one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.core import noise
from vaezoo.core.contracts import (
    Decoder,
    Encoder,
    Latents,
    Likelihood,
    Posterior,
    PosteriorDistribution,
    Prior,
    supports,
)
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch, Draws
from vaezoo.core.errors import NoClosedForm, Skip, VaezooError, described
from vaezoo.core.fixed_weights import encoded
from vaezoo.core.precision import computing, known_precision
from vaezoo.core.progress_bar import with_progress
from vaezoo.core.requests import call_with_requests, requested_arguments, requests_of, skip_without_context

Images = Tensor | np.ndarray
"""Images or context as a user has them: a tensor or a numpy array."""
INSIDE = 1 - 1e-4
"""The largest length of a latent that is moved inside the unit ball."""


class LatentModel(nn.Module):
    """p(x|z) p(z) with q(z|x): encoder, posterior, prior, decoder and likelihood.

    `posterior` and `log_joint` are the two primitives; `draw`, `sample`, `reconstruct`, `encode` and `decode` compose
    them. Each call of a part's method serves the arguments that the method names, so no part keeps another part.

    latents: the size of each latent group, top first. conditional: whether a part requests the images' context; then
    everything is given x and context, and p(x) below is p(x|context).

    Raises VaezooError where a part requests what its method cannot be served, and where a shape is wrong; Skip where a
    part requests a context that the data do not have, and where posterior and prior have different supports.
    """

    def __init__(
        self,
        encoder: Encoder,
        posterior: Posterior,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
        spec: DataSpec,
        latents: Sequence[int] | None = None,
    ):
        super().__init__()
        self.encoder, self.posterior_net, self.prior = encoder, posterior, prior
        self.decoder, self.likelihood, self.spec = decoder, likelihood, spec
        self.pseudo_likelihood = spec.measure not in likelihood.measures
        self.precision = "float32"
        first = next(self.parameters())
        self._place: Tensor
        self.register_buffer("_place", torch.empty(0, device=first.device, dtype=first.dtype), persistent=False)
        self.conditional = self._is_conditional()
        self.latents = None if latents is None else tuple(latents)
        kinds = [supports(part, len(latents or (1,))) for part in (posterior, prior)]
        if kinds[0] != kinds[1]:
            raise Skip(
                f"posterior {type(posterior).__name__} lives on {' and '.join(kinds[0])}, "
                f"prior {type(prior).__name__} on {' and '.join(kinds[1])}; use two parts of one support"
            )

    def _is_conditional(self) -> bool:
        """Whether a part requests context; checks all requests on the way."""
        parts = {"encoder": self.encoder, "posterior": self.posterior_net, "prior": self.prior}
        parts |= {"decoder": self.decoder, "likelihood": self.likelihood}
        found = False
        for slot, part in parts.items():
            requested = [name for each in requests_of(slot, part).values() for name, _ in each]
            if self.spec.context is None:
                skip_without_context(slot, type(part), f"{slot} {type(part).__name__}")
            else:
                found |= "context" in requested
        return found

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

    def batch(
        self,
        x: Images,
        context: Images | None = None,
        index: Tensor | None = None,
        progress: Tensor | None = None,
    ) -> Batch:
        """A Batch on the model's device from images as they are stored or as floats. x: [B, *shape], context: [B, C]

        Raises VaezooError for another shape, a conditional model without context and context for one that is not.
        """
        x = torch.as_tensor(x)
        if tuple(x.shape[1:]) != self.spec.shape:
            raise VaezooError(f"x must be [B, {', '.join(map(str, self.spec.shape))}], got {list(x.shape)}")
        images = self.spec.to_float(x.to(self.device)).to(self.dtype)
        return Batch(images, self._context(context, len(x)), index, progress)

    def _context(self, context: Images | None, count: int) -> Tensor | None:
        """The context of `count` images on the model's device, checked."""
        if not self.conditional:
            if context is not None:
                raise VaezooError("this model is not conditional: none of its parts requests context; give none")
            return None
        wanted = f"[{count}, {self.spec.context}]"
        if context is None:
            raise VaezooError(f"this model is conditional: give the context of the images, {wanted}")
        context = torch.as_tensor(context)
        if tuple(context.shape) != (count, self.spec.context):
            raise VaezooError(f"context must be {wanted}, got {list(context.shape)}")
        return context.to(self.device, self.dtype)

    def _call(self, method: Callable[..., Any], *own: Any, batch: Batch | None, entry: Any = None, **more: Any) -> Any:
        """Call a part's method and serve what it requests."""
        return call_with_requests(method, *own, parts=_Served(self, batch, more), entry=entry)

    def _encode_images(self, x: Tensor, context: Tensor | None = None) -> PosteriorDistribution:
        requested = (*requested_arguments(self.encoder.forward, 1), *requested_arguments(self.posterior_net.forward, 1))
        if context is None and ("context", True) in requested:
            raise Skip(
                f"prior {type(self.prior).__name__} encodes images without context, and the encoder or the posterior "
                "of this conditional model requests it; use another prior"
            )
        return encoded(self, lambda: self.posterior(Batch(x, context)), x, context)

    def posterior(self, batch: Batch) -> PosteriorDistribution:
        """q(z|x) of each image."""
        encoder, posterior = self.encoder, self.posterior_net
        features = self._network(lambda: self._call(encoder.forward, batch.x, batch=batch, entry=encoder))
        q: PosteriorDistribution = self._call(posterior.forward, features, batch=batch, entry=posterior)
        return q

    def log_posterior(self, batch: Batch, z: Latents, stopped: bool = False) -> Tensor:
        """log q(z|x) of given points in nats. [L, K, B]

        stopped=True cuts every parameter that log q is computed with from the graph, also those of networks that run
        inside q's `log_prob` and those of a prior that the posterior is served, so that the gradient is the one through
        z alone. Raises Skip where q can score only its own samples.
        """
        score = _Score(self)
        if stopped:
            cut = {name: parameter.detach() for name, parameter in score.named_parameters()}
            value = functional_call(score, cut, (batch, z))
        else:
            value = score(batch, z)
        if value is None:
            raise Skip(
                f"{described(type(self.posterior_net))} can score only its own samples; use a posterior whose q has "
                "log_prob(z)"
            )
        return _checked("log_posterior", value, "LKB", z, self.posterior_net)

    def log_likelihood(self, batch: Batch, z: Latents) -> Tensor:
        """log p(x|z) in nats. [K, B]"""
        parameters = self.decoder_output(batch, z)
        value = self._call(self.likelihood.log_prob, batch.x, parameters, batch=batch)
        return _checked("log_likelihood", value, "KB", z, self.likelihood)

    def mean_image(self, batch: Batch, parameters: Tensor) -> Tensor:
        """E[x|z] of the decoder's parameters. [..., B, *parameter_shape] -> [..., B, *shape]"""
        mean: Tensor = self._call(self.likelihood.mean, parameters, batch=batch)
        return mean

    def decoder_output(self, batch: Batch, z: Latents) -> Tensor:
        """The decoder's parameters of p(x|z). [K, B, *parameter_shape]"""
        return self._network(lambda: self.decoder.parameters_of(z, _Served(self, batch, {})))

    def log_prior(self, batch: Batch, z: Latents) -> Tensor:
        """log p(z) of each latent group in nats. [L, K, B]"""
        prior = self.prior
        if type(prior).log_prob is Prior.log_prob and len(z) == 1:
            value = self._call(prior.log_density, z[0], batch=batch)[None]
        else:
            value = self._call(prior.log_prob, z, batch=batch)
        return _checked("log_prior", value, "LKB", z, prior)

    def log_joint(self, batch: Batch, z: Latents) -> tuple[Tensor, Tensor]:
        """(log p(x|z) [K, B], log p(z) [L, K, B]) in nats."""
        return self.log_likelihood(batch, z), self.log_prior(batch, z)

    def kl(self, batch: Batch, q: PosteriorDistribution, z: Latents) -> tuple[Tensor, ...] | None:
        """KL(q(z|x) || p(z)) in closed form, [B, Z_l] in nats for each group, or None.

        z: the samples, for a prior whose groups depend on those above them; the mean over K is taken.
        """
        kl = self._call(self.prior.kl, q, batch=batch, z=z)
        if kl is None and (other := getattr(q, "for_kl", None)) is not None:
            with suppress(NoClosedForm):
                kl = self._call(self.prior.kl, other, batch=batch, z=z)
        wanted = [(group.shape[1], group.shape[2]) for group in z]
        if kl is not None and (not isinstance(kl, tuple) or [tuple(each.shape) for each in kl] != wanted):
            shapes = [list(each.shape) for each in kl] if isinstance(kl, tuple) else type(kl).__name__
            raise VaezooError(
                f"kl must be a tuple of [B, Z_l], {[list(each) for each in wanted]}, got {shapes} "
                f"from {described(type(self.prior))}"
            )
        found: tuple[Tensor, ...] | None = kl
        return found

    def draw(self, batch: Batch, samples: int) -> Draws:
        """K samples of each image's posterior, with the terms of every bound. Gradients flow through the samples."""
        with noise.fallback(self.device, self.dtype):
            return self.draw_from(self.posterior(batch), batch, samples)

    def draw_from(self, q: PosteriorDistribution, batch: Batch, samples: int) -> Draws:
        """`draw` from a given posterior, so that the encoder runs once for many blocks of samples."""
        z, log_q = q.rsample_and_log_prob(samples)
        if any(group.shape[:2] != (samples, batch.x.shape[0]) for group in z):
            shapes = [list(group.shape) for group in z]
            wanted = f"one [K={samples}, B={batch.x.shape[0]}, Z] for each group"
            raise VaezooError(f"z must be {wanted}, got {shapes} from {described(type(self.posterior_net))}")
        return Draws(self, batch, q, z, _checked("log_posterior", log_q, "LKB", z, self.posterior_net))

    def encode(self, x: Images, context: Images | None = None) -> PosteriorDistribution:
        """q(z|x) of images as they are stored or as floats. [B, *shape]"""
        return self.posterior(self.batch(x, context))

    @torch.no_grad()
    def decode(self, z: Images | Latents, context: Images | None = None) -> Tensor:
        """E[x|z] of latents: [N, Z], or a tuple of [N, Z_l], top first -> [N, *shape]

        With an autoregressive decoder, whose E[x|z] has no closed form, the mean of each pixel given drawn ones.
        """
        groups = z if isinstance(z, tuple) else (torch.as_tensor(z),)
        groups = tuple(torch.as_tensor(group).to(self.device, self.dtype) for group in groups)
        sizes = [group.shape[-1] for group in groups]
        if any(group.ndim != 2 for group in groups) or (self.latents and sizes != list(self.latents)):
            wanted = " and ".join(f"[N, {size}]" for size in self.latents or ("Z",))
            raise VaezooError(f"z must be {wanted}, got {' and '.join(str(list(group.shape)) for group in groups)}")
        return self._decoded(groups, self.likelihood.mean, self._context(context, len(groups[0])))

    @torch.no_grad()
    def sample(self, n: int, context: Images | None = None) -> Tensor:
        """n images drawn from p(x|z) p(z), for a conditional model one for each context [n, C]. [n, *shape]"""
        return self.simulate(self.prior_sample(n, context), context)

    @torch.no_grad()
    def simulate(self, z: Latents, context: Images | None = None) -> Tensor:
        """An image drawn from p(x|z) for each of n latents. A tuple of [n, Z_l] -> [n, *shape]"""
        with noise.without_images():
            return self._decoded(z, self.likelihood.sample, self._context(context, len(z[0])))

    @torch.no_grad()
    def reconstruct(self, x: Images, context: Images | None = None) -> Tensor:
        """E[x|z] at one draw z ~ q(z|x) of each image; with an autoregressive decoder of each pixel given those before
        it. [B, *shape] -> [B, *shape]
        """
        batch = self.batch(x, context)
        with noise.fallback(self.device, self.dtype):
            return self.mean_image(batch, self.decoder_output(batch, self.draw(batch, 1).z)[0])

    @torch.no_grad()
    def interpolate(self, a: Images, b: Images, steps: int = 8, context: Images | None = None) -> Tensor:
        """E[x|z] along straight lines between one draw of q(z|a) and one of q(z|b), ends included; on a sphere along
        the arcs above them. [B, *shape] twice -> [steps, B, *shape]
        """
        if steps < 2:
            raise VaezooError(f"steps must be 2 or more, got {steps}")
        ends = []
        for x in (a, b):
            batch = self.batch(x, context)
            ends.append(tuple(group[0] for group in self.draw(batch, 1).z))
        weights = torch.linspace(0, 1, steps, device=self.device, dtype=self.dtype)
        lines = [tuple(torch.lerp(u, v, weight) for u, v in zip(*ends, strict=True)) for weight in weights]
        return torch.stack([self.decode(self._in_support(z), context) for z in lines])

    @torch.no_grad()
    def traverse(
        self, x: Images, dim: int, values: Sequence[float], context: Images | None = None, group: int = -1
    ) -> Tensor:
        """E[x|z] where one latent dimension of one draw of q(z|x) takes each of the values.

        [B, *shape] -> [len(values), B, *shape]. group: the latent group of `dim`, the lowest one when left out. On a
        sphere, and in a ball where the latents would leave it, they are then scaled back.
        """
        z = tuple(each[0] for each in self.draw(self.batch(x, context), 1).z)
        if not -z[group].shape[-1] <= dim < z[group].shape[-1]:
            raise VaezooError(f"dim must be one of the {z[group].shape[-1]} latent dimensions, got {dim}")
        found = []
        for value in values:
            moved = [each.clone() for each in z]
            moved[group][:, dim] = value
            found.append(self.decode(self._in_support(tuple(moved)), context))
        return torch.stack(found)

    def _in_support(self, z: Latents) -> Latents:
        """Latents scaled onto the sphere, or into the ball, where their groups live. A tuple of [n, Z_l]"""
        found = []
        for group, kind in zip(z, supports(self.prior, len(z)), strict=True):
            norm = group.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(group.dtype).tiny)
            scale = {"sphere": 1 / norm, "ball": (INSIDE / norm).clamp(max=1)}.get(kind)
            found.append(group if scale is None else group * scale)
        return tuple(found)

    @torch.no_grad()
    def prior_sample(self, n: int, context: Images | None = None) -> Latents:
        """n draws from p(z), a tuple of [n, Z_l]."""
        batch = Batch(self._place.new_empty(0), self._context(context, n))
        with noise.fallback(self.device, self.dtype), noise.without_images():
            z = self._call(self.prior.sample, n, batch=batch)
        z = z if isinstance(z, tuple) else (z,)
        return tuple(group.to(self.device, self.dtype) for group in z)

    def _decoded(self, z: Latents, finish: Callable[[Tensor], Tensor], context: Tensor | None) -> Tensor:
        """What `finish` makes of the parameters of p(x|z). A tuple of [n, Z_l] -> [n, *shape]"""
        count = len(z[0])
        groups = tuple(group[None] for group in z)
        batch = Batch(torch.zeros(count, *self.spec.shape, device=self.device, dtype=self.dtype), context)
        with noise.fallback(self.device, self.dtype):
            if self.decoder.autoregressive:
                for place in with_progress(self.decoder.pixel_order(self.spec.shape).tolist(), "pixels"):
                    parameters = self.decoder_output(batch, groups)[0]
                    drawn = self._call(self.likelihood.sample, parameters, batch=batch).flatten(1)
                    batch.x.view(count, -1)[:, place] = drawn[:, place]
                if finish == self.likelihood.sample:
                    return batch.x
            image: Tensor = self._call(finish, self.decoder_output(batch, groups)[0], batch=batch)
            return image


class _Served(dict[str, Any]):
    """The arguments that parts may request, each made when it is requested."""

    def __init__(self, model: LatentModel, batch: Batch | None, more: dict[str, Any]):
        super().__init__(more)
        self.model, self.batch = model, batch

    def __contains__(self, name: object) -> bool:
        if dict.__contains__(self, name) or name in ("encode", "prior"):
            return True
        if self.batch is None or name not in ("x", "context", "index", "progress", "log_joint"):
            return False
        return name != "context" or self.batch.context is not None

    def __missing__(self, name: str) -> Any:
        model, batch = self.model, self.batch
        if name == "encode":
            return model._encode_images
        if name == "prior":
            return model.prior
        if batch is None:
            raise KeyError(name)
        if name == "log_joint":
            return lambda z: model.log_likelihood(batch, z) + model.log_prior(batch, z).sum(0)
        if name == "index":
            return batch.training_index
        return batch.training_progress if name == "progress" else getattr(batch, name)


class _Score(nn.Module):
    """log q(z|x) of given points as a module, whose parameters `functional_call` can replace."""

    def __init__(self, model: LatentModel):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, z: Latents) -> Tensor | None:
        """[L, K, B], or None where q can score only its own samples."""
        return self.model.posterior(batch).log_prob(z)


def _checked(name: str, value: Tensor, letters: str, z: Latents, part: nn.Module) -> Tensor:
    sizes = {"L": len(z), "K": z[0].shape[0], "B": z[0].shape[1]}
    if tuple(value.shape) != tuple(sizes[letter] for letter in letters):
        expected = ", ".join(f"{letter}={sizes[letter]}" for letter in letters)
        raise VaezooError(f"{name} must be [{expected}], got {list(value.shape)} from {described(type(part))}")
    return value
