"""Published sets: their files and checksums, splits, orientation and contexts, on small files of their formats."""

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from loading import nothing_kept, one_line  # noqa: F401
from PIL import Image
from scipy.io import savemat

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets import _sources, celeba, load_dataset, omniglot
from vaezoo.datasets._sources import SOURCES, File, Source, source_of, state_of
from vaezoo.registry import registry


def known(monkeypatch: pytest.MonkeyPatch, name: str, root: Path) -> None:
    """Take the files that are there for the published ones."""
    source = SOURCES[name]
    folder = root / source.folder
    files = {
        file: File((folder / file).stat().st_size, f"md5:{hashlib.md5((folder / file).read_bytes()).hexdigest()}")
        for file in source.files
    }
    monkeypatch.setitem(_sources.SOURCES, name, Source(source.folder, files, source.download))


def folder_of(root: Path, name: str) -> Path:
    folder = root / SOURCES[name].folder
    folder.mkdir(parents=True)
    return folder


def test_silhouettes_are_the_published_file_upright_and_inverted(monkeypatch, data_root):
    dataset = load_dataset("caltech-silhouettes", data_root, options={"context": "labels"})
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [4100, 2264, 2307]
    assert dataset.spec == vaezoo.DataSpec((1, 28, 28), "binary", context=101)
    assert (dataset.train.y.min(), dataset.train.y.max()) == (0, 100)
    assert [(o.first, o.second, o.copies) for o in dataset.overlaps][1] == ("train", "test", 11)
    objects = dataset.train.x.double().mean((0, 1))
    assert objects[10:18, 10:18].mean() > 0.7  # the object is 1
    assert objects[0].mean() < 0.3
    assert objects.sum(1)[20:].sum() > objects.sum(1)[:8].sum()  # things stand on broad feet


@pytest.fixture
def data_root() -> Path:
    import os

    root = Path(os.environ.get("VAEZOO_DATA") or "/nowhere")
    if SOURCES["caltech-silhouettes"].absent(root):
        pytest.skip("VAEZOO_DATA has no Caltech101Silhouettes")
    return root


def test_a_damaged_file_is_refused_by_its_checksum(tmp_path):
    folder = folder_of(tmp_path, "caltech-silhouettes")
    (folder / "caltech101_silhouettes_28_split1.mat").write_bytes(b"x" * 872_124)
    with pytest.raises(
        VaezooError, match=r"split1.mat is damaged: it is not the published file \(its sha256 differs\)"
    ):
        load_dataset("caltech-silhouettes", tmp_path)
    (folder / "caltech101_silhouettes_28_split1.mat").write_bytes(b"x")
    with pytest.raises(VaezooError, match=r"split1.mat is damaged: 1 bytes, expected 872124; delete it"):
        load_dataset("caltech-silhouettes", tmp_path)


MISSING = ["caltech-silhouettes", "mnist-static", "kmnist", "cifar-10", "svhn", "celeba", "dsprites"]


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_set_says_which_files_to_put_where(monkeypatch, tmp_path, name):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("vaezoo.datasets._mnist_files.TIMEOUT", 0.1)
    with pytest.raises(VaezooError) as raised:
        load_dataset(name, tmp_path)
    said, source = one_line(raised), source_of(name)
    assert "could not be downloaded" in said
    assert f"put {', '.join(source.files)} into {tmp_path / source.folder}, or name another place" in said


def test_static_mnist_is_read_digit_by_digit(monkeypatch, tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (3, 12, 784))
    folder = folder_of(tmp_path, "mnist-static")
    for split, images in zip(("train", "valid", "test"), x, strict=True):
        np.savetxt(folder / f"binarized_mnist_{split}.amat", images, "%d")
    known(monkeypatch, "mnist-static", tmp_path)
    dataset = load_dataset("mnist-static", tmp_path)
    for split, images in zip((dataset.train, dataset.valid, dataset.test), x, strict=True):
        assert torch.equal(split.x.flatten(1), torch.from_numpy(images).to(torch.uint8))


