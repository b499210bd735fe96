"""The one source of random numbers: distributions, independence, and what a number depends on."""

import math

import pytest
import torch
from drawing import IMAGES, KINDS, call, drawn
from scipy import stats

import vaezoo
from vaezoo import noise
from vaezoo.builder import build

N = 400_000


@pytest.mark.parametrize("key", [0, 1, -7, 2**62])
def test_normal_numbers_are_standard_normal(key):
    x = drawn("normal", N, key=key)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10395 - 225)):
        assert abs(float(x.pow(power).mean()) - moment) < 4 * math.sqrt(spread / N), f"moment {power}"
    assert stats.kstest(x.numpy(), "norm").pvalue > 1e-3


def test_the_tails_of_the_normal_numbers_are_filled():
    """Beyond 4: as many as a normal variable has, within 4 standard errors, and in float32 too."""
    for dtype in (torch.float32, torch.float64):
        x = drawn("normal", 4_000_000, key=3, dtype=dtype)
        expected = len(x) * 2 * stats.norm.sf(4)
        assert abs(int((x.abs() > 4).sum()) - expected) < 4 * math.sqrt(expected)
        assert x.isfinite().all()
        assert float(x.abs().max()) > 4.7


@pytest.mark.parametrize("key", [0, 1, -7, 2**62])
def test_uniform_numbers_are_uniform(key):
    u = drawn("uniform", N, key=key)
    for power in (1, 2, 3):
        spread = 1 / (2 * power + 1) - 1 / (power + 1) ** 2
        assert abs(float(u.pow(power).mean()) - 1 / (power + 1)) < 4 * math.sqrt(spread / N)
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    counts = torch.histc(u, 1024, 0, 1)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_never_reach_the_ends(dtype):
    u = drawn("uniform", 3, 1_000_000, dtype=dtype)
    assert 0 < float(u.min()) < 1e-5
    assert 1 - 1e-5 < float(u.max()) < 1
    assert u.logit().isfinite().all()
    top = torch.tensor((1 << 23) - 1).to(dtype).add(0.5).mul(2.0**-23)
    assert float(top) < 1


@pytest.mark.parametrize("top", [255, 16, 1])
def test_binarisation_has_the_probability_of_its_level(top):
    levels = torch.arange(top + 1, dtype=torch.uint8)[: 256 if top == 255 else None]
    images = levels.expand(20_000, -1)
    with noise.stream(5, index=torch.arange(20_000)):
        x = noise.bernoulli(images, top)
    assert x.dtype == torch.uint8
    assert set(x.unique().tolist()) <= {0, 1}
    share, p = x.double().mean(0), levels.double() / top
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / 20_000).sqrt()).all()
    assert share[0] == 0
    assert share[-1] == 1
    spread = float((p * (1 - p)).sum() / 20_000) ** 0.5
    assert abs(float(share.sum() - p.sum())) <= 4 * spread


def test_binarisation_outside_a_stream_follows_torch():
    levels = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8)
    torch.manual_seed(1)
    first = noise.bernoulli(levels)
    torch.manual_seed(1)
    assert torch.equal(first, noise.bernoulli(levels))
    assert not torch.equal(first, noise.bernoulli(levels))


def test_binarisation_is_keyed_by_image():
    levels = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8)
    order = torch.randperm(50)
    with noise.stream(1, index=torch.arange(50)):
        straight = noise.bernoulli(levels)
    with noise.stream(1, index=order):
        assert torch.equal(noise.bernoulli(levels[order]), straight[order])
    with noise.stream(2, index=torch.arange(50)):
        assert not torch.equal(noise.bernoulli(levels), straight)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_samples_images_calls_and_keys_are_independent(kind):
    """Correlations, of values and of squares, between neighbours along every axis, within 4 standard errors."""
    k, b, n = 40, 50, 201

    def block(key, calls=1):
        with noise.stream(key, index=torch.arange(b), dtype=torch.float64):
            return [getattr(noise, kind)(k, b, n) for _ in range(calls)]

    first, second = block(0, 2)
    (other,) = block(1)
    step_key = noise.mix(torch.tensor(0) + noise.GOLDEN)
    (stepped,) = block(step_key)
    pairs = {
        "samples": (first[1:], first[:-1]),
        "images": (first[:, 1:], first[:, :-1]),
        "positions": (first[..., 1:], first[..., :-1]),
        "halves of a word": (first[..., :100], first[..., 101:]),
        "calls": (first, second),
        "call and sample": (first[1:], second[:-1]),
        "keys": (first, other),
        "steps": (first, stepped),
        "sample and image": (first[1:, :-1], first[:-1, 1:]),
    }
    for name, pair in pairs.items():
        for power in (1, 2):
            x, y = (v.flatten().pow(power) for v in pair)
            correlation = float(torch.corrcoef(torch.stack([x, y]))[0, 1])
            assert abs(correlation) < 4 / math.sqrt(len(x)), f"{name}, power {power}"


