"""The datasets: facts of the real data, splits, binarisation, closed forms, and what is said when a thing is wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import vaezoo
import vaezoo.datasets
from vaezoo import Dataset, VaezooError, noise
from vaezoo.datasets import _mnist_files, data_root, load_dataset
from vaezoo.datasets._mnist_files import binarised
from vaezoo.datasets.linear_gaussian import LinearGaussian, linear_gaussian, ppca_optimum
from vaezoo.registry import register, registry

OFFLINE = ["digits", "digits-binary", "digits-dequantised", "linear-gaussian"]
READERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@pytest.fixture(autouse=True)
def nothing_kept():
    """Each test loads anew."""
    vaezoo.datasets._kept.clear()
    yield
    vaezoo.datasets._kept.clear()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and Fashion-MNIST."""
    place = os.environ.get("VAEZOO_DATA")
    if not place:
        pytest.skip("VAEZOO_DATA is not set: no MNIST and no Fashion-MNIST")
    for reader in READERS.values():
        for file in _mnist_files.SIZES:
            if not (Path(place) / reader / "raw" / file).is_file():
                pytest.skip(f"{Path(place) / reader / 'raw' / file} is missing")
    return Path(place)


def whole(dataset: Dataset) -> torch.Tensor:
    return torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x])


def sorted_rows(x: torch.Tensor) -> list[bytes]:
    return sorted(row.numpy().tobytes() for row in x.flatten(1))