def test_burdas_omniglot_stands_upright_and_is_shuffled_as_in_the_paper(monkeypatch, tmp_path):
    gray = np.random.default_rng(0).integers(0, 256, (1400, 28, 28))
    folder = folder_of(tmp_path, "omniglot-burda")
    target = np.eye(50)[np.arange(1400) % 50].T
    columns = gray.transpose(0, 2, 1).reshape(1400, 784).T / 255
    arrays = {"data": columns, "testdata": columns[:, :30] * 0, "target": target, "testtarget": target[:, :30]}
    savemat(folder / "chardata.mat", arrays)
    known(monkeypatch, "omniglot-burda", tmp_path)
    plugin = registry("dataset")["omniglot-burda"]
    dataset = plugin.target(tmp_path, 0, context="labels")
    order = np.random.RandomState(123).permutation(1400)[:55]
    assert torch.equal(dataset.train.x[:, 0], torch.from_numpy(gray[order]).to(torch.uint8))
    assert torch.equal(dataset.train.context.argmax(1), torch.from_numpy(order % 50))
    assert dataset.spec.binarisation == "dynamic"
    assert len(dataset.valid) == 1345


def test_frey_faces_are_28_by_20(monkeypatch, tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (1965, 28, 20), dtype=np.uint8)
    savemat(folder_of(tmp_path, "frey-faces") / "frey_rawface.mat", {"ff": faces.reshape(1965, 560).T})
    known(monkeypatch, "frey-faces", tmp_path)
    dataset = load_dataset("frey-faces", tmp_path)
    rows = {image.numpy().tobytes() for s in (dataset.train, dataset.valid, dataset.test) for image in s.x}
    assert rows == {face.tobytes() for face in faces}
    assert dataset.spec == vaezoo.DataSpec((1, 28, 20), "discrete", levels=256)


def test_dsprites_are_read_block_by_block_with_their_factors(monkeypatch, tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (40, 64, 64), dtype=np.uint8)
    path = folder_of(tmp_path, "dsprites") / next(iter(SOURCES["dsprites"].files))
    factors = np.arange(240).reshape(40, 6)
    np.savez_compressed(path, imgs=x, latents_classes=factors)
    with zipfile.ZipFile(path) as file:
        assert "imgs.npy" in file.namelist()
    known(monkeypatch, "dsprites", tmp_path)
    monkeypatch.setattr("vaezoo.datasets.dsprites.HELD_OUT", 5)
    monkeypatch.setattr("vaezoo.datasets._own.parts.BLOCK_BYTES", 3 * 64 * 64)
    dataset = load_dataset("dsprites", tmp_path, options={"context": "factors"})
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [30, 5, 5]
    for split in (dataset.train, dataset.test):
        rows = split.y[:, 0] // 6
        assert torch.equal(split.x[:, 0], torch.from_numpy(x)[rows])
        assert torch.equal(split.context, split.y.float())
        assert torch.equal(split.y, torch.from_numpy(factors[:, 1:])[rows])


