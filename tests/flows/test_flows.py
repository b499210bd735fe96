"""Every flow: inverse, log-determinant, density, gradients, precision, mapping over seeds, replay, checkpoints."""

import copy
import inspect
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_flows import FLOWS, IDENTITIES, NEEDS_TWO, made, points
from torch.func import functional_call, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import vaezoo.flows
from vaezoo import VaezooError
from vaezoo.flows import (
    AffineTransform,
    AutoregressiveFlow,
    CouplingFlow,
    Flow,
    FlowSequence,
    HouseholderSylvesterFlow,
    InverseFlow,
    OrthogonalSylvesterFlow,
    PermutationFlow,
    PlanarFlow,
    SplineTransform,
)

Z, C, K, B = 3, 4, 5, 6
every = pytest.mark.parametrize("name", FLOWS)
with_and_without = pytest.mark.parametrize("width", [0, C], ids=["own", "amortised"])


def context_of(width, *shape, seed=1, dtype=torch.float64):
    return points(*shape, width, seed=seed, dtype=dtype) if width else None


def test_every_flow_is_here():
    classes = {each for each in map(vaezoo.flows.__dict__.get, vaezoo.flows.__all__) if inspect.isclass(each)}
    concrete = {each for each in classes if issubclass(each, Flow) and not inspect.isabstract(each)}
    assert concrete == {type(FLOWS[name](Z, 0)) for name in FLOWS}


@every
@with_and_without
def test_the_inverse_gives_the_point_and_the_log_determinant_back(name, width):
    flow, z, context = made(name, Z, width), 2 * points(K, B, Z), context_of(width, B)
    mapped, log_det = flow(z, context)
    assert mapped.shape == (K, B, Z)
    assert log_det.shape == (K, B)
    if not flow.has_inverse:
        with pytest.raises(VaezooError, match=r"(Planar|Sylvester)Flow has no inverse in closed form"):
            flow.inverse(mapped, context)
        with pytest.raises(VaezooError, match="no inverse in closed form"):
            InverseFlow(flow)
        return
    found, same = flow.inverse(mapped, context)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-9)
    torch.testing.assert_close(same, log_det, rtol=0, atol=1e-8)
    turned, negative = InverseFlow(flow)(mapped, context)
    assert torch.equal(turned, found)
    assert torch.equal(negative, -same)


@every
@with_and_without
def test_the_log_determinant_is_that_of_the_jacobian(name, width):
    flow, z, context = made(name, Z, width), 2 * points(8, Z), context_of(width, 8)
    log_det = flow(z, context)[1]
    for n in range(8):
        row = None if context is None else context[n]
        jacobian = torch.autograd.functional.jacobian(lambda point, row=row: flow(point, row)[0], z[n])
        exact = jacobian.det().abs().log()
        torch.testing.assert_close(log_det[n], exact, rtol=1e-9, atol=1e-9)


@every
@pytest.mark.parametrize("latent", [1, 2])
def test_the_density_of_a_transformed_normal_integrates_to_one(name, latent):
    """log p(z) = log N(f(z); 0, I) + log_det, on a grid so fine that the midpoint rule's error is below the bound."""
    if latent == 1 and name in NEEDS_TWO:
        with pytest.raises(VaezooError, match="needs latent of 2 or more, got 1"):
            made(name, latent)
        return
    flow = made(name, latent, 2, seed=5)
    reach, steps = (40.0, 200_001) if latent == 1 else (16.0, 641)
    axis = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * latent).view(-1, latent)
    with torch.no_grad():
        mapped, log_det = flow(z, context_of(2, 1))
    log_density = log_det - 0.5 * mapped.square().sum(-1) - 0.5 * latent * math.log(2 * math.pi)
    total = log_density.exp().sum() * (axis[1] - axis[0]) ** latent
    assert abs(float(total) - 1) < 1e-3


@every
@with_and_without
def test_gradients_reach_every_parameter_the_point_and_the_context(name, width):
    flow, z, context = made(name, Z, width), points(K, B, Z).requires_grad_(), context_of(width, B)
    takes = bool(flow.context)
    inputs = [z, *flow.parameters(), *([context.requires_grad_()] if takes else [])]
    value = sum((each * points(*each.shape, seed=9)).sum() for each in flow(z, context))
    for gradient in torch.autograd.grad(value, inputs):
        assert gradient.isfinite().all()
        assert gradient.any()
    assert takes == (width > 0 and "permutation" not in name)


@every
@with_and_without
def test_float32_is_near_float64(name, width):
    exact, flow = made(name, Z, width), made(name, Z, width, dtype=torch.float32)
    z, context = points(K, B, Z), context_of(width, B)
    single = flow(z.float(), None if context is None else context.float())
    for found, right in zip(single, exact(z, context), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-4)


