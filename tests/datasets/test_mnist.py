"""MNIST and Fashion-MNIST: facts of the real files, how they are binarised, and the errors for missing ones."""

import os
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from loading import nothing_kept, one_line  # noqa: F401

import vaezoo
import vaezoo.datasets
from vaezoo import VaezooError, noise
from vaezoo.datasets import _mnist_files, load_dataset
from vaezoo.datasets._mnist_files import binarised

READERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


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


# --- errors


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
