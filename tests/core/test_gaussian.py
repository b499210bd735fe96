"""The one reparameterised Gaussian and the mixture density: against other densities and the score function."""

import math

import pytest
import torch
from torch import distributions

from vaezoo import DiagonalGaussian, VaezooError, noise
from vaezoo.core.gaussian import bounded_log_std, mixture_log_density

EXTREMES = [(0.0, 0.0), (3.0, -6.0), (-40.0, 5.0), (1e3, -2.0)]


def normals(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("mean", "log_std"), EXTREMES)
def test_log_density_is_the_normal_one(mean, log_std):
    q = DiagonalGaussian(mean + normals(4, 3), log_std + 0.3 * normals(4, 3, seed=1))
    value = q.mean + q.std * 3 * normals(6, 4, 3, seed=2)
    expected = distributions.Normal(q.mean, q.std).log_prob(value).sum(-1)
    torch.testing.assert_close(q.log_density(value), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.log_prob((value,)), expected[None], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("mean", "log_std"), EXTREMES)
def test_divergence_from_the_standard_normal(mean, log_std):
    q = DiagonalGaussian(mean + normals(4, 3), log_std + 0.3 * normals(4, 3, seed=1))
    expected = distributions.kl_divergence(distributions.Normal(q.mean, q.std), distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(q.kl_standard_normal(), expected, rtol=1e-10, atol=1e-10)
    assert (q.kl_standard_normal() >= 0).all()


@pytest.mark.parametrize(("mean", "log_std"), EXTREMES)
def test_divergence_of_two_gaussians(mean, log_std):
    q, p = (DiagonalGaussian(mean + normals(4, 3, seed=s), log_std + 0.3 * normals(4, 3, seed=s + 1)) for s in (0, 2))
    expected = distributions.kl_divergence(*(distributions.Normal(each.mean, each.std) for each in (q, p)))
    torch.testing.assert_close(q.kl(p), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(q.kl(q), torch.zeros(4, 3, dtype=torch.float64))
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(q.kl(DiagonalGaussian(zero, zero)), q.kl_standard_normal())


@pytest.mark.parametrize(("mean", "log_std"), EXTREMES)
def test_the_product_is_proportional_to_both_densities(mean, log_std):
    """log p q - log p - log q is one number for all points: what the product lacks in mass."""
    q, p = (DiagonalGaussian(mean + normals(4, 3, seed=s), log_std + 0.3 * normals(4, 3, seed=s + 1)) for s in (0, 2))
    both = q.product(p)
    points = both.mean + both.std * normals(50, 4, 3, seed=5)
    off = both.log_density(points) - q.log_density(points) - p.log_density(points)
    torch.testing.assert_close(off, off[:1].expand_as(off), rtol=1e-8, atol=1e-7)
    torch.testing.assert_close(both.std**-2, q.std**-2 + p.std**-2)


def test_divergence_is_exactly_0_at_the_standard_normal():
    assert torch.equal(DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3)).kl_standard_normal(), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_come_with_their_own_density(dtype):
    q = DiagonalGaussian(normals(4, 3, dtype=dtype), 0.5 * normals(4, 3, seed=1, dtype=dtype))
    with noise.stream(0, index=torch.arange(4), dtype=dtype):
        z, log_q = q.rsample_and_log_prob(9)
    assert z[0].shape == (9, 4, 3)
    assert log_q.shape == (1, 9, 4)
    assert z[0].dtype == log_q.dtype == dtype
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-5 if dtype == torch.float32 else 1e-10, atol=1e-5)


@pytest.mark.parametrize("log_std", [torch.tensor(-0.7), torch.tensor([-0.7, 0.2, 0.1])])
def test_log_std_may_broadcast(log_std):
    mean = normals(4, 3).float()
    narrow, full = DiagonalGaussian(mean, log_std), DiagonalGaussian(mean, log_std.expand(4, 3))
    torch.testing.assert_close(narrow.log_density(mean + 1), full.log_density(mean + 1))
    torch.testing.assert_close(narrow.kl_standard_normal(), full.kl_standard_normal())
    for q in (narrow, full):
        with noise.stream(0):
            z, log_q = q.rsample_and_log_prob(2)
        torch.testing.assert_close(log_q, full.log_prob(z))