@every
@with_and_without
def test_a_step_mapped_over_two_seeds_is_each_seeds_own(name, width):
    flows = [made(name, Z, width, seed=seed) for seed in range(2)]
    z, context = points(2, K, B, Z), context_of(width, 2, B)
    bare = copy.deepcopy(flows[0]).to("meta")

    def loss(parameters, buffers, z, context):
        mapped, log_det = functional_call(bare, (parameters, buffers), (z, context))
        return (mapped.square().sum(-1) - log_det).mean()

    state, places = stack_module_state(flows), (0, 0, 0, None if context is None else 0)
    with_gradients = torch.func.grad_and_value(loss, argnums=(0, 2))
    (gradients, by_z), losses = vmap(with_gradients, places)(*state, z, context)
    for seed, flow in enumerate(flows):
        own = (dict(flow.named_parameters()), dict(flow.named_buffers()))
        (expected, by_point), value = with_gradients(*own, z[seed], None if context is None else context[seed])
        torch.testing.assert_close(losses[seed], value)
        torch.testing.assert_close(by_z[seed], by_point)
        torch.testing.assert_close({key: found[seed] for key, found in gradients.items()}, expected)


@every
def test_a_step_can_be_replayed_without_its_python(name):
    """Traced on one batch, replayed with other weights and another batch, also beyond a spline's bounds: the step is a
    fixed list of operations that looks at no value.
    """

    def step(parameters, buffers, z, context):
        mapped, log_det = functional_call(flows[0], (parameters, buffers), (z, context))
        value = (mapped.square().sum(-1) - log_det).mean()
        return value, torch.autograd.grad(value, [*parameters.values(), z])

    flows = [made(name, Z, C, seed=seed) for seed in range(2)]
    given = [
        (
            dict(flow.named_parameters()),
            dict(flow.named_buffers()),
            (4 * seed + 1) * points(K, B, Z, seed=seed).requires_grad_(),
            context_of(C, B, seed=seed),
        )
        for seed, flow in enumerate(flows)
    ]
    replay = make_fx(step)(*given[0])
    value, gradients = replay(*given[1])
    expected, exact = step(*given[1])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(list(gradients), list(exact))


@every
@with_and_without
def test_the_identity_at_initialisation_where_promised(name, width):
    torch.manual_seed(1)  # a random permutation that is not the identity
    flow, z = FLOWS[name](Z, width).double(), 2 * points(K, B, Z)
    mapped, log_det = flow(z, context_of(width, B))
    same = torch.allclose(mapped, z, atol=1e-12)
    assert same == (name in IDENTITIES)
    if same:
        assert float(log_det.detach().abs().max()) < 1e-12


@every
def test_a_saved_flow_is_loaded_into_a_fresh_one(name, tmp_path):
    flow, other = made(name, Z, C), made(name, Z, C, seed=1)
    save_file(flow.state_dict(), tmp_path / "flow.safetensors")
    other.load_state_dict(load_file(tmp_path / "flow.safetensors"))
    z, context = points(B, Z), context_of(C, B)
    for found, right in zip(other(z, context), flow(z, context), strict=True):
        assert torch.equal(found, right)


@every
def test_a_context_is_broadcast_against_the_points(name):
    """z [K, B, Z] with context [B, C] equals the same with [K, B, C]; one point under many contexts works too."""
    flow, z, context = made(name, Z, C), points(K, B, Z), context_of(C, B)
    for found, right in zip(flow(z, context), flow(z, context.expand(K, B, C)), strict=True):
        torch.testing.assert_close(found, right)
    if flow.context:
        for found, right in zip(flow(z[0, 0], context), flow(z[0, :1].expand(B, Z), context), strict=True):
            torch.testing.assert_close(found, right)


