"""Noise that is drawn for several blocks at once is, to the last bit, the noise that each block would draw itself."""

import contextlib
import math

import pytest
import torch

import vaezoo
from vaezoo import noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.streams import Stream
from vaezoo.evaluation import blocks, sample_noise
from vaezoo.evaluation.sample_noise import SampleNoise

B, K = 4, 50
INDEX = torch.tensor([7, 0, 3, 9])
VARIANTS = ["vae", "hvae-2", "vae-realnvp", "svae", "vae-student-t", "discrete-vae", "vae-hamiltonian", "vae-mixture"]


def estimate(variant):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(60, 1, 4, 4, generator=generator).round()
    data = vaezoo.Dataset(x, x[:4], x[:4], measure="binary")
    model, _ = construct(resolve(variant, data.spec), Ingredients.of(data, 3, (8, 8)))
    return vaezoo.log_likelihood(model, x[:B], K, index=INDEX).estimate


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("samples", [1, 7, 25, K])
def test_an_estimate_is_the_same(monkeypatch, variant, samples):
    monkeypatch.setattr(blocks.BlockSize, "samples", samples)
    monkeypatch.setitem(sample_noise.NUMBERS, "cpu", 0)
    expected = estimate(variant)
    for numbers in (2 * samples * B * 3, 2**18):
        monkeypatch.setitem(sample_noise.NUMBERS, "cpu", numbers)
        assert torch.equal(estimate(variant), expected)


def drawn(sizes, numbers, monkeypatch):
    """Two calls by image and one by step in each block: the results, and the shapes of the words that were made."""
    monkeypatch.setitem(sample_noise.NUMBERS, "cpu", numbers)
    made, bits = [], Stream.bits
    monkeypatch.setattr(Stream, "bits", lambda self, shape, *more: made.append(shape) or bits(self, shape, *more))
    stream, found, first = SampleNoise(5, INDEX, sum(sizes), torch.float32), [], 0
    for samples in sizes:
        with stream.block(first, samples):
            by_image = noise.normal(samples, B, 3), noise.uniform(samples, B, 2), noise.normal(samples, B, 1)
        found.append(torch.cat(by_image, -1))
        first += samples
    monkeypatch.setattr(Stream, "bits", bits)
    return torch.cat(found), made


def test_numbers_of_many_blocks_are_drawn_together(monkeypatch):
    """The first block shows the calls. 96 numbers are those of three blocks."""
    expected, _ = drawn([20], 0, monkeypatch)
    found, made = drawn([2] * 10, 96, monkeypatch)
    assert torch.equal(found, expected)
    normals = [shape for shape in made if shape[2] != 2]
    assert normals == [(n, B, z, 1) for n in (2, 6, 6, 6) for z in (3, 1)]


@pytest.mark.parametrize("sizes", [[1, 2, 4, 8, 5], [8, 4, 2, 1, 5], [3, 3, 3, 3, 3, 3, 2]])
def test_blocks_of_changing_sizes(monkeypatch, sizes):
    """As while sizes are tried, and where a block did not fit the memory."""
    expected, _ = drawn([20], 0, monkeypatch)
    for numbers in (40, 100, 2**18):
        assert torch.equal(drawn(sizes, numbers, monkeypatch)[0], expected)


def test_a_block_is_repeated_with_fewer_samples(monkeypatch):
    expected, _ = drawn([20], 0, monkeypatch)
    stream = SampleNoise(5, INDEX, 20, torch.float32)
    for first, samples in ((0, 8), (8, 8), (8, 4), (12, 4)):
        with stream.block(first, samples):
            assert torch.equal(noise.normal(samples, B, 3), expected[first : first + samples, :, :3])


def test_a_block_that_failed_finds_its_numbers_as_they_were():
    """Also where it changed them in place before it failed."""
    stream, found = SampleNoise(5, INDEX, 20, torch.float32), []
    for first, samples, fails in ((0, 4, False), (4, 4, True), (4, 2, False), (6, 2, False)):
        with contextlib.suppress(MemoryError), stream.block(first, samples):
            eps = noise.normal(samples, B, 3)
            found += [] if fails else [eps.clone()]
            eps.mul_(2)
            if fails:
                raise MemoryError
    with noise.stream(5, index=INDEX):
        assert torch.equal(torch.cat(found), noise.normal(8, B, 3))


@pytest.mark.parametrize("sizes", [[1, 16, 1, 16, 1, 16], [16, 1, 16, 1]])
def test_no_more_numbers_than_the_limit_are_drawn_at_once(monkeypatch, sizes):
    """Numbers of a sample: 16 by image in two calls of `normal`."""
    _, made = drawn(sizes, 32 * 16, monkeypatch)
    assert max(math.prod(shape) for shape in made if shape[2] == 3) <= 32 * 12
    assert max(math.prod(shape) for shape in made if shape[2] == 1) <= 32 * 4


def test_large_blocks_draw_for_themselves(monkeypatch):
    _, made = drawn([2, 2, 2], 63, monkeypatch)
    assert len(made) == 9