def words_of(keys, images=50):
    """64-bit words of two calls under each key."""
    found = []
    for key in keys:
        with noise.stream(key, index=torch.arange(images)) as stream:
            found += [stream.bits((40, images, 25), 1, True).flatten() for _ in range(2)]
    return torch.cat(found)


def test_no_word_is_drawn_twice():
    """Over samples, images, calls and derived keys: of 300,000 words of 64 bits chance repeats none."""
    words = words_of([noise.derive(seed, "samples") for seed in range(3)])
    assert len(words) == len(words.unique()) == 300_000


def test_no_word_is_drawn_twice_with_small_keys():
    """Key and image are mixed from different starts: else image a of key b would have the words of image b of key a."""
    words = words_of(range(3))
    assert len(words) == len(words.unique())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", [(1,), (2,), (5,), (3, 4), ()])
def test_numbers_do_not_depend_on_the_block(kind, rest):
    index = torch.tensor([3, 14, 159])
    whole = drawn(kind, 10, 3, *rest, index=index)
    parts = [drawn(kind, count, 3, *rest, index=index, first=first) for first, count in ((0, 4), (4, 1), (5, 5))]
    assert torch.equal(whole, torch.cat(parts))
    assert kind in ("categorical", "poisson") or len(whole.unique()) == whole.numel()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_do_not_depend_on_the_order_of_the_batch(kind):
    index, order = torch.arange(100, 120), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    whole = drawn(kind, 4, 20, 5, index=index)
    assert torch.equal(drawn(kind, 4, 20, 5, index=index[order]), whole[:, order])
    assert torch.equal(drawn(kind, 4, 1, 5, index=index[7:8]), whole[:, 7:8])
    assert not torch.equal(drawn(kind, 4, 20, 5, index=index + 1), whole)


def test_without_an_index_numbers_are_one_run():
    assert torch.equal(drawn("normal", 4, 3), drawn("normal", 12).view(4, 3))


@pytest.mark.parametrize("key", [0, 5, -3, 2**63 - 1])
def test_a_tensor_key_is_an_integer_key(key):
    index = torch.arange(4)
    assert torch.equal(
        drawn("normal", 2, 4, 3, key=key, index=index), drawn("normal", 2, 4, 3, key=torch.tensor(key), index=index)
    )