@every
def test_wrong_shapes_are_answered_in_one_line(name):
    flow = made(name, Z, C)
    with pytest.raises(VaezooError, match=r"Flow\w* maps z \[\.\.\., 3\], got \[2, 4\]$"):
        flow(torch.zeros(2, 4, dtype=torch.float64))
    if flow.context:
        with pytest.raises(VaezooError, match=r"built with context=4 and needs a context \[\.\.\., 4\], got none$"):
            flow(points(B, Z))
        with pytest.raises(VaezooError, match=r"needs a context \[\.\.\., 4\], got \[6, 5\]$"):
            flow(points(B, Z), context_of(5, B))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: PlanarFlow(0), "PlanarFlow needs latent of 1 or more and context of 0 or more, got 0 and 0"),
        (lambda: OrthogonalSylvesterFlow(3, 4), "columns from 1 to latent = 3, got 4"),
        (lambda: HouseholderSylvesterFlow(3, 0), "needs 1 reflection or more, got 0"),
        (lambda: PermutationFlow(3, [0, 1, 1]), r"a permutation of 0 \.\. 2, got \[0, 1, 1\]"),
        (lambda: PermutationFlow(3, "revers"), "got 'revers'"),
        (lambda: FlowSequence(), r"got latent \[\]"),
        (lambda: FlowSequence(PlanarFlow(2), PlanarFlow(3)), r"one latent size and one context, got latent \[2, 3\]"),
        (lambda: FlowSequence(PlanarFlow(2, context=1), PlanarFlow(2, context=3)), r"context \[1, 3\]"),
        (lambda: AffineTransform(0), "positive bound of its log-scale, got 0"),
        (lambda: SplineTransform(0), "needs 1 bin or more, .* got 0, 5.0 and 0.001"),
        (lambda: AutoregressiveFlow(3, hidden=(0,)), r"hidden widths of 1 or more, got 3, 2, \[0\]"),
        (lambda: CouplingFlow(3, activation="rellu"), "did you mean 'relu'"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(wrong, message):
    with pytest.raises(VaezooError, match=message):
        wrong()


def test_an_amortised_map_is_each_images_own():
    """Two images under one flow have different maps, and neither depends on the other."""
    flow, z = made("planar", Z, C), points(1, 1, Z).expand(1, 2, Z)
    context = context_of(C, 2)
    both = flow(z, context)[0]
    assert not torch.allclose(both[0, 0], both[0, 1])
    torch.testing.assert_close(flow(z[:, :1], context[:1])[0], both[:, :1])


def test_planar_stays_invertible_for_any_parameters():
    """1 + w . u > 0 even where the free numbers point against w: the map along w is increasing."""
    flow = PlanarFlow(1).double()
    with torch.no_grad():
        flow.parameters_of.own.copy_(torch.tensor([2.0, -9.0, 0.0]))
    mapped, log_det = flow(torch.linspace(-4, 4, 2001, dtype=torch.float64)[:, None])
    assert (mapped.diff(dim=0) > 0).all()
    assert log_det.isfinite().all()


def test_householder_preserves_length():
    z = points(B, Z)
    torch.testing.assert_close(made("householder", Z)(z)[0].norm(dim=-1), z.norm(dim=-1))


def test_a_sylvester_flow_of_one_column_is_a_planar_flow():
    """q r tanh(s q . z + b) is u tanh(w . z + b) with w = s q and u = r q."""
    sylvester, planar = OrthogonalSylvesterFlow(Z, 1).double(), PlanarFlow(Z).double()
    q = sylvester.basis(None)[:, 0]
    _, r, s, b = sylvester.parameters_of.own
    r, s = r.tanh(), s.tanh()
    along = (1 + r * s).exp().sub(1).log()  # w . v, for which w . u = softplus(w . v) - 1 is r s
    with torch.no_grad():
        planar.parameters_of.own.copy_(torch.cat([s * q, along / s * q, b[None]]))
    z = points(K, B, Z)
    for found, right in zip(planar(z), sylvester(z), strict=True):
        torch.testing.assert_close(found, right)


def test_two_equal_reflections_make_a_triangular_sylvester_flow():
    """A vector reflected twice is itself, so Q is the identity."""
    flow, triangular = HouseholderSylvesterFlow(Z, 2).double(), made("triangular-sylvester", Z)
    with torch.no_grad():
        flow.parameters_of.load_state_dict(triangular.parameters_of.state_dict())
        flow.vectors_of.own.copy_(points(Z).repeat(2))
    z = points(K, B, Z)
    for found, right in zip(flow(z), triangular(z), strict=True):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("name", ["autoregressive", "autoregressive-reversed", "autoregressive-spline"])
def test_the_jacobian_of_an_autoregressive_flow_is_triangular(name):
    flow = made(name, 5)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z)[0], points(5))
    jacobian = jacobian.T if "reversed" in name else jacobian
    assert not jacobian.triu(1).any()
    assert jacobian.tril().count_nonzero() == 15


TRANSFORMS = pytest.mark.parametrize(
    "transform", [AffineTransform(), SplineTransform(5, bound=3.0)], ids=["affine", "spline"]
)


@TRANSFORMS
def test_parameters_of_a_net_in_bfloat16_are_taken_in_the_dtype_of_the_points(transform):
    x, params = points(7, 3, dtype=torch.float32), points(7, transform.width, 3, dtype=torch.float32).bfloat16()
    for each in (transform.forward, transform.inverse):
        for found, right in zip(each(x, params), each(x, params.float()), strict=True):
            assert found.dtype == torch.float32
            assert torch.equal(found, right)


@TRANSFORMS
def test_transforms_stay_finite_and_increasing_for_any_parameters(transform):
    """Whatever a net gives, and far outside the bounds."""
    x = torch.linspace(-50, 50, 4001)
    for scale in (1e1, 1e4, 1e30):
        params = scale * points(transform.width, 1, dtype=torch.float32)
        y, log_derivative = transform.forward(x, params)
        assert log_derivative.isfinite().all()
        if scale < 1e5:
            assert (y.diff() >= -1e-5).all()
