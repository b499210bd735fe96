"""DataSpec and Dataset: what they store, and the errors for data that they refuse."""

import numpy as np
import pytest
import torch

from vaezoo import Dataset, DataSpec, VaezooError
from vaezoo.core.given_splits import FORMS

N = 6
BITS = (torch.arange(N * 4).view(N, 1, 2, 2) % 3 == 0).to(torch.uint8)
UNIT = torch.linspace(0, 1, N * 4).view(N, 4)
LABELS = torch.arange(N)
CONTEXT = torch.linspace(1, 2, N * 3).view(N, 3)


def error(*arguments, kind=Dataset, **keywords):
    """The message of the error, which is one line."""
    with pytest.raises(VaezooError) as raised:
        kind(*arguments, **keywords)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    return message


# --- DataSpec


@pytest.mark.parametrize("binarisation", ["none", "fixed", "dynamic", "threshold"])
def test_a_binarisation_is_one_of_four(binarisation):
    assert DataSpec((4,), "binary", binarisation=binarisation).binarisation == binarisation


def test_another_binarisation_is_unknown():
    message = error((4,), "binary", binarisation="dynamical", kind=DataSpec)
    assert message == "binarisation 'dynamical' is unknown; did you mean 'dynamic'?"
    message = error((4,), "binary", binarisation="stochastic", kind=DataSpec)
    assert message.startswith("binarisation 'stochastic' is unknown; ")
    assert error(BITS, BITS, BITS, "binary", binarisation="fix") == (
        "binarisation 'fix' is unknown; did you mean 'fixed'?"
    )


@pytest.mark.parametrize(("measure", "levels"), [("discrete", 256), ("counts", None), ("continuous", None)])
def test_dynamic_is_binary(measure, levels):
    message = f"binarisation 'dynamic' makes images binary, got measure {measure!r}; say measure='binary'"
    assert error((4,), measure, levels, "dynamic", kind=DataSpec) == message
    assert error(BITS, BITS, BITS, measure, levels=levels, binarisation="dynamic") == message


def test_a_measure_is_one_of_four():
    assert error((4,), "binry", kind=DataSpec) == "measure 'binry' is unknown; did you mean 'binary'?"
    assert "needs its number of levels" in error((4,), "discrete", kind=DataSpec)


def test_an_image_without_pixels_is_refused():
    message = error((1, 0, 8), "binary", kind=DataSpec)
    assert message == "an image has one pixel or more along each axis, got shape [1, 0, 8]; drop axes of length 0"


# --- what is given


@pytest.mark.parametrize("name", ["train", "valid", "test"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([BITS, LABELS], f" must be {FORMS}, as torch tensors or numpy arrays, got list of 2; make"),
        (list(BITS), f" must be {FORMS}, as torch tensors or numpy arrays, got list of 6; make"),
        ((BITS,), f" must be {FORMS}, as torch tensors or numpy arrays, got tuple of 1; make"),
        ((BITS,) * 4, f" must be {FORMS}, as torch tensors or numpy arrays, got tuple of 4; make"),
        (None, f" must be {FORMS}, as torch tensors or numpy arrays, got NoneType; make"),
        ((BITS.tolist(), LABELS), " images must be a torch.Tensor or a numpy array [N, *shape], got list; use numpy"),
        ((BITS, LABELS.tolist()), " labels must be a torch.Tensor or a numpy array [N], got list; use numpy.asarray"),
        ((BITS, LABELS, [1]), " context must be a torch.Tensor or a numpy array [N, C], got list; use numpy.asarray"),
        ((BITS, np.array(["a"] * 6)), " labels must be numbers, got a numpy array of dtype <U1; convert them"),
        ((BITS, None, LABELS), " context must be real numbers [N, C] with C >= 1, got torch.int64 [6]; turn labels"),
        ((BITS, None, CONTEXT[:, :0]), " context must be real numbers [N, C] with C >= 1, got torch.float32 [6, 0]"),
        ((BITS, None, CONTEXT[:4]), " needs a context for each of its 6 images, got 4"),
        ((BITS, None, CONTEXT / 0), " context holds NaN or infinity in 6 of 6 images, first in image 0; clean"),
        ((BITS, LABELS[:4]), " needs a label for each of its 6 images, got 4"),
        ((BITS, torch.tensor(3)), " needs a label for each of its 6 images, got a single number"),
        (BITS[:0], " images must be [N, *shape] with N >= 1 and a pixel or more, got [0, 1, 2, 2]; give"),
        (BITS[:, :, :0], " images must be [N, *shape] with N >= 1 and a pixel or more, got [6, 1, 0, 2]; give"),
        (LABELS, " images must be [N, *shape] with N >= 1 and a pixel or more, got [6]; give images an axis of"),
        (BITS.to(torch.complex64), " images must be real numbers, got torch.complex64; take"),
    ],
    ids=lambda value: value.strip()[:70] if isinstance(value, str) else "",
)
def test_what_is_no_split_is_refused(name, given, message):
    splits = {"train": BITS, "valid": BITS, "test": BITS} | {name: given}
    assert error(**splits, measure="binary").startswith(name + message)


