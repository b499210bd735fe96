"""What log_likelihood refuses, in one line each, and what it takes."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import VaezooError
from vaezoo.builder import build

SHAPE = (1, 2, 2)
GRAY = torch.tensor([0, 7, 128, 255], dtype=torch.uint8).view(1, *SHAPE).repeat(3, 1, 1, 1)
BINARY = torch.tensor([0.0, 1.0, 1.0, 0.0]).view(1, *SHAPE).repeat(3, 1, 1, 1)


def model_of(measure="binary", context=None, **options):
    x = {"binary": BINARY, "continuous": BINARY / 3}.get(measure, GRAY)
    split = x if context is None else (x, None, context)
    variant = "vae" if context is None else "conditional-vae"
    dataset = vaezoo.Dataset(split, split, split, measure=measure, **options)
    return build(variant, dataset, latent=2, hidden=(4,))


def counting():
    """A model of counts, for which no likelihood has to be there."""
    model = discrete()
    model.spec = replace(model.spec, measure="counts", levels=None)
    return model


def conditional():
    return model_of(context=torch.eye(3))


def poisoned(value=math.nan, name="decoder"):
    model = model_of()
    with torch.no_grad():
        next(getattr(model, name).parameters()).view(-1)[3] = value
    return model


def discrete():
    return model_of("discrete", levels=256)


def with_pixel(x, value):
    x = x.clone()
    x[1, 0, 0, 1] = value
    return x


REFUSED = {
    "gray integers": (lambda: (model_of(), GRAY), "x of this binary model must be 0 or 1 (binarise gray levels first"),
    "a half": (lambda: (model_of(), with_pixel(BINARY, 0.5)), "got 0.5 in image 1"),
    "a negative pixel": (lambda: (model_of(), with_pixel(BINARY, -1.0)), "must be 0 or 1"),
    "a pixel of NaN": (lambda: (model_of(), with_pixel(BINARY, math.nan)), "got nan in image 1"),
    "a level too many": (
        lambda: (model_of("discrete", levels=256), with_pixel(GRAY.int(), 256)),
        "whole numbers in 0..255, or floats that are such numbers divided by 255, got 256 in image 1",
    ),
    "levels as floats": (lambda: (discrete(), GRAY.float()), "got 7 in image 0"),
    "a float between levels": (lambda: (discrete(), with_pixel(GRAY / 255, 0.5)), "got 0.5 in image 1"),
    "a negative count": (lambda: (counting(), with_pixel(GRAY.int(), -1)), "must be whole numbers of 0 or more"),
    "half a count": (lambda: (counting(), with_pixel(GRAY.float(), 0.5)), "got 0.5 in image 1"),
    "infinitely many": (lambda: (counting(), with_pixel(GRAY.float(), math.inf)), "got inf in image 1"),
    "infinity": (
        lambda: (model_of("continuous"), with_pixel(BINARY, -math.inf)),
        "must be finite, got -inf in image 1",
    ),
    "outside of the levels": (
        lambda: (model_of("continuous", levels=256), with_pixel(BINARY, 1.5)),
        "must be in [0, 1], got 1.5 in image 1",
    ),
    "another shape": (lambda: (model_of(), torch.zeros(3, 4)), "x must be [B, 1, 2, 2], got [3, 4]"),
    "one image": (lambda: (model_of(), BINARY[0]), "got [1, 2, 2]; give a single image as x[None]"),
    "a number": (lambda: (model_of(), torch.tensor(1.0)), "x must be [B, 1, 2, 2], got []"),
    "no images": (lambda: (model_of(), BINARY[:0]), "takes one image or more, got x of shape [0, 1, 2, 2]"),
    "a list": (lambda: (model_of(), [[0.0]]), "x must be a torch.Tensor or a numpy array of real numbers, got list"),
    "texts": (lambda: (model_of(), np.array(["a"])), "got <U1 ndarray"),
    "complex numbers": (lambda: (model_of(), BINARY.cfloat()), "got torch.complex64 Tensor"),
    "a sparse tensor": (lambda: (model_of(), BINARY.to_sparse()), "x must be a torch.Tensor or a numpy array"),
    "half a sample": (lambda: (model_of(), BINARY, 2.5), "importance_samples must be a whole number, got 2.5"),
    "a float": (lambda: (model_of(), BINARY, 100.0), "importance_samples must be a whole number, got 100.0"),
    "True": (lambda: (model_of(), BINARY, True), "importance_samples must be a whole number, got True"),
    "a text": (lambda: (model_of(), BINARY, "50"), "importance_samples must be a whole number, got '50'"),
    "no samples": (lambda: (model_of(), BINARY, 0), "importance_samples must be 1 or more, got 0"),
    "minus three": (lambda: (model_of(), BINARY, -3), "importance_samples must be 1 or more, got -3"),
    "too many": (lambda: (model_of(), BINARY, 10**12), "must be 1,000,000,000 at most, got 1000000000000"),
    "half a seed": (lambda: (model_of(), BINARY, 2, 0.5), "seed must be a whole number, got 0.5"),
    "unasked context": (lambda: (model_of(), BINARY, 2, 0, torch.eye(3)), "this model is not conditional"),
    "no context": (lambda: (conditional(), BINARY, 2), "conditional: give the context of the images, [3, 3]"),
    "a wider context": (lambda: (conditional(), BINARY, 2, 0, torch.eye(4)[:3]), "context must be [3, 3], got [3, 4]"),
    "a longer context": (lambda: (conditional(), BINARY, 2, 0, torch.ones(4, 3)), "context must be [3, 3], got [4, 3]"),
    "labels": (lambda: (conditional(), BINARY, 2, 0, torch.arange(3)), "context must be [3, 3], got [3]"),
    "a context of NaN": (lambda: (conditional(), BINARY, 2, 0, torch.eye(3).log()), "got NaN or infinity for image 0"),
    "a longer index": (
        lambda: (model_of(), BINARY, 2, 0, None, torch.arange(4)),
        "whole numbers [3], got torch.int64 [4]",
    ),
    "a shorter index": (
        lambda: (model_of(), BINARY, 2, 0, None, torch.arange(2)),
        "whole numbers [3], got torch.int64 [2]",
    ),
    "an index of floats": (lambda: (model_of(), BINARY, 2, 0, None, torch.rand(3)), "got torch.float32 [3]"),
    "a mask": (lambda: (model_of(), BINARY, 2, 0, None, torch.ones(3).bool()), "got torch.bool [3]"),
    "a negative index": (lambda: (model_of(), BINARY, 2, 0, None, [0, 1, -1]), "index must be 0 or more, got -1"),
    "weights of NaN": (lambda: (poisoned(), BINARY), "the model's decoder."),
    "weights of infinity": (
        lambda: (poisoned(math.inf, "encoder"), BINARY),
        "holds NaN or infinity in 1 of 16 numbers",
    ),
    "a name": (lambda: ("vae", BINARY), "log_likelihood takes a model first, got str"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(case):
    given, message = REFUSED[case]
    with pytest.raises(VaezooError, match=re.escape(message)) as raised:
        vaezoo.log_likelihood(*given())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_zeros_and_ones_of_any_dtype_are_the_same_images(dtype):
    model = model_of()
    expected = vaezoo.log_likelihood(model, BINARY, 3).estimate
    for x in (BINARY.to(dtype), BINARY.to(dtype).numpy()):
        torch.testing.assert_close(vaezoo.log_likelihood(model, x, np.int64(3)).estimate, expected)


def test_every_level_is_taken_as_a_whole_number_and_as_a_float():
    for levels in (2, 3, 17, 256, 65_536):
        x = torch.arange(levels, dtype=torch.int32).repeat(4)[: 4 * levels].view(levels, *SHAPE)
        model = build("vae", vaezoo.Dataset(x, x, x, measure="discrete", levels=levels), latent=2, hidden=(4,))
        whole = vaezoo.log_likelihood(model, x[-9:], 3).estimate
        floats = vaezoo.log_likelihood(model, x[-9:].float() / (levels - 1), 3).estimate
        torch.testing.assert_close(whole, floats, rtol=1e-5, atol=1e-4)


def test_the_index_may_be_a_list_or_an_array():
    model = model_of()
    expected = vaezoo.log_likelihood(model, BINARY, 3, index=torch.tensor([5, 0, 2])).estimate
    for index in ([5, 0, 2], np.array([5, 0, 2], dtype=np.int32), torch.tensor([5, 0, 2], dtype=torch.uint8)):
        assert torch.equal(vaezoo.log_likelihood(model, BINARY, 3, index=index).estimate, expected)


def test_a_context_of_an_array_is_taken():
    model, context = conditional(), torch.eye(3)
    expected = vaezoo.log_likelihood(model, BINARY, 3, context=context).estimate
    assert torch.equal(vaezoo.log_likelihood(model, BINARY.numpy(), 3, context=context.numpy()).estimate, expected)
    assert not torch.equal(vaezoo.log_likelihood(model, BINARY, 3, context=context.flip(0)).estimate, expected)


def test_the_wrong_image_is_named_beyond_the_first_thousand():
    x = BINARY[:1].repeat(2500, 1, 1, 1)
    x[2345, 0, 1, 1] = 0.25
    with pytest.raises(VaezooError, match=r"got 0\.25 in image 2345$"):
        vaezoo.log_likelihood(model_of(), x, 2)