@pytest.mark.parametrize("log_std", [torch.tensor(-0.75), 0.5 * normals(3, 4, 2, seed=1)])
def test_one_draw_an_element_is_keyed_by_sample_and_image(log_std):
    """z [K, B, Z] of a mean [K, B, Z]: whatever the block and the order, the numbers of each sample and image."""
    mean, index, order = normals(3, 4, 2), torch.tensor([3, 14, 15, 92]), torch.tensor([2, 0, 3, 1])

    def drawn(mean, log_std, index, first=0):
        with noise.stream(8, index=index, first=first, dtype=torch.float64):
            return DiagonalGaussian(mean, log_std.double()).draw_and_log_prob()

    z, log_q = drawn(mean, log_std, index)
    q = DiagonalGaussian(mean, log_std.double())
    assert z.shape == (3, 4, 2)
    assert log_q.shape == (3, 4)
    torch.testing.assert_close(log_q, q.log_density(z), rtol=1e-10, atol=1e-10)
    with noise.stream(8, index=index, dtype=torch.float64):
        assert torch.equal(q.draw(), z)
    with noise.stream(8, index=index, dtype=torch.float64):
        assert torch.equal(noise.normal(3, 4, 2) * q.std + mean, z)
    full = log_std.expand_as(mean)
    assert torch.equal(drawn(mean[:, order], full[:, order], index[order])[0], z[:, order])
    assert torch.equal(drawn(mean[1:], full[1:], index, first=1)[0], z[1:])


