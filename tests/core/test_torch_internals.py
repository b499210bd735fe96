"""Where a version of torch lacks a private part, vaezoo computes the same in another way."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.nn import functional as F

from vaezoo import DataSpec
from vaezoo.core import torch_internals
from vaezoo.core.errors import VaezooWarning
from vaezoo.core.products import LARGE
from vaezoo.core.torch_internals import (
    forward_derivative_active,
    intercepted_operators,
    onednn_linear,
    operator_schema,
    tensor_reference,
    transform_active,
)
from vaezoo.likelihoods.bernoulli import Bernoulli
from vaezoo.nets.linear import linear
from vaezoo.training.replay.recorded_step import RecordedStep

ONE = torch.ones(())
BINDINGS = vars(torch)["_C"]
DISPATCH = type(intercepted_operators(print)).__mro__[1].__module__


def hide(monkeypatch, name):
    """This import of torch's fails, as it would where torch has no such module."""
    monkeypatch.setitem(sys.modules, name, None)


class Without:
    """A module without one of its names, and with others replaced."""

    def __init__(self, module, hidden, **replaced):
        self._module, self._hidden = module, hidden
        vars(self).update(replaced)

    def __getattr__(self, name):
        if name == self._hidden:
            raise AttributeError(name)
        return getattr(self._module, name)


@pytest.fixture
def without_onednn(monkeypatch):
    """A build of torch without oneDNN's product."""
    onednn_linear.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    yield
    onednn_linear.cache_clear()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_transforms_and_forward_derivatives_are_told_apart():
    found = {}

    def note(name):
        def inside(x):
            found[name] = (transform_active(), forward_derivative_active())
            return x.sin()

        return inside

    note("plain")(ONE)
    vmap(note("vmap"))(torch.ones(2))
    grad(note("grad"))(ONE)
    jvp(note("jvp"), (ONE,), (ONE,))
    with forward_ad.dual_level():
        note("dual")(ONE)
    assert found == {
        "plain": (False, False),
        "vmap": (True, False),
        "grad": (True, False),
        "jvp": (True, True),
        "dual": (True, True),
    }


@pytest.mark.parametrize("hidden", ["module", "stack", "level", "flag"])
def test_where_torch_does_not_tell_its_own_operators_compute(monkeypatch, hidden):
    """The values are those of torch's operators, to the last bit."""
    if hidden == "module":
        hide(monkeypatch, BINDINGS._functorch.__name__)
    if hidden == "stack":
        monkeypatch.delattr(BINDINGS._functorch, "get_interpreter_stack")
    if hidden == "level":
        monkeypatch.delattr(forward_ad, "_current_level")
    if hidden == "flag":  # from vaezoo alone: some versions of torch need it themselves
        bindings = Without(BINDINGS, "_are_functorch_transforms_active")
        monkeypatch.setattr(torch_internals, "torch", Without(torch, "", _C=bindings))
    assert forward_derivative_active() == (hidden != "flag")
    assert transform_active() == (hidden in ("level", "flag"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 5, generator=generator).round()
    logits = torch.randn(2, 3, 5, generator=generator)
    expected = (x * logits - F.softplus(logits)).sum(-1)
    value = Bernoulli(DataSpec((5,), "binary")).log_prob(x, logits)
    assert torch.equal(value, expected) if hidden != "flag" else torch.allclose(value, expected)
    weight, rows = torch.randn(LARGE // 256, 256, generator=generator), torch.randn(7, 256, generator=generator)
    if hidden in ("level", "flag"):
        assert torch.equal(linear(rows, weight), F.linear(rows, weight))


def test_without_onednn_torch_multiplies(without_onednn):
    assert onednn_linear() is None
    weight, rows = torch.randn(LARGE // 256, 256), torch.randn(7, 256)
    assert torch.equal(linear(rows, weight), F.linear(rows, weight))


def steps_of(function, count=8):
    """A recorded step after this many calls."""
    step = RecordedStep(function)
    for _ in range(count):
        step()
    return step


@pytest.mark.parametrize(
    ("hidden", "why"),
    [("mode", "cannot show which operators a step runs"), ("schema", "does not tell what the operator .* writes to")],
)
def test_a_step_that_cannot_be_recorded_runs_eagerly_and_says_why(monkeypatch, hidden, why):
    if hidden == "mode":
        hide(monkeypatch, DISPATCH)
        assert intercepted_operators(lambda operator, args, kwargs: None) is None
    else:
        monkeypatch.setattr("vaezoo.training.replay.recording.operator_schema", lambda operator: None)
    total = torch.zeros(())
    with pytest.warns(VaezooWarning, match=f"this version of torch {why}"):
        step = steps_of(lambda: total.add_(1))
    assert step.recording is None
    assert float(total) == 8


def test_without_weak_references_a_step_is_recorded_all_the_same(monkeypatch):
    hide(monkeypatch, "torch.utils.weak")
    held = torch.ones(2)
    assert tensor_reference(held)() is held
    total = torch.zeros(2)
    step = steps_of(lambda: total.add_((2 * held).exp().log()))
    assert step.recording is not None
    torch.testing.assert_close(total, torch.full((2,), 16.0))


def test_a_schema_tells_what_an_operator_writes():
    assert operator_schema(torch.ops.aten.add_.Tensor).is_mutable
    assert not operator_schema(torch.ops.aten.add.Tensor).is_mutable
    assert operator_schema(object()) is None


WITHOUT_COMPILER = """
import sys
import torch, vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions
data = vaezoo.load_dataset("digits-binary")
step = make_step(*construct(resolve("vae", data.spec), Ingredients.of(data, 2, (4,))), data, TrainingOptions(1, 100), 0)
step.start_epoch(epoch_order(len(data.train), 100, 0, 0))
while step.left:
    step()
print([name for name in ("torch._dynamo", "sklearn.datasets", "scipy.stats", "matplotlib") if name in sys.modules])
"""


def test_training_imports_neither_torch_s_compiler_nor_scikit_learn():
    """Each takes a second. The step is recorded, and replayed."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