def test_all_splits_have_a_context_or_none_has():
    with_context, without = (BITS, LABELS, CONTEXT), (BITS, LABELS, None)
    advice = "give all three splits as (images, labels, context)"
    assert error(with_context, BITS, with_context, "binary") == f"train has a context and valid has none; {advice}"
    assert error(without, BITS, with_context, "binary") == f"test has a context and train has none; {advice}"
    narrow = (BITS, LABELS, CONTEXT[:, :2])
    message = error(with_context, with_context, narrow, "binary")
    assert message == "test context must be [N, 3] as train's is, got [6, 2]"


def test_splits_have_one_shape():
    message = error(BITS, BITS[..., :1], BITS, "binary")
    assert message == "valid images must be of shape [1, 2, 2] as train's are, got [1, 2, 1]"


@pytest.mark.parametrize(
    ("x", "measure", "options", "message"),
    [
        (BITS * 2, "binary", {}, "train images of this binary set must lie in 0..1, got 0..2; gray images"),
        (
            UNIT,
            "binary",
            {},
            "train images of a binary set must be whole numbers, got 0.04348; gray images are measure='discrete' with "
            "levels=256, as whole numbers 0..255, or binarise them",
        ),
        (UNIT.to_sparse(), "continuous", {}, "train images must be a dense tensor [N, *shape], got torch.sparse_coo; "),
        (BITS * 17, "discrete", {"levels": 17}, "train images of this discrete set must lie in 0..16, got 0..17"),
        (-BITS.long(), "counts", {}, "train images of this counts set must lie in 0..2147483647, got -1..0"),
        (LABELS[:, None] << 40, "counts", {}, "train images of this counts set must lie in 0..2147483647, got 0..5.49"),
        (UNIT / 0, "continuous", {}, "train images hold NaN or infinity in 6 of 6 images, first in image 0; clean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_outside_the_measure_are_refused(x, measure, options, message):
    assert error(x, x, x, measure, **options).startswith(message)


def test_images_of_levels_lie_in_the_unit_interval():
    assert Dataset(UNIT, UNIT, UNIT, "continuous", levels=17).spec.levels == 17
    above, below = UNIT * 17, UNIT - 0.5
    message = error(UNIT, above, UNIT, "continuous", levels=17)
    assert message == (
        "valid images of this continuous set with levels=17 must lie in [0, 1], got 0..17; "
        "divide them by the number of levels, or leave levels out"
    )
    assert "got -0.5..0.5" in error(UNIT, UNIT, below, "continuous", levels=17)
    assert torch.equal(Dataset(above, below, UNIT, "continuous").train.images(), above)


# --- what is stored


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype):
    x = UNIT.to(dtype)
    dataset = Dataset((x, LABELS), x, x, "continuous")
    assert dataset.train.x.dtype == dataset.test.x.dtype == torch.float32
    assert torch.equal(dataset.train.images(), x.float())
    assert dataset.checksum == Dataset(x.float(), x.float(), x.float(), "continuous").checksum
    bits = Dataset(BITS.to(dtype), BITS, BITS, "binary")
    assert bits.train.x.dtype == torch.uint8
    assert bits.checksum == Dataset(BITS, BITS, BITS, "binary").checksum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_of_one_dtype_are_kept(dtype):
    x = UNIT.to(dtype)
    assert Dataset(x, x, x, "continuous").train.x.dtype == dtype


def test_floats_of_several_dtypes_become_the_default():
    single, double = UNIT, UNIT.double()
    for splits in [(single, double, single), (double, single, double), (double, double, BITS.flatten(1))]:
        dataset = Dataset(*splits, "continuous")
        assert {split.x.dtype for split in (dataset.train, dataset.valid, dataset.test)} == {torch.float32}
    torch.set_default_dtype(torch.float64)
    try:
        assert Dataset(single, double, single, "continuous").train.x.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint16, torch.uint32, torch.float64, torch.bfloat16])
def test_whole_numbers_are_stored_as_bytes(dtype):
    x = BITS.to(dtype)
    assert torch.equal(Dataset(x, x, x, "binary").train.x, BITS)


def test_large_counts_are_stored_as_int32():
    x = torch.tensor([[300], [2**31 - 1]])
    assert Dataset(x, x, x, "counts").train.x.dtype == torch.int32
    assert torch.equal(Dataset(x, x, x, "counts").train.x.long(), x)


