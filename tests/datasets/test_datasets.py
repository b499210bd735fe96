"""The digits against their source; what a seed changes, what stays in memory, and the errors."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from loading import nothing_kept, one_line  # noqa: F401

import vaezoo
import vaezoo.datasets
from vaezoo import Dataset, VaezooError, noise
from vaezoo.datasets import data_root, load_dataset
from vaezoo.datasets.linear_gaussian import linear_gaussian
from vaezoo.registry import register, registry

OFFLINE = ["digits", "digits-binary", "digits-dequantised", "linear-gaussian"]


def whole(dataset: Dataset) -> torch.Tensor:
    return torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x])


def sorted_rows(x: torch.Tensor) -> list[bytes]:
    return sorted(row.numpy().tobytes() for row in x.flatten(1))


# --- digits


def test_digits_are_the_1797_real_images_and_the_splits_cover_them():
    from sklearn.datasets import load_digits

    source = load_digits()
    dataset = load_dataset("digits")
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [1197, 300, 300]
    assert dataset.spec == vaezoo.DataSpec((1, 8, 8), "discrete", levels=17)
    assert dataset.train.x.dtype == torch.uint8
    x = whole(dataset)
    assert sorted_rows(x) == sorted_rows(torch.from_numpy(source.images.astype(np.uint8)))
    assert x.double().mean() == pytest.approx(4.884165, abs=1e-6)
    y = torch.cat([dataset.train.y, dataset.valid.y, dataset.test.y])
    assert y.bincount().tolist() == np.bincount(source.target).tolist()
    by_image = {
        image.astype(np.uint8).tobytes(): label for image, label in zip(source.images, source.target, strict=True)
    }
    assert all(by_image[image.numpy().tobytes()] == int(label) for image, label in zip(x[:, 0], y, strict=True))


def test_images_of_digits_are_levels_over_sixteen():
    split = load_dataset("digits").test
    assert torch.equal(split.images(), split.x / 16)


def test_binary_digits_are_those_of_level_eight_or_more():
    gray, binary = load_dataset("digits"), load_dataset("digits-binary")
    assert binary.spec == vaezoo.DataSpec((1, 8, 8), "binary", binarisation="threshold")
    for split in ("train", "valid", "test"):
        assert torch.equal(getattr(binary, split).x, (getattr(gray, split).x >= 8).to(torch.uint8))
        assert torch.equal(getattr(binary, split).y, getattr(gray, split).y)


def test_dequantised_digits_lie_in_the_unit_interval_and_give_the_levels_back():
    gray, smooth = load_dataset("digits"), load_dataset("digits-dequantised")
    assert smooth.spec == vaezoo.DataSpec((1, 8, 8), "continuous", levels=17)
    for split in ("train", "valid", "test"):
        x = getattr(smooth, split).x
        assert x.dtype == torch.float32
        assert x.min() > 0
        assert x.max() < 1
        assert torch.equal((x * 17).floor().to(torch.uint8), getattr(gray, split).x)
    u = whole(smooth) * 17 - whole(gray)
    assert u.mean() == pytest.approx(0.5, abs=0.004)
    assert u.var() == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("name", ["digits", "digits-binary", "digits-dequantised"])
def test_labels_are_a_context_on_request(name):
    """The classes one-hot; the images, their checksum and the labels stay the same."""
    plain, conditional = load_dataset(name), load_dataset(name, options={"context": "labels"})
    assert (plain.spec.context, plain.test.context, plain.context_checksum) == (None, None, None)
    assert conditional.spec.context == 10
    for split in ("train", "valid", "test"):
        found = getattr(conditional, split)
        assert torch.equal(found.context.argmax(1), getattr(plain, split).y)
        assert torch.equal(found.context.sort(1).values, torch.tensor([*[0.0] * 9, 1.0]).expand(len(found), 10))
    assert conditional.checksum == plain.checksum
    assert isinstance(conditional.context_checksum, str)


def test_another_context_is_refused():
    said = "^dataset 'digits': option 'context' must be 'labels' or left out, got 'label'"
    with pytest.raises(VaezooError, match=said):
        load_dataset("digits", options={"context": "label"})


# --- seeds, checksums, memory


@pytest.mark.parametrize("name", OFFLINE)
def test_checksums_are_the_same_on_every_load(name):
    first = load_dataset(name, seed=3).checksum
    vaezoo.datasets._kept.clear()
    torch.manual_seed(99)
    assert load_dataset(name, seed=3).checksum == first


@pytest.mark.parametrize("name", OFFLINE)
def test_checksums_do_not_depend_on_the_default_dtype_or_an_open_stream(name):
    first = load_dataset(name).checksum
    vaezoo.datasets._kept.clear()
    torch.set_default_dtype(torch.float64)
    try:
        with noise.stream(5, index=torch.arange(7)):
            assert load_dataset(name).checksum == first
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("digits", False), ("digits-binary", False), ("digits-dequantised", True), ("linear-gaussian", True)],
)
def test_a_seed_changes_what_is_drawn_and_no_split(name, drawn):
    first, second = load_dataset(name, seed=0), load_dataset(name, seed=1)
    assert (first.checksum != second.checksum) == drawn
    if first.train.y is not None:
        assert torch.equal(first.train.y, second.train.y)


def test_loading_again_gives_the_same_object_and_few_are_kept():
    first = load_dataset("linear-gaussian", seed=1, options={"images": 10})
    assert load_dataset("linear-gaussian", seed=1, options={"images": 10}) is first
    assert load_dataset("linear-gaussian", seed=1, options={"images": 11}) is not first
    for seed in range(2, 10):
        load_dataset("linear-gaussian", seed=seed, options={"images": 10})
    assert len(vaezoo.datasets._kept) == vaezoo.datasets.KEPT
    assert load_dataset("linear-gaussian", seed=1, options={"images": 10}) is not first


def test_importing_the_package_is_light():
    code = "import sys, vaezoo.datasets; print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_root_is_the_argument_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path / "set"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(tmp_path) == tmp_path
    assert data_root(str(tmp_path)) == tmp_path
    assert data_root() == tmp_path / "set"
    monkeypatch.setenv("VAEZOO_DATA", "")
    assert data_root() == tmp_path / "cache" / "vaezoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "vaezoo"
    assert data_root("~/here") == tmp_path / "here"


# --- errors


def test_an_unknown_name_or_option_hints_at_the_nearest():
    with pytest.raises(VaezooError, match=r"dataset 'digit' is unknown; did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(
        VaezooError, match=r"^dataset 'linear-gaussian': option 'latent' is unknown; did you mean 'latents'"
    ):
        load_dataset("linear-gaussian", options={"latent": 2})
    with pytest.raises(VaezooError, match=r"^dataset 'digits': 'seed' is handed over by the loader and cannot"):
        load_dataset("digits", options={"seed": 2})
    with pytest.raises(VaezooError, match=r"^dataset 'digits': option 'size' is unknown; there are: context"):
        load_dataset("digits", options={"size": 2})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"noise": "loud"}, "option 'noise' must be a number, got 'loud'"),
        ({"latents": 2.5}, "option 'latents' must be a whole number, got 2.5"),
        ({"latents": True}, "option 'latents' must be a whole number, got true"),
        ({"latents": 11}, "latents must lie in 1..dimensions=10, got 11"),
        ({"noise": 0}, "noise is a standard deviation and must be above 0, got 0"),
        ({"images": 0}, "images must be 1 or more, got 0"),
    ],
)
def test_an_impossible_option_is_one_line(options, said):
    with pytest.raises(VaezooError) as raised:
        load_dataset("linear-gaussian", options=options)
    assert one_line(raised) == f"dataset 'linear-gaussian': {said}"


def test_a_plugin_with_nan_gives_one_clear_line(own_registry):
    @register.dataset("my-nan")
    def my_nan(root, seed):
        x = torch.zeros(10, 3)
        x[4, 1] = torch.nan
        return Dataset(train=x, valid=x, test=x, measure="continuous")

    with pytest.raises(VaezooError) as raised:
        load_dataset("my-nan")
    assert one_line(raised).startswith(
        "dataset 'my-nan': train images hold NaN or infinity in 1 of 10 images, first in"
    )


def test_a_plugins_missing_file_is_one_line(own_registry, tmp_path):
    @register.dataset("my-patches")
    def my_patches(root, seed):
        return np.load(root / "patches.npy")

    with pytest.raises(VaezooError) as raised:
        load_dataset("my-patches", tmp_path)
    assert one_line(raised) == f"dataset 'my-patches': file not found: {tmp_path / 'patches.npy'}"
    (tmp_path / "patches.npy").mkdir()
    with pytest.raises(VaezooError, match=r"^dataset 'my-patches': cannot read .*patches.npy: Is a directory$"):
        load_dataset("my-patches", tmp_path)


def test_a_plugin_that_returns_something_else_or_takes_something_else_is_one_line(own_registry):
    @register.dataset("my-tensors")
    def my_tensors(root, seed):
        return {"train": torch.zeros(3, 2)}

    @register.dataset("my-size")
    def my_size(root, seed, size=3):
        return None

    with pytest.raises(VaezooError) as raised:
        load_dataset("my-tensors")
    message = one_line(raised)
    assert message.startswith("dataset 'my-tensors': the function must return a vaezoo.Dataset, got dict from ")
    assert "test_datasets.py:" in message
    with pytest.raises(
        VaezooError, match=r"must take \(root, seed\) and its options after \*, got \(root, seed, size\)"
    ):
        load_dataset("my-size")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("train"), "KeyError: 'train'"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (MemoryError("no more"), "MemoryError: no more"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_whatever_a_plugin_raises_is_one_line_with_its_place(own_registry, error, words):
    @register.dataset("my-error")
    def my_error(root, seed):
        raise error

    line = my_error.__code__.co_firstlineno + 2
    with pytest.raises(VaezooError) as raised:
        load_dataset("my-error")
    assert one_line(raised) == f"dataset 'my-error': {words} (test_datasets.py:{line})"


def test_the_place_is_the_plugins_own_line(own_registry):
    @register.dataset("my-json")
    def my_json(root, seed):
        return json.loads("{")

    line = my_json.__code__.co_firstlineno + 2
    with pytest.raises(VaezooError, match=rf"^dataset 'my-json': JSONDecodeError: .* \(test_datasets.py:{line}\)$"):
        load_dataset("my-json")


def test_a_plugins_skip_stays_a_skip(own_registry):
    @register.dataset("my-skip")
    def my_skip(root, seed):
        raise vaezoo.Skip("not here")

    with pytest.raises(vaezoo.Skip, match=r"^dataset 'my-skip': not here$"):
        load_dataset("my-skip")


def test_every_dataset_has_a_summary_and_a_paper():
    for plugin in registry("dataset").values():
        if plugin.module.startswith("vaezoo."):
            assert plugin.summary
            assert plugin.paper
            assert list(plugin.builder_arguments) == ["root", "seed"]
    assert linear_gaussian.__doc__


def test_every_data_set_can_be_limited_to_its_first_training_images():
    whole, few = load_dataset("digits-binary"), load_dataset("digits-binary", options={"limit": 50})
    assert torch.equal(few.train.x, whole.train.x[:50])
    assert torch.equal(few.train.y, whole.train.y[:50])
    assert torch.equal(few.valid.x, whole.valid.x)
    assert torch.equal(few.test.x, whole.test.x)
    assert few.checksum != whole.checksum
    assert load_dataset("digits-binary", options={"limit": 50}) is few
    known = load_dataset("linear-gaussian", options={"limit": 5})
    assert known.log_likelihood(known.test.x).shape == (len(known.test),)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (0, r"dataset 'digits': limit must be 1\.\.\d+ training images, got 0"),
        (10_000, r"dataset 'digits': limit must be 1\.\.\d+ training images, got 10000"),
        (0.5, "dataset 'digits': option 'limit' must be a whole number or left out, got 0.5"),
    ],
)
def test_an_impossible_limit_is_one_line(limit, said):
    with pytest.raises(VaezooError, match=said):
        load_dataset("digits", options={"limit": limit})