@pytest.mark.parametrize(("kind", "tolerance"), [("normal", 2e-3), ("uniform", 1e-7)])
def test_float32_sees_the_numbers_of_float64_rounded(kind, tolerance):
    single, double = (drawn(kind, 200_000, key=9, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    difference = (single.double() - double).abs()
    assert float(difference.max()) < tolerance
    assert float(difference.mean()) < 1e-6


@pytest.mark.parametrize("kind", ["gamma", "categorical", "poisson"])
def test_float32_draws_the_numbers_of_float64(kind):
    """Whether a proposal is accepted, which class and which count do not depend on the precision."""
    single, double = (drawn(kind, 500, 7, 6, dtype=dtype, index=IMAGES) for dtype in (torch.float32, torch.float64))
    if kind == "gamma":
        torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=0)
    else:
        assert torch.equal(single.double(), double.double())
    assert single.dtype == (torch.int64 if kind == "categorical" else torch.float32)


@pytest.mark.parametrize("kind", [*KINDS, "bernoulli"])
def test_keys_map_under_vmap(kind):
    index, levels = torch.arange(6), torch.randint(256, (6, 7), dtype=torch.uint8)

    def numbers(key):
        with noise.stream(key, index=index):
            noise.normal(1, 6, 2)
            return noise.bernoulli(levels) if kind == "bernoulli" else call(noise, kind, 3, 6, 7)

    keys = torch.tensor([noise.derive(seed, "noise") for seed in range(4)])
    mapped = torch.func.vmap(numbers)(keys)
    for key, found in zip(keys, mapped, strict=True):
        assert torch.equal(found, numbers(key))
        assert torch.equal(found, numbers(int(key)))
    assert not torch.equal(mapped[0], mapped[1])


def test_streams_nest_and_close():
    with noise.stream(1):
        noise.normal(3)
        with noise.stream(2):
            inner = noise.normal(3)
        outer = noise.normal(3)
    assert torch.equal(inner, drawn("normal", 3, key=2, dtype=torch.float32))
    with noise.stream(1):
        noise.normal(3)
        assert torch.equal(noise.normal(3), outer)


def test_a_stream_closes_when_its_body_raises():
    with pytest.raises(RuntimeError, match="stop"), noise.stream(1):
        raise RuntimeError("stop")
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    assert torch.equal(noise.normal(3), expected)


def test_derived_seeds_differ_by_axis_and_stay_the_same():
    axes = [
        ("initialisation",),
        ("order", 1),
        ("order", 2),
        ("order", 11),
        ("noise",),
        ("samples",),
        ("posterior",),
        (),
    ]
    found = {noise.derive(seed, *axis) for seed in range(20) for axis in axes}
    assert len(found) == 20 * len(axes)
    assert all(0 <= seed < 2**63 for seed in found)
    assert noise.derive(3, "order", 4) == noise.derive(3, "order", 4)
    bits = torch.tensor(sorted(found))
    shares = torch.stack([(bits >> n & 1).double().mean() for n in range(63)])
    assert ((shares - 0.5).abs() < 4.5 * 0.5 / math.sqrt(len(bits))).all()


def test_mix_is_the_published_splitmix64():
    """The finaliser of Steele et al. written with Python's unbounded integers."""
    mask = (1 << 64) - 1

    def published(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    for value in (0, 1, 2**63, mask, 0x123456789ABCDEF, 0x9E3779B97F4A7C15):
        signed = value - (1 << 64) if value >= 1 << 63 else value
        assert int(noise.mix(torch.tensor(signed))) & mask == published(value)


def test_outside_a_stream_torch_governs():
    for kind in KINDS:
        for draws in (noise, noise.step):
            torch.manual_seed(4)
            first = call(draws, kind, 5, 6, 4)
            torch.manual_seed(4)
            again = call(draws, kind, 5, 6, 4)
            assert torch.equal(first, again)
            assert not torch.equal(first, call(draws, kind, 5, 6, 4))
    x = torch.ones(4, 1, 3, 3)
    model = build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=2, hidden=(4,))
    for draw in (lambda: model.draw(model.batch(x), 3).z[0], lambda: model.sample(5), lambda: model.prior_sample(5)[0]):
        torch.manual_seed(4)
        first = draw()
        torch.manual_seed(4)
        assert torch.equal(first, draw())
        assert draw is not None
        torch.manual_seed(5)
        assert not torch.equal(first, draw())


def test_a_draw_inside_a_stream_leaves_torchs_generator_alone():
    x = torch.ones(4, 1, 3, 3)
    model = build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=2, hidden=(4,))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with noise.stream(0, index=torch.arange(4)):
        model.draw(model.batch(x), 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_building_leaves_torchs_generator_alone():
    x = torch.ones(4, 1, 3, 3)
    dataset = vaezoo.Dataset(x, x, x, measure="binary")
    torch.manual_seed(0)
    state = torch.get_rng_state()
    build("vae", dataset, latent=2, hidden=(4,))
    assert torch.equal(torch.get_rng_state(), state)
