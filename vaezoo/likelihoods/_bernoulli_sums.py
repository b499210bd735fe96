"""The Bernoulli log-likelihood summed over pixels: by a compiled loop where there is one, else by torch's operators."""

from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import compiled
from vaezoo.core.torch_internals import transform_active

LOOP = "vaezoo.likelihoods._bernoulli_loop"
"""The module whose loop takes all pixels in one pass. In float32 it is as exact as the operators, rounded otherwise."""
LARGE = 256
"""The fewest pixels of an image for which a process loads the loop, which takes it some tenths of a second."""
FACTORS = 100
"""The most numbers of [1, 2] that are multiplied at once: float32, bfloat16 and float64 hold the product of 127."""
PIECE = 2**17
"""The most logits that each thread of a CPU works on at once: their intermediate results stay in its own cache."""


class LogProb(torch.autograd.Function):
    """sum over pixels of x l - log(1 + e^l) = x l - max(l, 0) - log(1 + e^-|l|), in nats; and the derivatives by l, if
    the loop has computed them. [..., 1, B, P], [..., K, B, P] -> [..., K, B]
    """

    @staticmethod
    def forward(x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The sums and the derivatives, both in one pass over the logits."""
        return sums(x, logits, slopes=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Saves x and the logits for the gradient, and the derivatives, which are not differentiated themselves."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """d log p / dl = x - sigmoid(l), d log p / dx = l. Where it is differentiated again, by torch's operators."""
        x, logits, slopes = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        by_x = (grad * logits).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return by_x, None
        if torch.is_grad_enabled() or slopes.shape != logits.shape:
            slopes = x - logits.sigmoid()
        return by_x, slopes * grad

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, int | None], x: Tensor, logits: Tensor) -> tuple[Any, Any]:
        """The mapped axis is one more before the others."""
        x = x.unsqueeze(0) if places[0] is None else x.movedim(places[0], 0)
        logits = logits.expand(info.batch_size, *logits.shape) if places[1] is None else logits.movedim(places[1], 0)
        value, slopes = LogProb.apply(x, logits)
        return (value, slopes), (0, 0 if slopes.shape == logits.shape else None)


def sums(x: Tensor, logits: Tensor, slopes: bool) -> tuple[Tensor, Tensor]:
    """The sums over pixels, and x - sigmoid(l) if it is asked for and a loop computes it; else an empty tensor.
    [..., 1, B, P], [..., K, B, P] -> [..., K, B], [..., K, B, P]
    """
    if _loop_takes(x, logits) and compiled.loop(LOOP) is not None:
        value, derivatives = torch.ops.vaezoo.bernoulli_sums(x, logits, slopes)
        return value, derivatives
    whole = logits.expand(*logits.shape[:-1], max(x.shape[-1], logits.shape[-1]))
    return _by_operators(x, whole), logits.new_empty(0)


def _loop_takes(x: Tensor, logits: Tensor) -> bool:
    """Whether the tensors lie in memory as the loop reads them."""
    return (
        all(
            type(each) in (Tensor, nn.Parameter) and each.dtype == torch.float32 and each.device.type == "cpu"
            for each in (x, logits)
        )
        and logits.shape[-1] >= LARGE
        and logits.numel() > 0
        and x.dim() == logits.dim()
        and x.shape[-2:] == logits.shape[-2:]
        and x.shape[-3] == 1
        and x.shape[:-3] in (logits.shape[:-3], (1,) * (x.dim() - 3))
        and not transform_active()
        and not torch.compiler.is_compiling()
    )


_OPERATORS = torch.library.Library("vaezoo", "FRAGMENT")
_OPERATORS.define("bernoulli_sums(Tensor x, Tensor logits, bool slopes) -> (Tensor, Tensor)")


@torch.library.impl(_OPERATORS, "bernoulli_sums", "CPU")
def _by_loop(x: Tensor, logits: Tensor, slopes: bool) -> tuple[Tensor, Tensor]:
    """`sums`, as an operator of torch, so that whoever watches operators sees it: a training step that is recorded."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    x, logits = x.contiguous(), logits.contiguous()
    images, pixels = logits.shape[-2:]
    values = logits.new_empty(logits.shape[:-1])
    derivatives = torch.empty_like(logits) if slopes else logits.new_empty(0)
    rows = values.numel()
    group = rows * images * pixels // x.numel()
    loop(x.data_ptr(), logits.data_ptr(), values.data_ptr(), derivatives.data_ptr(), rows, group, images, pixels)
    return values, derivatives


def _by_operators(x: Tensor, logits: Tensor) -> Tensor:
    """`sums` piece by piece, so that each piece is still in the cache when it is read again."""
    samples = len(logits)
    if x.device.type == "cpu" and logits.dim() == 3:
        samples = max(1, torch.get_num_threads() * PIECE // max(1, x.numel()))
    values = [_piece(x, piece) for piece in (logits.split(samples) if len(logits) > samples else [logits])]
    return torch.cat(values) if len(values) > 1 else values[0]


def _piece(x: Tensor, logits: Tensor) -> Tensor:
    """0 - (sum of max(l, 0) - x l, and of log(1 + e^-|l|)). Memory that is in the cache is used again.

    1 + e^-|l| is in [1, 2], so many of them are multiplied before one logarithm is taken. (torch's own cross-entropy
    spends most of its time on logarithms.) A product has as many roundings as the sum.
    """
    pixels = logits.shape[-1]
    factors = next(number for number in range(FACTORS, 0, -1) if pixels % number == 0)
    larger = logits.clamp_min(0)
    factor = torch.sub(logits, larger, alpha=2)  # l - 2 max(l, 0) = -|l|
    alike = x.dtype == logits.dtype and x.shape[-2:] == logits.shape[-2:]
    in_place = alike and not transform_active()  # a transform may map x alone
    rest = larger.addcmul_(x, logits, value=-1) if in_place else torch.addcmul(larger, x, logits, value=-1)
    rest = rest.sum(-1)
    del larger
    products = torch.unflatten(factor.exp_().add_(1), -1, (-1, factors)).prod(-1)
    return 0 - products.log_().sum(-1).add(rest)