def one_line(error: pytest.ExceptionInfo[VaezooError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


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


# --- linear-gaussian


def test_linear_gaussian_log_likelihood_is_scipys():
    dataset = load_dataset("linear-gaussian", options={"dimensions": 7, "latents": 2, "noise": 0.3, "images": 50})
    truth = dataset.log_likelihood
    assert isinstance(truth, LinearGaussian)
    covariance = truth.weights @ truth.weights.T + 0.09 * torch.eye(7, dtype=torch.float64)
    expected = multivariate_normal(truth.mean.numpy(), covariance.numpy()).logpdf(dataset.test.x.double().numpy())
    np.testing.assert_allclose(truth(dataset.test.x).numpy(), expected, rtol=1e-10)


def test_linear_gaussian_has_orthogonal_columns_and_the_moments_it_says():
    dataset = load_dataset("linear-gaussian", seed=4, options={"images": 40_000})
    assert dataset.spec == vaezoo.DataSpec((10,), "continuous")
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [40_000, 1000, 1000]
    truth = dataset.log_likelihood
    assert torch.allclose(truth.weights.T @ truth.weights, torch.tensor([4.0, 2.25, 1.0]).double().diag(), atol=1e-12)
    x = dataset.train.x.double()
    assert torch.allclose(x.mean(0), truth.mean, atol=0.05)
    assert torch.allclose(x.T.cov(), truth.covariance, atol=0.1)


def test_more_training_images_leave_the_first_ones_alone():
    few, many = (load_dataset("linear-gaussian", options={"images": n}) for n in (10, 100))
    assert torch.equal(few.train.x, many.train.x[:10])
    assert torch.equal(few.test.x, many.test.x)


def test_ppca_optimum_is_its_own_log_likelihood_and_beats_the_truth_on_train():
    dataset = load_dataset("linear-gaussian")
    x = dataset.train.x
    mean, weights, variance, best = ppca_optimum(x, 3)
    assert weights.shape == (10, 3)
    assert weights.dtype == torch.float64
    fitted = LinearGaussian(weights, mean, float(variance) ** 0.5)
    assert float(fitted(x).mean()) == pytest.approx(best, abs=1e-9)
    gain = best - float(dataset.log_likelihood(x).mean())
    assert 0 < gain < 0.02
    assert float(variance) == pytest.approx(0.25, abs=0.01)


def test_ppca_optimum_is_stationary_and_a_maximum():
    x = load_dataset("linear-gaussian", seed=2, options={"dimensions": 6, "images": 500}).train.x.double()
    mean, weights, variance, best = ppca_optimum(x, 3)
    variables = [t.clone().requires_grad_() for t in (mean, weights, variance)]

    def value(mean, weights, variance):
        covariance = weights @ weights.T + variance * torch.eye(6, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).mean()

    for gradient in torch.autograd.grad(value(*variables), variables):
        assert gradient.abs().max() < 1e-9
    torch.manual_seed(0)
    for _ in range(20):
        moved = weights + 1e-2 * torch.randn_like(weights)
        assert float(value(mean, moved, variance * (1 + 1e-2 * torch.randn(())))) < best


def test_ppca_optimum_refuses_what_has_no_maximum():
    x = torch.randn(50, 2) @ torch.randn(2, 5)
    with pytest.raises(VaezooError, match="no maximum"):
        ppca_optimum(x, 2)
    with pytest.raises(VaezooError, match=r"latents in 1\.\.D-1"):
        ppca_optimum(x, 5)


# --- binarisation


def test_a_binarisation_never_errs_at_0_and_255_and_follows_the_gray_level():
    gray = torch.tensor([0, 255, 51, 204], dtype=torch.uint8).repeat(12_000, 1).view(-1, 1, 2, 2)
    drawn, labels = binarised((gray, torch.zeros(len(gray))), 0, "train")
    assert drawn.dtype == torch.uint8
    assert len(labels) == len(gray)
    rate = drawn.double().mean(0).flatten()
    assert rate[0] == 0
    assert rate[1] == 1
    assert rate[2] == pytest.approx(0.2, abs=0.02)
    assert rate[3] == pytest.approx(0.8, abs=0.02)


def test_a_binarisation_does_not_depend_on_the_block_but_on_seed_and_split(monkeypatch):
    gray = (torch.full((23, 1, 4, 4), 128, dtype=torch.uint8), torch.zeros(23))
    whole_at_once = binarised(gray, 0, "valid")[0]
    assert not torch.equal(whole_at_once, binarised(gray, 1, "valid")[0])
    assert not torch.equal(whole_at_once, binarised(gray, 0, "test")[0])
    monkeypatch.setattr(_mnist_files, "BLOCK", 5)
    assert torch.equal(whole_at_once, binarised(gray, 0, "valid")[0])


# --- the real MNIST and Fashion-MNIST


@pytest.mark.data
@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1307), ("fashion-mnist", 0.2860)])
def test_gray_sets_are_the_files(real_data, name, mean):
    dataset = load_dataset(name, real_data)
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [50_000, 10_000, 10_000]
    assert dataset.spec == vaezoo.DataSpec((1, 28, 28), "discrete", levels=256)
    sixty = torch.cat([dataset.train.x, dataset.valid.x])
    assert sixty.double().mean() / 255 == pytest.approx(mean, abs=1e-4)
    raw = real_data / READERS[name] / "raw"
    assert sixty.numpy().tobytes() == (raw / "train-images-idx3-ubyte").read_bytes()[16:]
    assert dataset.test.x.numpy().tobytes() == (raw / "t10k-images-idx3-ubyte").read_bytes()[16:]
    labels = torch.cat([dataset.train.y, dataset.valid.y]).to(torch.uint8).numpy().tobytes()
    assert labels == (raw / "train-labels-idx1-ubyte").read_bytes()[8:]
    assert load_dataset(name, real_data, seed=1).checksum == dataset.checksum


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_dynamic_sets_draw_training_images_anew_and_keep_the_others(real_data, name):
    gray, dataset = load_dataset(name, real_data), load_dataset(f"{name}-dynamic", real_data)
    assert dataset.spec == vaezoo.DataSpec((1, 28, 28), "binary", binarisation="dynamic")
    assert torch.equal(dataset.train.x, gray.train.x)
    index = torch.arange(2000)
    drawn = []
    for key in (1, 2, 1):
        with noise.stream(key, index=index):
            drawn.append(dataset.train.images(index))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    levels = gray.train.x[:2000]
    for x in drawn:
        assert set(x.unique().tolist()) == {0.0, 1.0}
        assert x.double().mean() == pytest.approx(float(levels.double().mean()) / 255, abs=2e-3)
        assert not x[levels == 0].any()
        assert x[levels == 255].all()
    for split in ("valid", "test"):
        x, levels = getattr(dataset, split).x, getattr(gray, split).x
        assert x.dtype == torch.uint8
        assert x.max() == 1
        assert x.double().mean() == pytest.approx(float(levels.double().mean()) / 255, abs=1e-3)
        assert torch.equal(getattr(dataset, split).images(), getattr(dataset, split).images())
        assert torch.equal(getattr(dataset, split).y, getattr(gray, split).y)


@pytest.mark.data
def test_binarised_checksums_are_stable_and_differ_between_seeds(real_data):
    first = load_dataset("mnist-dynamic", real_data)
    again, other = load_dataset("mnist-dynamic", real_data), load_dataset("mnist-dynamic", real_data, seed=1)
    assert again is first
    vaezoo.datasets._kept.clear()
    assert load_dataset("mnist-dynamic", real_data).checksum == first.checksum
    assert other.checksum != first.checksum
    assert not torch.equal(other.test.x, first.test.x)


