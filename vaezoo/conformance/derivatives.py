"""The proof that automatic differentiation gives the derivatives of every term of the bounds: no path is cut."""

import torch
from torch import Tensor

from vaezoo.conformance.modules import terms
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import MODULE_SLOTS, Subject
from vaezoo.conformance.verdict import must

STEP = 1e-6
TOLERANCE = 1e-3


@PROOFS.add("derivatives", *(slot for slot in MODULE_SLOTS if slot != "objective"))
def derivatives(subject: Subject) -> str:
    """d/dtheta of z, log q(z|x), log p(z), log p(x|z) and KL, at fixed noise, is their finite difference.

    Each parameter is moved along one random direction, in float64, and the entries of each term are weighted at random.
    A direction along which the differences over one and over three steps disagree crosses a kink, and is left out.
    """
    model = subject.build(double=True, altered=True)[0].eval()
    batch = subject.batch(model)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    generator = torch.Generator().manual_seed(3)
    first = terms(model, batch, 3)
    weights = {
        name: torch.randn(value.shape, generator=generator, dtype=value.dtype) * value.isfinite()
        for name, value in first.items()
    }

    def weighted(found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each term as one number; entries outside a support, where log p is -inf, do not count."""
        return {name: (value.nan_to_num() * weights[name]).sum() for name, value in found.items()}

    values = weighted(first)
    gradients = {name: _gradient(value, list(named.values())) for name, value in values.items()}
    checked = 0
    for number, (title, parameter) in enumerate(named.items()):
        start = parameter.detach().clone()
        direction = torch.randn(start.shape, generator=generator, dtype=start.dtype)
        ends = []
        with torch.no_grad():
            for steps in (1, -1, 3, -3):
                parameter.copy_(start + steps * STEP * direction)
                ends.append(weighted(terms(model, batch, 3)))
            parameter.copy_(start)
        for name, value in values.items():
            near, far = ((ends[n][name] - ends[n + 1][name]) / (2 * (n + 1) * STEP) for n in (0, 2))
            slope = float((gradients[name][number] * direction).sum())
            slack = TOLERANCE * abs(float(near)) + STEP * (1 + abs(float(value.detach())))
            if abs(float(near - far)) <= slack:
                detail = f"the slope of {name} along {title} is {slope:.6g}, its finite difference {float(near):.6g}"
                must(abs(slope - float(near)) <= slack, f"{slope:.4g}", detail)
                checked += 1
    return f"{checked} slopes"


def _gradient(value: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """The gradient by each parameter, 0 by those on which the value does not depend."""
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
