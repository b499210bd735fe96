"""Changes of parts besides the optimiser's: `update(draws)` in each step, and `refit(images)` after each epoch."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.data import Split
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError, described
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import call_with_requests
from vaezoo.evaluation.estimate import evaluating
from vaezoo.training.snapshot import changed_attribute, state_snapshot

REFITTED = 1000
"""The most training images that `refit` gets."""


def updated_buffers(parts: Mapping[str, nn.Module], draws: Draws) -> dict[str, Tensor]:
    """The new value of each buffer of the parts that have `update(draws)`, by its whole name.

    `update` runs on copies of the part's buffers and the buffers stay as they are: the step writes the new values after
    the optimiser's step. VaezooError where `update` changes anything else, or a buffer's shape or dtype.
    """
    found: dict[str, Tensor] = {}
    for title, part in parts.items():
        if callable(getattr(part, "update", None)):
            found |= {f"{title}.{name}": value for name, value in _updated(part, draws).items()}
    return found


def _updated(part: nn.Module, draws: Draws) -> dict[str, Tensor]:
    """The new value of each buffer of a part."""
    owners = {
        f"{prefix}.{key}" if prefix else key: (module, key, buffer)
        for prefix, module in part.named_modules()
        for key, buffer in module.named_buffers(recurse=False)
    }
    parameters = dict(part.named_parameters())
    before, versions = state_snapshot([part]), {name: p._version for name, p in parameters.items()}
    for module, key, buffer in owners.values():
        setattr(module, key, buffer.clone())
    try:
        with torch.no_grad():
            part.update(draws)  # type: ignore[operator]
        new = {name: getattr(module, key) for name, (module, key, _) in owners.items()}
    finally:
        for module, key, buffer in owners.values():
            setattr(module, key, buffer)
    written = [name for name, p in parameters.items() if p._version != versions[name]]
    if name := changed_attribute(before, state_snapshot([part])) or next(iter(written), None):
        raise VaezooError(
            f"update(draws) of {described(type(part))} changes {name!r}, and it may write declared buffers only; "
            f"declare it with register_buffer"
        )
    for name, (_, _, buffer) in owners.items():
        if (new[name].shape, new[name].dtype) != (buffer.shape, buffer.dtype):
            raise VaezooError(
                f"update(draws) of {described(type(part))} must leave the buffer {name!r} {list(buffer.shape)} of "
                f"{buffer.dtype}, got {list(new[name].shape)} of {new[name].dtype}"
            )
    return {name: value.detach().clone() for name, value in new.items()}


def refit(model: LatentModel, parts: Mapping[str, nn.Module], split: Split, *, seed: int, epoch: int) -> None:
    """Call `refit(images)` of each part that has one, without gradients, in eval mode.

    images: at most REFITTED training images [N, *shape] as the parts get them, the same after each epoch, chosen (and
    dynamic ones binarised) by the seed's axis "refit". Where a part's `refit` names `parameters`, it is handed the
    function images -> the parameters of p(x|z) [N, *parameter_shape] at one draw z ~ q(z|x), whose noise is keyed by
    the epoch. VaezooError where `refit` replaces a tensor or changes another attribute.
    """
    methods = [(part, getattr(part, "refit", None)) for part in parts.values()]
    refitted = [(part, method) for part, method in methods if callable(method)]
    if not refitted:
        return
    index = torch.randperm(len(split), generator=torch.Generator().manual_seed(noise.derive(seed, "refit")))[:REFITTED]
    index = index.to(split.x.device)
    given = split.context if model.conditional else None
    context = None if given is None else given[index].to(model.device)
    with evaluating(model):
        with noise.stream(noise.derive(seed, "refit", "binarisation"), index=index):
            images = model.batch(split.images(index), context).x
        for part, method in refitted:
            before = state_snapshot([part])
            served = {"parameters": _decoder_output(model, context, noise.derive(seed, "refit", epoch))}
            call_with_requests(method, images, parts=served)
            if name := changed_attribute(before, state_snapshot([part])):
                raise VaezooError(
                    f"refit of {described(type(part))} assigns {name!r}, and it may write parameters and buffers in "
                    f"place only; use copy_ or fill_"
                )


def _decoder_output(model: LatentModel, context: Tensor | None, key: int) -> Callable[[Tensor], Tensor]:
    """images [N, *shape] -> the parameters of p(x|z) at one draw of q(z|x). [N, *parameter_shape]"""

    def parameters(images: Tensor) -> Tensor:
        """The parameters of p(x|z) of each image."""
        if context is not None and len(images) != len(context):
            raise VaezooError(f"parameters(images) needs all {len(context)} images of refit, got {len(images)}")
        index = torch.arange(len(images), device=model.device)
        with noise.stream(key, index=index, dtype=model.dtype):
            batch = model.batch(images, context)
            return model.decoder_output(batch, model.draw(batch, 1).z)[0]

    return parameters