def idx(x: np.ndarray) -> bytes:
    return bytes([0, 0, 8, x.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in x.shape) + x.tobytes()


def write_idx(folder: Path, names: tuple[str, ...], train: int, test: int) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    y = (np.arange(train + test) % 10).astype(np.uint8)
    for name, values in zip(names, (x[:train], y[:train], x[train:], y[train:]), strict=True):
        (folder / name).write_bytes(idx(values))
    return x


def test_kmnist_and_emnist_through_torchvision(tmp_path, monkeypatch):
    x = write_idx(folder_of(tmp_path, "KMNIST"), _sources.IDX, 10_010, 10)
    dataset = load_dataset("kmnist", tmp_path, options={"context": "labels"})
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [10, 10_000, 10]
    assert torch.equal(dataset.train.x[:, 0], torch.from_numpy(x[:10]))
    assert dataset.spec.context == 10
    names = tuple(f"emnist-balanced-{name.replace('t10k', 'test')}" for name in _sources.IDX)
    x = write_idx(folder_of(tmp_path, "EMNIST"), names, 30, 10)
    monkeypatch.setitem(registry("dataset")["emnist"].target.__globals__["VALIDATION"], "balanced", 10)
    dataset = load_dataset("emnist", tmp_path)
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [20, 10, 10]
    assert torch.equal(dataset.test.x[:, 0], torch.from_numpy(x[30:].transpose(0, 2, 1).copy()))


def test_cifar_and_svhn_have_colours_first(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (120, 3, 32, 32), dtype=np.uint8)
    folder, rows = folder_of(tmp_path, "CIFAR10"), {}
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rows[name] = x[20 * number : 20 * number + 20]
        data = {"data": rows[name].reshape(20, -1), "labels": [number] * 20}
        (folder / name).write_bytes(pickle.dumps(data))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    monkeypatch.setattr("vaezoo.datasets.cifar.VALIDATION", 10)
    dataset = load_dataset("cifar-10", tmp_path)
    assert torch.equal(torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x]), torch.from_numpy(x))
    assert dataset.test.y.tolist() == [5] * 20
    folder = folder_of(tmp_path, "SVHN")
    for split, images in (("train", x[:100]), ("test", x[100:])):
        savemat(folder / f"{split}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": np.full((len(images), 1), 10)})
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
    monkeypatch.setattr("vaezoo.datasets.svhn.VALIDATION", 10)
    dataset = load_dataset("svhn", tmp_path)
    assert torch.equal(torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x]), torch.from_numpy(x))
    assert dataset.test.y.tolist() == [0] * 20


def test_a_damaged_torchvision_set_is_one_line(tmp_path):
    folder = folder_of(tmp_path, "CIFAR10")
    for name in SOURCES["CIFAR10"].files:
        (folder / name).write_bytes(b"x")
    with pytest.raises(VaezooError) as raised:
        load_dataset("cifar-10", tmp_path)
    assert "cifar-10-batches-py is damaged: Dataset not found or corrupted" in one_line(raised)


def test_omniglots_drawings_become_gray_with_bright_ink():
    paper = np.full((105, 105), 255, np.uint8)
    paper[:, 52:] = 0
    x, y = omniglot._pair([(Image.fromarray(paper).convert("1"), 7)], 28)
    assert x.shape == (1, 1, 28, 28)
    assert x[0, 0, 5, :13].max() == 0
    assert x[0, 0, 5, 15:].min() == 255
    assert y.tolist() == [7]


def test_celebrities_are_the_middle_of_their_pictures(tmp_path):
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[35:183, 15:163] = [9, 8, 7]
    Image.fromarray(picture).save(folder / "1.png")

    class Faces:
        root, base_folder, filename, attr = str(tmp_path), "celeba", ["1.png"], torch.ones(1, 40)

    x, y = celeba._pair(Faces, 64)
    assert torch.equal(x, torch.tensor([9, 8, 7], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    assert y.shape == (1, 40)


def test_the_list_says_what_is_here_and_what_would_be_downloaded(tmp_path):
    assert state_of("svhn", (), tmp_path) == "absent, 246.3 MB to download"
    assert state_of("celeba", (), tmp_path) == "absent, 1.49 GB to download; the package gdown, or the files by hand"
    folder = folder_of(tmp_path, "frey-faces")
    assert state_of("frey-faces", (), tmp_path) == "absent, of unknown size to download"
    (folder / "frey_rawface.mat").write_bytes(b"x" * 1_234_567)
    assert state_of("frey-faces", (), tmp_path) == "present, 1.2 MB"
    assert state_of("npz", ("path",), tmp_path) == "your own file"
    assert state_of("digits", (), tmp_path) == "no file needed"


def test_every_published_set_has_a_source():
    """And every source a data set: a set that is downloaded cannot be forgotten in the list."""
    free = {"digits", "digits-binary", "digits-dequantised", "linear-gaussian"}
    known = [p for p in registry("dataset").values() if p.module.startswith("vaezoo.")]
    texts = {p.name: Path(p.file).read_text() for p in known if "path" not in p.hyperparameters}
    downloaded = {name for name, text in texts.items() if "_downloads" in text or "_mnist_files" in text}
    assert {name for name in downloaded if source_of(name) is None} <= free
    assert {id(source_of(name)) for name in downloaded if source_of(name)} == {id(s) for s in SOURCES.values()}