def test_a_draw_of_a_mean_without_samples_is_refused():
    with noise.stream(0, index=torch.arange(4)), pytest.raises(VaezooError, match=r"got the shape \[4, 3\]"):
        DiagonalGaussian(normals(4, 3), torch.zeros(3)).draw()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_std_is_as_given_in_the_middle(dtype):
    """Bit for bit, and its gradient too."""
    log_std = torch.cat([torch.linspace(-7, 7, 10_001), torch.tensor([1e-30, -1e-8, 0.0])]).to(dtype).requires_grad_()
    bounded = bounded_log_std(log_std)
    assert torch.equal(bounded, log_std)
    slope = normals(len(log_std)).to(dtype)
    assert torch.equal(torch.autograd.grad(bounded, log_std, slope)[0], slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_std_is_bounded_and_smooth_outside(dtype):
    size = torch.cat([torch.linspace(7, 60, 2001), torch.logspace(2, 38, 100)]).to(dtype)
    for sign in (1, -1):
        log_std = (sign * size).requires_grad_()
        bounded = bounded_log_std(log_std)
        excess = size.double() - 7
        expected = sign * (7 + excess / (1 + excess))
        torch.testing.assert_close(bounded.double(), expected, rtol=1e-6, atol=0)
        assert (bounded.abs() <= 8).all()
        (slope,) = torch.autograd.grad(bounded.sum(), log_std)
        near = size < (1e4 if dtype == torch.float32 else 1e12)
        torch.testing.assert_close(slope[near].double(), (1 + excess[near]) ** -2, rtol=1e-3, atol=0)
        assert (slope[~near].abs() < 1e-8).all()
    inside = torch.linspace(6.5, 7.5, 50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bounded_log_std, inside)
    assert torch.autograd.gradgradcheck(bounded_log_std, inside)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_bounded_log_std_is_the_same_mapped_and_under_forward_derivatives():
    log_std = 8 * normals(3, 50)
    log_std.requires_grad_()
    bounded = bounded_log_std(log_std)
    (slope,) = torch.autograd.grad(bounded.sum(), log_std)
    mapped = torch.vmap(bounded_log_std)(log_std)
    assert torch.equal(mapped, bounded)
    assert torch.equal(torch.autograd.grad(mapped.sum(), log_std)[0], slope)
    value, forward = torch.func.jvp(bounded_log_std, (log_std.detach(),), (torch.ones_like(log_std),))
    torch.testing.assert_close(value, bounded.detach())
    torch.testing.assert_close(forward, slope)


@pytest.mark.parametrize("size", [1e2, 1e10, 1e18])
def test_heads_of_any_size_have_finite_terms_and_gradients(size):
    """log q, its score of given points, the divergence and all gradients, in float32."""
    heads = (size * torch.tensor([[-1.0, 1.0, -1.0, 1.0], [1.0, -1.0, 1.0, -1.0]])).requires_grad_()
    q = DiagonalGaussian.from_heads(heads)
    assert torch.equal(q.mean, heads[:, :2])
    with noise.stream(0, index=torch.arange(2)):
        z, log_q = q.rsample_and_log_prob(5)
    points = (q.mean / size).detach()
    narrow = DiagonalGaussian(q.mean / size, q.log_std)
    for value in (log_q, narrow.log_density(points + 1), q.kl_standard_normal(), z[0] / size):
        assert value.isfinite().all()
        (slope,) = torch.autograd.grad(value.sum(), heads, retain_graph=True)
        assert slope.isfinite().all()


def test_moments_of_the_samples():
    q = DiagonalGaussian(torch.tensor([[1.5, -2.0]]), torch.tensor([[0.3, -1.0]]))
    n = 100_000
    with noise.stream(4):
        z = q.rsample(n)[:, 0].double()
    standardised = (z - q.mean) / q.std
    assert (standardised.mean(0).abs() < 4 / math.sqrt(n)).all()
    assert ((standardised.var(0) - 1).abs() < 4 * math.sqrt(2 / n)).all()
    assert abs(float((standardised[:, 0] * standardised[:, 1]).mean())) < 4 / math.sqrt(n)


def test_reparameterised_gradient_agrees_with_the_score_function():
    """d/d(mean, log_std) E_q[f(z)] for f = sum sin(2 z) + prod z, each way with its own draws."""
    n = 200_000
    found = []
    for way in ("path", "score"):
        mean = torch.tensor([[0.4, -1.1]], dtype=torch.float64).expand(n, 2).clone().requires_grad_()
        log_std = torch.tensor([[-0.5, 0.2]], dtype=torch.float64).expand(n, 2).clone().requires_grad_()
        q = DiagonalGaussian(mean, log_std)
        with noise.stream(noise.derive(1, way), dtype=torch.float64):
            z = q.rsample(1)
        points = z if way == "path" else z.detach()
        f = (2 * points).sin().sum(-1) + points.prod(-1)
        surrogate = f if way == "path" else f.detach() * q.log_density(points)
        gradient = torch.cat(torch.autograd.grad(surrogate.sum(), (mean, log_std)), -1)
        found.append((gradient.mean(0), gradient.std(0) / math.sqrt(n)))
    (path, path_error), (score, score_error) = found
    assert ((path - score).abs() < 4 * (path_error.square() + score_error.square()).sqrt()).all()
    assert (path.abs() > 8 * path_error).all()


def test_reparameterised_gradient_of_a_quadratic_is_the_closed_form():
    """E[z'Az + b'z]: the gradient is (A + A')m + b in the mean and 2 A_ii s_i^2 in log_std."""
    n, z_size = 100_000, 3
    a, b = normals(z_size, z_size), normals(z_size, seed=1)
    m, log_s = normals(z_size, seed=2), 0.4 * normals(z_size, seed=3)
    mean, log_std = m.expand(n, z_size).clone().requires_grad_(), log_s.expand(n, z_size).clone().requires_grad_()
    with noise.stream(6, dtype=torch.float64):
        z = DiagonalGaussian(mean, log_std).rsample(1)[0]
    f = torch.einsum("ni,ij,nj->n", z, a, z) + z @ b
    gradient = torch.cat(torch.autograd.grad(f.sum(), (mean, log_std)), -1)
    expected = torch.cat([(a + a.T) @ m + b, 2 * a.diagonal() * (2 * log_s).exp()])
    assert ((gradient.mean(0) - expected).abs() < 4 * gradient.std(0) / math.sqrt(n)).all()


def mixture(components, latent, low=-1.0, high=1.0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mean = 2 * torch.randn(components, latent, generator=generator, dtype=torch.float64)
    log_std = low + (high - low) * torch.rand(components, latent, generator=generator, dtype=torch.float64)
    log_weight = torch.randn(components, generator=generator, dtype=torch.float64).log_softmax(0)
    return mean.to(dtype), log_std.to(dtype), log_weight.to(dtype)


@pytest.mark.parametrize(("components", "latent"), [(1, 1), (3, 1), (7, 5), (50, 40)])
def test_mixture_density_is_that_of_torch_distributions(components, latent):
    mean, log_std, log_weight = mixture(components, latent)
    normal = distributions.Independent(distributions.Normal(mean, log_std.exp()), 1)
    expected = distributions.MixtureSameFamily(distributions.Categorical(logits=log_weight), normal)
    z = 3 * normals(6, 5, latent, seed=4)
    torch.testing.assert_close(
        mixture_log_density(z, mean, log_std, log_weight), expected.log_prob(z), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (2, 4, 3)])
def test_mixture_density_of_any_leading_shape(shape):
    mean, log_std, log_weight = mixture(3, 2)
    z = normals(*shape, 2)
    value = mixture_log_density(z, mean, log_std, log_weight)
    assert value.shape == shape
    flat = mixture_log_density(z.reshape(-1, 2), mean, log_std, log_weight)
    torch.testing.assert_close(value.reshape(-1), flat)


@pytest.mark.parametrize(("latent", "std"), [(2, 0.03), (2, 0.3), (10, 0.1), (40, 0.3)])
@pytest.mark.parametrize("components", [10, 200])
def test_mixture_density_in_float32(latent, std, components):
    """Within 1e-3 nats of float64 at the mixture's own samples: the cancellation grows with Z (mean / std)^2."""
    mean = normals(components, latent).float()
    log_std, log_weight = torch.full_like(mean, math.log(std)), torch.zeros(components).log_softmax(0)
    z = mean[:10, None] + std * normals(10, 100, latent, seed=1).float()
    exact = mixture_log_density(z.double(), mean.double(), log_std.double(), log_weight.double())
    found = mixture_log_density(z, mean, log_std, log_weight)
    assert found.dtype == torch.float32
    assert float((found.double() - exact).abs().max()) < 1e-3


def test_mixture_density_has_the_gradient_of_its_values():
    mean, log_std, log_weight = (v.requires_grad_() for v in mixture(3, 2))
    z = normals(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(mixture_log_density, (z, mean, log_std, log_weight))


def test_a_mixture_of_one_is_a_gaussian():
    mean, log_std, _ = mixture(1, 3)
    z = normals(8, 3)
    value = mixture_log_density(z, mean, log_std, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(value, DiagonalGaussian(mean, log_std).log_density(z))


@pytest.mark.parametrize(
    ("mean", "log_std"), [((4, 5), (4, 5)), ((4, 5), (5,)), ((4, 5), (4, 1)), ((4, 5), ()), ((1, 5), (4, 5))], ids=str
)
def test_a_sample_s_log_density_is_that_of_the_point_where_log_std_broadcasts(mean, log_std):
    q = DiagonalGaussian(normals(*mean), 0.3 * normals(math.prod(log_std), seed=1).view(log_std))
    (z,), log_q = q.rsample_and_log_prob(3)
    torch.testing.assert_close(log_q, q.log_prob((z,)))
