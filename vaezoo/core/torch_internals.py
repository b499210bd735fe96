"""Which of torch's transforms the code is run under."""

import torch
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether `torch.func` maps or differentiates what is run here, or derivatives are taken forwards."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def forwards() -> bool:
    """Whether derivatives are taken forwards here: `torch.func.jvp` and what is made of it, or dual numbers.

    An `autograd.Function`'s own rule for that gives wrong numbers, silently, where they are taken of each other.
    """
    stack = get_interpreter_stack() or ()
    return forward_ad._current_level >= 0 or any(each.key() == TransformType.Jvp for each in stack)
