"""MNIST and Fashion-MNIST: facts of the real files, how they are binarised, and the errors for missing ones."""

import hashlib
import os
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision.datasets
from loading import nothing_kept, one_line  # noqa: F401

import vaezoo
import vaezoo.datasets
from vaezoo import VaezooError, noise
from vaezoo.datasets import _mnist_files, load_dataset
from vaezoo.datasets._mnist_files import Published, binarised, gray_splits

READERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with MNIST and Fashion-MNIST."""
    place = os.environ.get("VAEZOO_DATA")
    if not place:
        pytest.skip("VAEZOO_DATA is not set: no MNIST and no Fashion-MNIST")
    for reader in READERS.values():
        for file in _mnist_files.FILES["MNIST"]:
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
    assert all(file in message for file in _mnist_files.FILES["MNIST"])
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
    for file in list(_mnist_files.FILES["MNIST"])[:3]:
        (raw / file).write_bytes(b"")
    with pytest.raises(VaezooError) as raised:
        load_dataset("mnist", tmp_path)
    assert "put t10k-labels-idx1-ubyte (or" in one_line(raised)


def test_a_file_of_another_size_is_named(monkeypatch, tmp_path):
    failing_download(monkeypatch, AssertionError("nothing is missing"))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in _mnist_files.FILES["MNIST"]:
        (raw / file).write_bytes(b"12345")
    with pytest.raises(VaezooError, match=r"train-images-idx3-ubyte is damaged: 5 bytes, expected 47040016; delete it"):
        load_dataset("mnist", tmp_path)


@pytest.fixture
def small_files(monkeypatch, tmp_path) -> Path:
    """A root with small files, which stand in the table of the published ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    published = {}
    for count, split in ((60, "train"), (10, "t10k")):
        images = bytes([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28]) + os.urandom(count * 784)
        labels = bytes([0, 0, 8, 1, 0, 0, 0, count]) + bytes(number % 10 for number in range(count))
        for name, content in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            (raw / name).write_bytes(content)
            published[name] = Published(len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(_mnist_files.FILES, "MNIST", published)
    return tmp_path


def a_flipped_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def random_bytes(content: bytes) -> bytes:
    return content[:16] + os.urandom(len(content) - 16)


def labels_of_255(content: bytes) -> bytes:
    return content[:8] + b"\xff" * (len(content) - 8)


@pytest.mark.parametrize("change", [a_flipped_bit, random_bytes, labels_of_255])
@pytest.mark.parametrize("file", list(_mnist_files.FILES["MNIST"]))
def test_a_file_that_is_not_the_published_one_is_refused(small_files, file, change):
    train, _, test = gray_splits(small_files, "MNIST")
    assert (len(train[0]), len(test[0])) == (60, 10)
    path = small_files / "MNIST" / "raw" / file
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(1, 1))  # the clock of a file system may be too coarse to tell the two apart
    said = rf"{file} is damaged: it is not the published file \(its sha256 differs\); delete it, so that it is downl"
    with pytest.raises(VaezooError, match=said) as raised:
        load_dataset("mnist", small_files)
    assert "\n" not in str(raised.value)


def test_each_file_is_hashed_once(small_files, monkeypatch):
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: (hashed.append(file.name), digest(file, kind))[1])
    for _ in range(3):
        gray_splits(small_files, "MNIST")
    assert len(hashed) == 4


def test_a_damaged_archive_that_cannot_be_downloaded_again_is_named(monkeypatch, tmp_path):
    failing_download(monkeypatch, URLError("no network"))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(b"not it")
    with pytest.raises(VaezooError, match=r"ubyte\.gz is damaged: it is not the published file \(its md5 differs\)"):
        load_dataset("mnist", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_the_published_files_are_torchvisions(real_data, name):
    """torchvision knows the md5 of the packed files alone, so the sizes and sha256 are those of files it unpacked."""
    for file, published in _mnist_files.FILES[name].items():
        content = (real_data / name / "raw" / file).read_bytes()
        assert published == (len(content), hashlib.sha256(content).hexdigest())
        assert f"{file}.gz" in [packed for packed, _ in getattr(torchvision.datasets, name).resources]


def test_a_root_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(VaezooError) as raised:
        load_dataset("mnist", tmp_path / "file")
    assert "could not be downloaded" in one_line(raised)