def test_a_gradient_is_left_behind():
    x = UNIT.clone().requires_grad_()
    dataset = Dataset(x, x, x, "continuous")
    assert not dataset.train.x.requires_grad
    assert dataset.checksum == Dataset(UNIT, UNIT, UNIT, "continuous").checksum


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_of_a_gpu_are_brought_to_the_cpu():
    dataset = Dataset((UNIT.cuda(), LABELS.cuda()), UNIT.half().cuda(), UNIT, "continuous")
    for split in (dataset.train, dataset.valid, dataset.test):
        assert (split.x.device.type, split.x.dtype) == ("cpu", torch.float32)
    assert dataset.train.y.device.type == "cpu"


def test_labels_stay_as_they_are():
    dataset = Dataset((BITS, LABELS), (BITS, None), BITS, "binary")
    assert torch.equal(dataset.train.y, LABELS)
    assert dataset.valid.y is dataset.test.y is None


def test_a_context_is_kept_as_floats():
    conditional = Dataset((BITS, LABELS, CONTEXT), (BITS, None, CONTEXT), (BITS, LABELS, CONTEXT.half()), "binary")
    assert conditional.spec.context == conditional.train.spec.context == 3
    assert torch.equal(conditional.train.context, CONTEXT)
    assert conditional.test.context.dtype == torch.float32
    assert conditional.valid.y is None
    classes = torch.nn.functional.one_hot(LABELS)
    split = (BITS, LABELS, classes)
    assert torch.equal(Dataset(split, split, split, "binary").test.context, classes.float())
    double = (BITS, LABELS, CONTEXT.double())
    assert Dataset(double, double, double, "binary").train.context.dtype == torch.float64
    mixed = Dataset(double, (*split[:2], CONTEXT), double, "binary")
    assert {each.context.dtype for each in (mixed.train, mixed.valid, mixed.test)} == {torch.float32}


def test_arrays_are_taken_where_tensors_are():
    wanted = Dataset((BITS, LABELS, CONTEXT), (BITS, LABELS, CONTEXT), (BITS, LABELS, CONTEXT), "binary")
    arrays = BITS.numpy()[::-1], LABELS.numpy()[::-1].astype(">i8"), CONTEXT.numpy()[::-1]
    for each in arrays:
        each.flags.writeable = False
    split = tuple(np.flip(each, 0) for each in arrays)
    given = Dataset(split, split, split, "binary")
    assert (given.checksum, given.context_checksum) == (wanted.checksum, wanted.context_checksum)
    assert torch.equal(given.test.y, LABELS)
    bare = Dataset(UNIT.numpy(), UNIT.double().numpy(), UNIT, "continuous")
    assert bare.checksum == Dataset(UNIT, UNIT, UNIT, "continuous").checksum


def test_an_array_that_changes_later_changes_no_data():
    array = np.zeros((4, 3))
    dataset = Dataset(array, array, array, "continuous")
    array += 1
    assert not dataset.train.x.any()


def test_context_and_labels_change_only_their_own_checksum():
    bare = Dataset(BITS, BITS, BITS, "binary")
    assert bare.context_checksum is None

    def conditional(labels, context):
        split = (BITS, labels, context)
        return Dataset((BITS, LABELS, CONTEXT), (BITS, LABELS, CONTEXT), split, "binary")

    first = conditional(LABELS, CONTEXT)
    others = [conditional(LABELS.flip(0), CONTEXT), conditional(None, CONTEXT), conditional(LABELS, CONTEXT.flip(0))]
    assert {each.checksum for each in (bare, first, *others)} == {bare.checksum}
    same = [each.context_checksum == first.context_checksum for each in others]
    assert same == [True, True, False]
    assert first.context_checksum != first.checksum


def test_only_training_images_are_dynamic():
    gray = BITS * 200
    dataset = Dataset(gray, BITS, BITS, "binary", binarisation="dynamic")
    assert [split.dynamic for split in (dataset.train, dataset.valid, dataset.test)] == [True, False, False]
    assert set(dataset.train.images().unique().tolist()) <= {0.0, 1.0}
    assert "valid images of this binary set must lie in 0..1" in error(
        gray, gray, BITS, "binary", binarisation="dynamic"
    )


def test_the_checksum_is_of_the_values_alone():
    first = Dataset(BITS, BITS, BITS, "binary").checksum
    assert Dataset((BITS, LABELS), BITS.float(), BITS.bool(), "binary").checksum == first
    strided = BITS.transpose(2, 3).contiguous().transpose(2, 3)
    assert not strided.is_contiguous()
    assert Dataset(strided, BITS, BITS, "binary").checksum == first
    assert Dataset(BITS, BITS, 1 - BITS, "binary").checksum != first
    assert Dataset(BITS, BITS, BITS, "binary", binarisation="fixed").checksum != first
