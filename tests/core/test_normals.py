"""Normal numbers of random words are Box and Muller's, by the loop as by torch's operators."""

import math

import mpmath
import pytest
import torch
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode

from vaezoo.core import compiled, noise, variates
from vaezoo.training.replay.recording import record

ENDS = [-1, 0, 1, (1 << 24) - 1, 1 << 24, -(1 << 63), (1 << 63) - 1, -(1 << 24), (1 << 24) - (1 << 63)]
"""Words of the least and the largest radius, at both ends of the turn."""
EIGHTHS = [(7 << 40) + (eighth << 21) + near for eighth in range(8) for near in (0, 1, (1 << 21) - 1)]
"""Words at and beside each eighth of a turn."""
needs_loop = pytest.mark.skipif(compiled.loop(variates.LOOP) is None, reason="needs numba")


def words(*shape, seed=0):
    return torch.randint(-(1 << 63), (1 << 63) - 1, shape, generator=torch.Generator().manual_seed(seed))


def exact(word):
    """radius cos(angle) and radius sin(angle) with 50 digits."""
    word %= 1 << 64
    with mpmath.workdps(50):
        radius = mpmath.sqrt(-2 * mpmath.log(((word >> 24) + mpmath.mpf(0.5)) / 2**40))
        angle = 2 * mpmath.pi * (word % (1 << 24)) / 2**24
        return float(radius * mpmath.cos(angle)), float(radius * mpmath.sin(angle))


@needs_loop
def test_the_loop_gives_the_numbers_of_the_formula():
    """To a rounding of the largest number, but for what float32 keeps of a radius near 0: u near 1 is a multiple of
    2^-24 there.
    """
    given = torch.tensor(ENDS + EIGHTHS + words(400).tolist())
    expected = torch.tensor([exact(int(word)) for word in given]).T
    radius = expected.square().sum(0).sqrt()
    found = variates.normals(given, torch.float32).double().view(2, -1)
    assert ((found - expected).abs() <= 1.4e-7 * radius + 2.0**-24 / radius.clamp(min=2e-4)).all()


@needs_loop
def test_the_loop_and_the_operators_agree(monkeypatch):
    given = words(1000, 7, seed=1)
    found, wide = variates.normals(given, torch.float32), variates.normals(given, torch.float64)
    monkeypatch.setattr(compiled, "loop", lambda module: None)
    operators = variates.normals(given, torch.float32)
    assert not torch.equal(found, operators)  # the loop took part
    errors = [(own - wide).abs().max() for own in (found, operators)]
    assert errors[0] <= 1.1 * errors[1] < 1e-4


@needs_loop
def test_many_numbers_are_normal_and_not_correlated():
    found = variates.normals(words(200_000, seed=2), torch.float32).double().view(2, -1)
    for each in found:
        assert stats.kstest(each.numpy(), "norm").pvalue > 1e-3
    assert (torch.corrcoef(found)[0, 1].abs() * math.sqrt(found.shape[1])) < 4
    assert (torch.corrcoef(found.square())[0, 1].abs() * math.sqrt(found.shape[1])) < 4


@needs_loop
@pytest.mark.parametrize("shape", [(1,), (3, 1), (5000,), (700, 13), (3, 2, 4100), (2, 3000, 3)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_number_depends_on_its_word_alone(shape, count, threads):
    """Bit for bit: not on the other words, their layout, the number of threads, or a map by `torch.vmap`."""
    given = words(*shape, seed=3)
    threads(1)
    each = variates.normals(given.view(-1, 1), torch.float32)
    expected = torch.cat([each[:, 0].view(shape), each[:, 1].view(shape)], -1)
    threads(count)
    assert torch.equal(variates.normals(given, torch.float32), expected)
    backwards = given.flip(-1).contiguous().flip(-1)
    strided = torch.stack([backwards, backwards], -1)[..., 1]
    assert torch.equal(variates.normals(strided, torch.float32), expected)
    if len(shape) > 1:
        for axis in range(len(shape) - 1):
            mapped = torch.vmap(lambda word: variates.normals(word, torch.float32), axis, axis)(given)
            assert torch.equal(mapped, expected)


def test_the_noise_of_several_keys_at_once_is_that_of_each():
    """As packs and prefetched noise draw it."""
    keys, index = torch.tensor([3, 4]), torch.tensor([[1, 2], [5, 0]])

    def drawn(key, index):
        with noise.stream(key, index=index):
            return noise.normal(4, 2, 5)

    together = torch.vmap(drawn)(keys, index)
    for found, key, own in zip(together, keys, index, strict=True):
        assert torch.equal(found, drawn(key, own))


def test_a_recording_draws_new_numbers():
    given, result = words(5, 6), torch.zeros(5, 12)
    recording = record(lambda: result.copy_(variates.normals(given, torch.float32)))
    given.copy_(words(5, 6, seed=9))
    recording()
    assert torch.equal(result, variates.normals(words(5, 6, seed=9), torch.float32))


def test_words_of_other_kinds_get_the_operators():
    for shape in ((0,), (3, 0), (0, 4)):
        assert variates.normals(words(*shape), torch.float32).shape == (*shape[:-1], 2 * shape[-1])
    assert variates.normals(torch.empty(3, 4, dtype=torch.int64, device="meta"), torch.float32).shape == (3, 8)
    with FakeTensorMode():
        assert variates.normals(torch.empty(3, 4, dtype=torch.int64), torch.float32).shape == (3, 8)
    compiled_draw = torch.compile(lambda word: variates.normals(word, torch.float32), backend="eager")
    torch.testing.assert_close(compiled_draw(words(3, 4)), variates.normals(words(3, 4), torch.float32))
