"""The size of a block: measured once for a large job, remembered, and smaller where memory is short."""

import math

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.builder import build
from vaezoo.evaluation import blocks
from vaezoo.evaluation.estimate import log_likelihood

IMAGES, PIXELS, GUESS = 6, 9, 8
SAMPLES = 300


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing chosen yet, and a guess of eight samples for six images."""
    monkeypatch.setattr(blocks, "_chosen", {})
    monkeypatch.setattr(blocks, "CPU_BLOCK", GUESS * IMAGES * PIXELS)
    monkeypatch.setattr(blocks, "LARGE", 32)


def images(n=IMAGES):
    return torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()


def small_model(hidden=8):
    x = images()
    return build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=2, hidden=(hidden,))


def sizes_of(model, *given, **named):
    """How many samples each block of a call had."""
    seen, original = [], model.draw_from
    model.draw_from = lambda q, batch, samples: seen.append(samples) or original(q, batch, samples)
    log_likelihood(model, *given, **named)
    del model.draw_from
    return seen


def clock(monkeypatch, model, best):
    """Time passes only in the decoder: a second a block, and most slowly a sample where a block has `best` samples."""
    time = [0.0]
    model.decoder.register_forward_pre_hook(
        lambda module, z: time.append(
            time[-1] + 1 + len(z[0]) / IMAGES * (1 + abs(math.log2(len(z[0]) / IMAGES / best)))
        )
    )
    monkeypatch.setattr(blocks, "now", lambda device: time[-1])
    return time


def limited(model, most, error=torch.OutOfMemoryError):
    """The model with a decoder that runs out of memory, half-way through, above so many rows."""

    def check(module, z, out):
        if len(z[0]) > most:
            raise error(f"DefaultCPUAllocator: can't allocate memory for {len(z[0])} rows")

    model.decoder.register_forward_hook(check)
    return model


def assert_same(one, other):
    for name in ("estimate", "standard_error", "effective_samples", "elbo", "reconstruction"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5, msg=name)
    assert list(one.at) == list(other.at)
    for stage in one.at:
        torch.testing.assert_close(one.at[stage], other.at[stage], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("best", [2, 8, 32])
def test_a_large_job_keeps_the_fastest_size_and_remembers_it(monkeypatch, best):
    model = small_model()
    clock(monkeypatch, model, best)
    seen = sizes_of(model, images(), SAMPLES)
    assert seen[:15] == 3 * [2, 4, 8, 16, 32]
    assert set(seen[15:-1]) == {best}
    assert sum(seen) == SAMPLES
    assert sizes_of(model, images(), best * 3, seed=1) == [best] * 3
    assert sizes_of(small_model(), images(), best * 3) == [best] * 3  # other weights, the same structure


def test_another_situation_is_measured_anew(monkeypatch):
    monkeypatch.setattr(blocks, "now", lambda device: 0.0)
    sizes_of(small_model(), images(), SAMPLES)
    for model, x in ((small_model(9), images()), (small_model().double(), images()), (small_model(), images(5))):
        assert len(set(sizes_of(model, x, SAMPLES)[:15])) == 5
    precise = small_model()
    precise.precision = "bfloat16"
    assert len(set(sizes_of(precise, images(), SAMPLES)[:15])) == 5
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert len(set(sizes_of(small_model(), images(), SAMPLES)[:15])) == 5
    finally:
        torch.set_num_threads(threads)
    assert len(set(sizes_of(small_model(), images(), SAMPLES)[:15])) == 1  # the first one again


def test_a_small_job_does_not_measure(monkeypatch):
    """Neither with few samples of many images nor with little work in all, and nothing reads the clock."""
    monkeypatch.setattr(blocks, "now", lambda device: pytest.fail("measured"))
    assert set(sizes_of(small_model(), images(), GUESS * 31)) == {GUESS}
    monkeypatch.setattr(blocks, "IMAGES_A_BLOCK", IMAGES)
    assert set(sizes_of(small_model(), images(IMAGES * 50), 64)) == {GUESS}
    assert blocks._chosen == {}


def test_measuring_changes_no_value(monkeypatch):
    whole = log_likelihood(small_model(), images(), SAMPLES)
    assert blocks._chosen
    monkeypatch.setattr(blocks, "LARGE", math.inf)
    monkeypatch.setattr(blocks, "_chosen", {})
    assert_same(log_likelihood(small_model(), images(), SAMPLES), whole)
    assert not blocks._chosen


def test_the_widest_layer_counts():
    assert sizes_of(small_model(PIXELS * 4), images(), 8) == [GUESS // 4] * 4


@pytest.mark.parametrize("best", [3, 6, 12, 24])
def test_a_block_is_decoded_in_pieces_whose_numbers_do_not_depend_on_its_size(monkeypatch, best):
    """Sizes are whole pieces of three samples, so all pieces are the same: bit for bit the same numbers."""
    monkeypatch.setattr(blocks, "PIECE", -(-3 * IMAGES * PIXELS // torch.get_num_threads()))
    rows, model = [], small_model()
    model.decoder.register_forward_hook(lambda module, own, out: rows.append(len(out)))
    clock(monkeypatch, model, best)
    seen = sizes_of(model, images(), SAMPLES)
    assert {3, 6, 12, 24} <= set(seen[:15])
    assert set(rows[sum(seen[:15]) // 3 + 2 :]) == {3 * IMAGES}
    assert sum(rows) == SAMPLES * IMAGES
    monkeypatch.setattr(blocks, "LARGE", math.inf)
    one, other = small_model(), small_model()
    blocks._chosen.clear()
    expected = log_likelihood(one, images(), SAMPLES)
    monkeypatch.setattr(blocks, "CPU_BLOCK", best * IMAGES * PIXELS)
    assert torch.equal(log_likelihood(other, images(), SAMPLES).estimate, expected.estimate)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
@pytest.mark.parametrize("most", [IMAGES * 5, IMAGES, IMAGES - 1, 2, 1])
def test_short_memory_changes_no_value(error, most):
    """Fewer samples a block, then fewer images; whole, it would have been eight samples of six images."""
    model = limited(small_model(), most, error)
    found = log_likelihood(model, images(), 100)
    assert_same(found, log_likelihood(small_model(), images(), 100))
    assert found.estimate.shape == (IMAGES,)


def test_a_size_that_did_not_fit_is_not_tried_again():
    model = limited(small_model(), IMAGES * 3)
    assert sizes_of(model, images(), 6) == [6, 3, 3]
    assert sizes_of(model, images(), 6) == [3, 3]


@pytest.mark.parametrize("most", [IMAGES * 20, IMAGES * 4, IMAGES])
def test_a_measurement_that_runs_out_of_memory_keeps_what_fits(most):
    model = limited(small_model(), most)
    seen = sizes_of(model, images(), SAMPLES)
    assert max(blocks._chosen.values()) * IMAGES <= most
    assert max(seen[15:]) * IMAGES <= most
    assert sum(1 for size in seen if size * IMAGES > most) <= 5
    blocks._chosen.clear()
    assert_same(log_likelihood(model, images(), SAMPLES), log_likelihood(small_model(), images(), SAMPLES))


def test_an_encoder_that_does_not_fit_gets_fewer_images():
    model, most = small_model(), 2

    def check(module, x):
        if len(x[0]) > most:
            raise torch.OutOfMemoryError("too many images")

    model.encoder.register_forward_pre_hook(check)
    assert_same(log_likelihood(model, images(), 100), log_likelihood(small_model(), images(), 100))


def test_one_sample_of_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError, match="for 1 rows"):
        log_likelihood(limited(small_model(), 0), images(), 10)


def test_other_errors_are_not_taken_for_short_memory():
    model, tries = small_model(), []

    def check(module, z):
        tries.append(len(z[0]))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model.decoder.register_forward_pre_hook(check)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        log_likelihood(model, images(), 4)
    assert tries == [4 * IMAGES]


def test_what_the_cpu_allocator_says_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert blocks.out_of_memory(caught.value)
    assert not blocks.out_of_memory(ValueError("no"))


def test_a_model_without_decoder_parameters_has_a_size():
    model = small_model()
    model.decoder = nn.Identity()
    assert blocks.BlockSize(model, 1, 10, 1).samples == GUESS * IMAGES
