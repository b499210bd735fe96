"""Adam: one pass over parameters, gradients and moments, by torch's fused operator or by a loop with its roundings."""

import math
from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from vaezoo.core import compiled
from vaezoo.core.errors import VaezooError
from vaezoo.core.own_operators import operator

LOOP = "vaezoo.training._adam_loop"
"""The module whose loop takes a step of float32 on a CPU."""
MANY = 2**16
"""The fewest parameters for which it is called."""

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """p <- p - rate m / (sqrt(v) + epsilon), m and v the unbiased running means of the gradient and of its square.

    torch.optim.Adam takes the same steps. But it has a count of steps for each parameter, and each count is an
    operation. Here all parameters share one count as long as they get a gradient in the same steps. A parameter without
    a gradient stays as it is, and so do its moments and its count. Kingma and Ba (2015), arXiv:1412.6980.

    groups: parameters with their learning rate, a scalar tensor; each is split by type: the operator takes one.
    VaezooError for a complex parameter. state: parameter -> its "step" (the count), "exp_avg" (m, biased) and
    "exp_avg_sq" (v, biased), once it had a gradient.
    """

    def __init__(self, groups: Iterable[tuple[Sequence[nn.Parameter], Tensor]]):
        groups = list(groups)
        if any(p.is_complex() for parameters, _ in groups for p in parameters):
            raise VaezooError("Adam takes real parameters, got a complex one; hold its real and imaginary parts as two")
        self._groups = [
            ([p for p in parameters if p.dtype == dtype], rate)
            for parameters, rate in groups
            for dtype in dict.fromkeys(p.dtype for p in parameters)
        ]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameters, _ in self._groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        for parameters, rate in self._groups:
            moved = {p: p.grad for p in parameters if p.grad is not None}
            if not moved:
                continue
            self._lay_out(list(moved))
            self._count(list(moved))
            steps, means, squares = zip(*(self.state[p].values() for p in moved), strict=True)
            rows = moved, moved.values(), means, squares
            p, slopes, means, squares = (tuple(_row_by_row(each) for each in tensors) for tensors in rows)
            if _loop_takes([*p, *slopes, *means, *squares, rate]):
                _by_loop(p, slopes, means, squares, steps, rate)
                continue
            torch._fused_adam_(
                p,
                slopes,
                means,
                squares,
                [],
                steps,
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _lay_out(self, moved: Sequence[nn.Parameter]) -> None:
        """Lay the moments out as their parameters are now, of which none has gaps in memory: what takes the step reads
        and writes all in the order of memory.
        """
        for p in moved:
            if torch.empty_like(p).stride() != p.stride():
                p.data = p.data.contiguous()
            for name in ("exp_avg", "exp_avg_sq"):
                if p in self.state and self.state[p][name].stride() != p.stride():
                    self.state[p][name] = torch.empty_like(p).copy_(self.state[p][name])

    def _count(self, moved: Sequence[nn.Parameter]) -> None:
        """Add 1 to the counts of these parameters. Where others that do not move share a count, these get a new one."""
        if new := [p for p in moved if p not in self.state]:
            zero = torch.zeros((), dtype=torch.float32, device=new[0].device)
            for p in new:
                self.state[p] = {"step": zero, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        for count in {id(self.state[p]["step"]): self.state[p]["step"] for p in moved}.values():
            sharing = sum(own["step"] is count for own in self.state.values())
            counted = [self.state[p] for p in moved if self.state[p]["step"] is count]
            if len(counted) < sharing:
                count = count.clone()
                for own in counted:
                    own["step"] = count
            count.add_(1)


def _row_by_row(matrix: Tensor) -> Tensor:
    """The transpose of a matrix that lies in memory column by column: the fused operator takes twice as long for it."""
    transposed = matrix.mT if matrix.dim() > 1 else matrix
    return transposed if transposed.is_contiguous() and not matrix.is_contiguous() else matrix


def _loop_takes(tensors: Sequence[Tensor]) -> bool:
    """Whether parameters, gradients, moments and rate lie in memory as the loop reads them, and there is a loop."""
    return (
        all(each.dtype == torch.float32 and each.device.type == "cpu" and each.is_contiguous() for each in tensors)
        and sum(each.numel() for each in tensors) >= 4 * MANY
        and compiled.loop(LOOP) is not None
    )


def factors(count: int, rate: float) -> tuple[float, ...]:
    """What the loop computes with at the step of this number: 1 - b1, b2, 1 - b2, the rate over 1 - b1^t, the root of
    1 - b2^t, and epsilon.
    """
    first, second = BETAS
    return 1 - first, second, 1 - second, rate / (1 - first**count), math.sqrt(1 - second**count), EPSILON


@operator(
    "adam_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, "
    "Tensor[] counts, Tensor rate) -> ()"
)
def _by_loop(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    counts: Sequence[Tensor],
    rate: Tensor,
) -> None:
    """A step, as an operator of torch. Most parameters share a count."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    numbers = {id(count): array("f", factors(int(count), float(rate))) for count in {id(c): c for c in counts}.values()}
    tensors = array("q")
    for *rows, count in zip(parameters, gradients, means, squares, counts, strict=True):
        own, _ = numbers[id(count)].buffer_info()
        tensors.extend([*(each.data_ptr() for each in rows), rows[0].numel(), own])
    loop(tensors.buffer_info()[0], len(parameters))