@pytest.mark.data
def test_fixed_mnist_is_binary_and_shares_validation_and_test_with_dynamic(real_data):
    fixed, dynamic = load_dataset("mnist-fixed", real_data), load_dataset("mnist-dynamic", real_data)
    assert fixed.spec == vaezoo.DataSpec((1, 28, 28), "binary", binarisation="fixed")
    assert fixed.train.x.max() == 1
    assert fixed.train.x.double().mean() == pytest.approx(0.1310, abs=1e-3)
    assert torch.equal(fixed.train.images(slice(0, 9)), fixed.train.images(slice(0, 9)))
    assert torch.equal(fixed.test.x, dynamic.test.x)
    assert torch.equal(fixed.valid.x, dynamic.valid.x)
    assert not torch.equal(fixed.train.x[:10_000], fixed.valid.x)
    assert fixed.checksum != dynamic.checksum


@pytest.mark.data
def test_a_complete_folder_is_only_read(real_data, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a complete folder was written to")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(os, "makedirs", refuse)
    monkeypatch.setattr("filelock.FileLock", refuse)
    assert len(load_dataset("mnist", real_data).train) == 50_000


# --- what is said when something is wrong


def failing_download(monkeypatch, error: Exception) -> list[float | None]:
    """Let every download raise; the socket time-outs seen by it."""
    seen: list[float | None] = []

    def fail(*args, **kwargs):
        seen.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    return seen


@pytest.mark.parametrize("name", ["mnist", "mnist-dynamic", "mnist-fixed", "fashion-mnist", "fashion-mnist-dynamic"])
@pytest.mark.parametrize(
    "error",
    [URLError("no network"), RuntimeError("File not found or corrupted: no network"), TimeoutError("no network")],
    ids=["url", "corrupted", "timeout"],
)
def test_files_that_cannot_be_downloaded_are_named_with_their_folder(monkeypatch, tmp_path, name, error):
    seen = failing_download(monkeypatch, error)
    with pytest.raises(VaezooError) as raised:
        load_dataset(name, tmp_path)
    message = one_line(raised)
    assert message.startswith(f"dataset {name!r}: ")
    assert "no network" in message
    assert all(file in message for file in _mnist_files.SIZES)
    assert str(tmp_path / READERS[name.removesuffix("-dynamic").removesuffix("-fixed")] / "raw") in message
    assert "VAEZOO_DATA" in message
    assert "--data-root" in message
    assert seen
    assert set(seen) == {_mnist_files.TIMEOUT}
    assert socket.getdefaulttimeout() is None


def test_only_the_missing_files_are_named(monkeypatch, tmp_path):
    failing_download(monkeypatch, URLError("no network"))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in list(_mnist_files.SIZES)[:3]:
        (raw / file).write_bytes(b"")
    with pytest.raises(VaezooError) as raised:
        load_dataset("mnist", tmp_path)
    assert "put t10k-labels-idx1-ubyte (or" in one_line(raised)


def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    failing_download(monkeypatch, AssertionError("nothing is missing"))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in _mnist_files.SIZES:
        (raw / file).write_bytes(b"12345")
    with pytest.raises(VaezooError, match=r"train-images-idx3-ubyte is damaged: 5 bytes, expected 47040016; delete it"):
        load_dataset("mnist", tmp_path)


def test_a_root_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(VaezooError) as raised:
        load_dataset("mnist", tmp_path / "file")
    assert "could not be downloaded" in one_line(raised)


def test_an_unknown_name_or_option_hints_at_the_nearest():
    with pytest.raises(VaezooError, match=r"dataset 'digit' is unknown; did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(
        VaezooError, match=r"^dataset 'linear-gaussian': option 'latent' is unknown; did you mean 'latents'"
    ):
        load_dataset("linear-gaussian", options={"latent": 2})
    with pytest.raises(VaezooError, match=r"^dataset 'digits': 'seed' is handed over by the loader and cannot"):
        load_dataset("digits", options={"seed": 2})
    with pytest.raises(VaezooError, match=r"^dataset 'digits': option 'size' is unknown; there are none"):
        load_dataset("digits", options={"size": 2})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"noise": "loud"}, "option 'noise' must be a number, got 'loud'"),
        ({"latents": 2.5}, "option 'latents' must be a whole number, got 2.5"),
        ({"latents": True}, "option 'latents' must be a whole number, got True"),
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
            assert list(plugin.asks) == ["root", "seed"]
    assert linear_gaussian.__doc__
