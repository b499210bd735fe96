"""Gamma, categorical and Poisson numbers: their distributions, their quantiles, and the gradient of a gamma number."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from vaezoo import noise
from vaezoo.core import variates
from vaezoo.core.errors import VaezooError

N = 100_000
CONCENTRATIONS = [0.4, 1.0, 1.7, 9.0, 300.0]
DTYPES = [torch.float32, torch.float64]


def drawn(kind, parameters, key=0):
    """Numbers keyed by sample and image of parameters [K, B, ...]."""
    with noise.stream(key, index=torch.arange(parameters.shape[1])):
        return getattr(noise, kind)(parameters)


@pytest.mark.parametrize(
    ("concentration", "dtype"), [(0.05, torch.float64), *((c, dtype) for c in CONCENTRATIONS for dtype in DTYPES)]
)
def test_gamma_numbers_are_gamma(concentration, dtype):
    z = drawn("gamma", torch.full((N // 20, 5, 4), concentration, dtype=dtype), key=1)
    assert z.dtype == dtype
    assert float(z.min()) > 0
    z = z.double()
    assert stats.kstest(z.flatten().numpy(), "gamma", args=(concentration,)).pvalue > 1e-3
    for power in (1, 2):
        moment, second = (
            math.exp(math.lgamma(concentration + p) - math.lgamma(concentration)) for p in (power, 2 * power)
        )
        assert abs(float(z.pow(power).mean()) - moment) < 4 * math.sqrt((second - moment**2) / N)


def test_a_proposal_of_a_gamma_number_is_rejected_as_seldom_as_stated():
    """At most 0.0484 at concentration 1 and less above, so that 8 rounds leave 3e-11."""

    def rejected(a):
        d = a - 1 / 3
        c = 1 / math.sqrt(9 * d)

        def accepted(x):
            cube = (1 + c * x) ** 3
            return (
                stats.norm.pdf(x) * min(1.0, math.exp(0.5 * x * x + d * (1 - cube + math.log(cube)))) if cube > 0 else 0
            )

        return 1 - integrate.quad(accepted, -1 / c, 12, limit=400)[0]

    shares = [rejected(a) for a in (1.0, 1.1, 1.5, 2.0, 10.0)]
    assert 0.048 < shares[0] < 0.0484
    assert shares == sorted(shares, reverse=True)
    assert shares[0] ** variates.GAMMA_ROUNDS < 3e-11


def test_a_gamma_number_whose_proposals_are_all_rejected_is_near_the_mode():
    """And the first that is accepted counts, from the left."""
    a, boost = torch.tensor([1.0, 5.0]).double(), torch.full((2,), 0.5).double()
    normal = torch.tensor([-9.0, 0.3, 1.1]).double().expand(2, 3)
    never, always = torch.full((2, 3), 1 - 2.0**-24).double(), torch.full((2, 3), 1e-6).double()
    d = a - 1 / 3
    torch.testing.assert_close(variates.gammas(a, normal[:, :1], never[:, :1], boost), d)
    expected = d * (1 + normal[:, 1] / (9 * d).sqrt()) ** 3
    torch.testing.assert_close(variates.gammas(a, normal, always, boost), expected)


@pytest.mark.parametrize("concentration", [3e-3, 0.05, 0.5, 1.0, 3.0, 19.0, 100.0, 1e4])
def test_the_slope_of_a_gamma_number_is_that_of_its_quantile(concentration):
    """scipy's quantile function, whose difference by the concentration has some 6 digits."""
    u = np.array([1e-4, 0.01, 0.3, 0.5, 0.8, 0.99, 0.9999])
    step = 1e-4 * concentration / math.sqrt(1 + concentration)
    quantile = special.gammaincinv(concentration, u)
    above, below = (special.gammaincinv(concentration + s, u) for s in (step, -step))
    kept = below > 1e-290
    slope = variates.gamma_slope(torch.full((len(u),), concentration).double(), torch.tensor(quantile))
    expected = torch.tensor((above - below) / (2 * step))
    torch.testing.assert_close(slope[kept], expected[kept], rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 2.5, 30.0])
@pytest.mark.parametrize("mapped", [False, True])
def test_gradient_of_an_expectation_over_gamma_numbers(concentration, mapped):
    """d/da E[f(z)], f = sin z + log z, against finite differences of the integral, within 4 standard errors."""

    def expected(a):
        by_log = lambda t: math.exp(a * t - math.exp(t) - math.lgamma(a)) * (math.sin(math.exp(t)) + t)  # noqa: E731
        return integrate.quad(
            by_log, math.log(a) - 60 / a - 9, math.log(a) + 9 / math.sqrt(a), limit=2000, epsabs=1e-11
        )[0]

    h = 1e-3 * concentration
    exact = (expected(concentration + h) - expected(concentration - h)) / (2 * h)
    a = torch.full((2, N // 10, 5), concentration, dtype=torch.float64, requires_grad=True)

    def draw(key, a):
        with noise.stream(key, index=torch.arange(5)):
            return noise.gamma(a)

    keys = torch.tensor([3, 4])
    z = torch.vmap(draw)(keys, a) if mapped else torch.stack([draw(keys[n], a[n]) for n in range(2)])
    (slope,) = torch.autograd.grad((z.sin() + z.log()).sum(), a)
    assert abs(float(slope.mean()) - exact) < 4 * float(slope.std()) / math.sqrt(N)
    assert abs(exact) > 8 * float(slope.std()) / math.sqrt(N)


def test_gamma_numbers_are_the_same_with_and_without_gradient():
    a = torch.rand(50, 4, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1e-2
    plain, traced = drawn("gamma", a), drawn("gamma", a.clone().requires_grad_())
    assert torch.equal(plain, traced)
    assert traced.requires_grad
    assert not plain.requires_grad


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_forward_and_second_derivatives_of_gamma_numbers_are_refused():
    a = torch.full((3,), 1.5, requires_grad=True)
    with pytest.raises(RuntimeError, match="jvp"):
        torch.func.jvp(noise.gamma, (a.detach(),), (torch.ones(3),))
    (slope,) = torch.autograd.grad(noise.gamma(a).sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match=r"derivative for .igamma"):
        torch.autograd.grad(slope.sum(), a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("concentration", [1e-30, 1e-3, 1e4, 1e8, 1e12])
def test_extreme_concentrations_have_finite_numbers_and_gradients(concentration, dtype):
    a = torch.full((500, 2), concentration, dtype=dtype, requires_grad=True)
    z = drawn("gamma", a)
    (slope,) = torch.autograd.grad(z.sum(), a)
    assert z.isfinite().all()
    assert (z > 0).all()
    assert slope.isfinite().all()
    if concentration >= 1e4:
        assert (z / concentration - 1).abs().max() < 6 / math.sqrt(concentration) + 1e-6
        torch.testing.assert_close(slope, torch.ones_like(slope), rtol=6 / math.sqrt(concentration) + 1e-2, atol=0)


def test_parameters_out_of_range_give_nan():
    bad = torch.tensor([0.0, -1.0, math.nan])
    assert noise.gamma(bad).isnan().all()
    assert noise.poisson(torch.tensor([-1e-3, math.nan, math.inf])).isnan().all()


LOGITS = torch.tensor(
    [[0.3, -1.0, 2.0, -math.inf, 0.0], [5.0, 5.0, 5.0, -40.0, 5.0], [-math.inf, 0, -math.inf, 1, -math.inf]]
)


@pytest.mark.parametrize("shift", [0.0, -1e3, 1e4])
def test_classes_have_their_probabilities(shift):
    classes = drawn("categorical", (LOGITS.double() + shift).expand(N // 5, 5, 3, 5), key=2)
    assert classes.shape == (N // 5, 5, 3)
    assert classes.dtype == torch.int64
    for row, logits in zip(classes.unbind(-1), LOGITS, strict=True):
        counts = torch.bincount(row.flatten(), minlength=5).double()
        p = logits.double().softmax(-1)
        assert counts[p < 1e-15].sum() == 0
        kept = p > 1e-15
        assert stats.chisquare(counts[kept].numpy(), (N * p[kept] / p[kept].sum()).numpy()).pvalue > 1e-3


def test_the_ends_of_a_category_are_never_of_probability_0():
    """At the smallest and the largest uniform number, with classes of probability 0 on both sides."""
    logits = torch.tensor([-math.inf, -math.inf, 0.1, 0.7, -0.3, -math.inf]).expand(2, 6)
    ends = variates.fine_uniforms(torch.tensor([0, -1]))
    assert 0 < float(ends[0]) < 1e-15
    assert float(ends[1]) == 1 - 2.0**-53
    assert variates.categories(logits, ends).tolist() == [2, 4]


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.9, 4.5, 31.0, 2e3, 1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poisson_numbers_are_poisson(rate, dtype):
    k = drawn("poisson", torch.full((N // 20, 5, 4), rate, dtype=dtype), key=3)
    assert k.dtype == dtype
    k = k.double().flatten()
    assert torch.equal(k, k.round())
    if rate == 0:
        assert (k == 0).all()
        return
    assert abs(float(k.mean()) - rate) < 4 * math.sqrt(rate / N)
    spread = math.sqrt((rate + 2 * rate**2) / N)
    assert abs(float((k - rate).square().mean()) - rate) < 4.5 * spread
    edges = np.unique(stats.poisson.ppf(np.linspace(0.01, 0.99, 30), rate))
    below = np.array([float((k <= edge).double().mean()) for edge in edges])
    p = stats.poisson.cdf(edges, rate)
    assert (np.abs(below - p) < 4.5 * np.sqrt(p * (1 - p) / N) + 1e-12).all()


def test_poisson_numbers_are_quantiles():
    """scipy's, at rates up to 10^6 and far into both tails; where P(X > k) rounds to 0 the two may round apart."""
    rates = torch.tensor([0.0, *10 ** np.linspace(-6, 6, 61)], dtype=torch.float64)
    u = torch.tensor([*2.0 ** -np.arange(1, 53.0), *(1 - 2.0 ** -np.arange(2, 40.0)), *np.linspace(0.001, 0.999, 100)])
    rate, u = torch.meshgrid(rates, u.double(), indexing="ij")
    assert torch.equal(variates.poissons(rate, u), torch.tensor(stats.poisson.ppf(u.numpy(), rate.numpy())))


@pytest.mark.parametrize("kind", ["gamma", "categorical", "poisson"])
def test_samples_images_positions_and_calls_are_independent(kind):
    """Correlations between neighbours along every axis, within 4 standard errors."""
    parameters = torch.full((40, 50, 101), 1.3).double()
    if kind == "categorical":
        parameters = torch.zeros(40, 50, 101, 4)
    with noise.stream(0, index=torch.arange(50)):
        first, second = getattr(noise, kind)(parameters), getattr(noise, kind)(parameters)
    other = drawn(kind, parameters, key=1)
    pairs = {
        "samples": (first[1:], first[:-1]),
        "images": (first[:, 1:], first[:, :-1]),
        "positions": (first[..., 1:], first[..., :-1]),
        "halves of a word": (first[..., :50], first[..., 51:]),
        "calls": (first, second),
        "keys": (first, other),
    }
    for name, pair in pairs.items():
        x, y = (v.double().flatten() for v in pair)
        assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 4 / math.sqrt(len(x)), name


def test_the_last_axis_of_logits_is_no_axis_of_images():
    """Logits [K, B] would be classes of no image; [K, B, C] are needed."""
    with noise.stream(0, index=torch.arange(3)), pytest.raises(VaezooError, match=r"got the shape \[2\]"):
        noise.categorical(torch.zeros(2, 3))
