"""The user's own files: each format is read back exactly, each option does what it says, each mistake is one line."""

import gzip
import importlib.util
import os
import re
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from loading import nothing_kept, one_line  # noqa: F401
from PIL import Image
from scipy.io import savemat

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets import load_dataset
from vaezoo.datasets._own import parts, store
from vaezoo.registry import registry

OWN = ["amat", "csv", "h5ad", "hdf5", "idx", "images", "mat", "npy", "npz"]
EXTRAS = {"h5ad": "anndata", "hdf5": "h5py"}
GRAY = {"measure": "discrete", "levels": 256}
LEVELS = np.random.default_rng(1).integers(0, 256, (50, 6, 5), dtype=np.uint8)
FILE_ORDER = {"order": "file", "valid": 5, "test": 5}


def own(name: str, path: Path, **options: object) -> vaezoo.Dataset:
    return load_dataset(name, options={"path": str(path), **options})


def whole(dataset: vaezoo.Dataset) -> torch.Tensor:
    return torch.cat([dataset.train.x, dataset.valid.x, dataset.test.x])


def idx_bytes(x: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{x.ndim}I", 0, 0, kind, x.ndim, *x.shape) + x.astype(x.dtype.newbyteorder(">")).tobytes()


def said(name: str, path: Path, **options: object) -> str:
    with pytest.raises(VaezooError) as raised:
        own(name, path, **options)
    return one_line(raised).removeprefix(f"dataset {name!r}: ")


@pytest.fixture
def npz(tmp_path):
    def write(**arrays: np.ndarray) -> Path:
        np.savez(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    return write


# --- formats


@pytest.mark.parametrize("name", OWN)
def test_every_format_reads_its_example(name, tmp_path):
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
        pytest.skip(f"{EXTRAS[name]} is not installed")
    dataset = load_dataset(name, options=registry("dataset")[name].target.example(tmp_path))
    rows = {image.numpy().tobytes() for image in whole(dataset).flatten(1)}
    source = np.random.default_rng(0).integers(0, 4, (60, 6, 5), dtype=np.uint8)
    assert rows == {image.tobytes() for image in source}
    assert dataset.spec.shape in ((1, 6, 5), (30,))
    assert list(registry("dataset")[name].hyperparameters)[:3] == ["path", "measure", "levels"]


def test_gray_files_of_each_kind_hold_the_same_images(tmp_path):
    np.save(tmp_path / "a.npy", LEVELS)
    np.savez(tmp_path / "a.npz", x=LEVELS)
    savemat(tmp_path / "a.mat", {"data": LEVELS.reshape(50, 30).T})
    (tmp_path / "a-ubyte").write_bytes(idx_bytes(LEVELS))
    (tmp_path / "a-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LEVELS.astype(np.int32), 12)))
    np.savetxt(tmp_path / "a.amat", LEVELS.reshape(50, 30) / 255, "%.5f")
    np.savetxt(tmp_path / "a.csv", LEVELS.reshape(50, 30), "%d", ",")
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(LEVELS):
        Image.fromarray(image).save(tmp_path / "folder" / f"{number:02d}.png")
    flat = {"shape": [6, 5]}
    cases = [("npy", "a.npy", {}), ("npz", "a.npz", {}), ("mat", "a.mat", {"layout": "DN"}), ("idx", "a-ubyte", {})]
    cases += [("idx", "a-ubyte.gz", {}), ("amat", "a.amat", flat), ("csv", "a.csv", flat), ("images", "folder", {})]
    for name, file, options in cases:
        found = own(name, tmp_path / file, **GRAY, **FILE_ORDER, **options)
        assert torch.equal(whole(found).reshape(50, 30), torch.from_numpy(LEVELS.reshape(50, 30))), file
        assert found.spec.shape == ((30,) if name == "mat" else (1, 6, 5))
        assert found.train.x.dtype == torch.uint8


def test_arrays_of_an_npz_are_found_by_their_names(npz):
    y = np.arange(50) % 3
    path = npz(
        x_train=LEVELS[:30], y_train=y[:30], x_val=LEVELS[30:40], y_val=y[30:40], x_test=LEVELS[40:], y_test=y[40:]
    )
    dataset = own("npz", path, context="labels", **GRAY)
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [30, 10, 10]
    assert torch.equal(whole(dataset)[:, 0], torch.from_numpy(LEVELS))
    assert torch.equal(dataset.test.y, torch.from_numpy(y[40:]))
    assert torch.equal(dataset.valid.context.argmax(1), torch.from_numpy(y[30:40]))
    fewer = own("npz", path, valid=5, **GRAY)  # instead of x_val
    assert [len(s) for s in (fewer.train, fewer.valid, fewer.test)] == [25, 5, 10]


def test_a_table_has_labels_and_contexts_of_numbers_and_text(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    frame["age"], frame["sex"], frame["kind"] = np.arange(40), ["f", "m"] * 20, ["dog", "cat", "ant", "bee"] * 10
    frame.to_csv(tmp_path / "mine.csv", index=False)
    options = {"measure": "continuous", "labels": "kind", "context": ["age", "sex", "labels"], **FILE_ORDER}
    dataset = own("csv", tmp_path / "mine.csv", **options)
    assert dataset.spec.shape == (3,)
    assert dataset.train.x.dtype == torch.float32
    assert dataset.train.y.tolist()[:4] == [3, 2, 0, 1]
    assert dataset.train.context[1].tolist() == [1, 0, 1, 0, 0, 1, 0]
    few = own("csv", tmp_path / "mine.csv", columns=["a", "c"], measure="continuous", standardise=True)
    assert few.train.x.mean(0).abs().max() < 1e-6
    assert (few.train.x.var(0, correction=0) - 1).abs().max() < 1e-5
    raw = own("csv", tmp_path / "mine.csv", columns=["a", "c"], measure="continuous")
    scale = (few.test.x[1:] - few.test.x[:-1]) / (raw.test.x[1:] - raw.test.x[:-1])
    assert (scale - scale[0]).abs().max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="h5py is not installed")
def test_hdf5_groups_text_and_blocks(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/x"] = LEVELS.transpose(1, 2, 0)
        file["deep/kind"] = ["ab"[n % 2] for n in range(50)]
    options = {"images": "deep/x", "labels": "deep/kind", "layout": "HWN", **FILE_ORDER}
    dataset = own("hdf5", tmp_path / "a.h5", context="labels", **GRAY, **options)
    assert torch.equal(whole(dataset)[:, 0], torch.from_numpy(LEVELS))
    assert dataset.train.y.tolist() == [0, 1] * 20
    assert said("hdf5", tmp_path / "a.h5", **GRAY | {"images": "x"}).startswith("a.h5 has no array 'x' for the images")


def test_pictures_of_folders_are_splits_and_labels(tmp_path):
    for number, image in enumerate(LEVELS):
        split, kind = ("train", "val", "test")[max(0, number // 10 - 2)], "ab"[number % 2]
        (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / split / kind / f"{number:02d}.png")
    dataset = own("images", tmp_path, labels="folders", **GRAY)
    assert [len(s) for s in (dataset.train, dataset.valid, dataset.test)] == [30, 10, 10]
    assert dataset.test.y.tolist() == [0] * 5 + [1] * 5
    assert torch.equal(dataset.test.x[0, 0], torch.from_numpy(LEVELS[40]))


@pytest.mark.parametrize(("how", "corner"), [("stretch", 200), ("crop", 200), ("pad", 0)])
def test_pictures_come_to_a_size_as_asked(tmp_path, how, corner):
    for number in range(30):
        image = np.full((8, 8, 3), number, np.uint8) if number else np.full((8, 16, 3), 200, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    dataset = own("images", tmp_path, size=[4, 4], fit=how, **FILE_ORDER, **GRAY)
    assert dataset.spec.shape == (3, 4, 4)
    assert dataset.train.x[0, 0, 0, 0] == corner
    assert dataset.train.x[0, 0, 2, 2] == 200


# --- options


def test_layouts_bring_colours_first_and_images_first(npz):
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 4), dtype=np.uint8)  # N C H W
    orders = {"CHW": (0, 1, 2, 3), "HWC": (0, 2, 3, 1), "NHWC": (0, 2, 3, 1), "HWCN": (2, 3, 1, 0), "WHC": (0, 3, 2, 1)}
    for layout, axes in orders.items():
        dataset = own("npz", npz(x=x.transpose(axes)), layout=layout, order="file", **GRAY)
        assert torch.equal(whole(dataset), torch.from_numpy(x)), layout


def test_images_stored_column_by_column_are_transposed(npz):
    columns = LEVELS.transpose(0, 2, 1)
    assert torch.equal(
        whole(own("npz", npz(x=columns.reshape(50, 30)), shape=[6, 5], transpose=True, order="file", **GRAY))[:, 0],
        torch.from_numpy(LEVELS),
    )
    found = own("npz", npz(x=np.ascontiguousarray(columns)), transpose=True, order="file", **GRAY)
    assert torch.equal(whole(found)[:, 0], torch.from_numpy(LEVELS))


def test_inverted_binarised_and_floating_gray(npz):
    path, x = npz(x=LEVELS), torch.from_numpy(LEVELS)[:, None]
    assert torch.equal(whole(own("npz", path, invert=True, order="file", **GRAY)), 255 - x)
    threshold = own("npz", path, binarise=100, order="file")
    assert torch.equal(whole(threshold), (x >= 100).to(torch.uint8))
    assert threshold.spec == vaezoo.DataSpec((1, 6, 5), "binary", binarisation="threshold")
    dynamic, fixed = (
        own("npz", path, binarise="dynamic", order="file"),
        own("npz", path, binarise="fixed", order="file"),
    )
    assert dynamic.train.dynamic
    assert torch.equal(dynamic.train.x, x[:40])
    assert torch.equal(dynamic.test.x, fixed.test.x)
    assert set(fixed.train.x.unique().tolist()) == {0, 1}
    floats = own("npz", npz(x=LEVELS / 255), binarise="dynamic", order="file")
    assert torch.equal(floats.train.x, dynamic.train.x)
    assert torch.equal(whole(own("npz", npz(x=LEVELS / 255), order="file", **GRAY)), x)


def test_a_seed_chooses_the_splits_and_the_loaders_seed_does_not(npz):
    path = npz(x=LEVELS)
    first, again = own("npz", path, **GRAY), load_dataset("npz", seed=3, options={"path": str(path), **GRAY})
    other = own("npz", path, split_seed=1, **GRAY)
    assert first.checksum == again.checksum != other.checksum
    assert [len(s) for s in (first.train, first.valid, first.test)] == [40, 5, 5]
    rows = sorted(image.numpy().tobytes() for image in whole(first))
    assert rows == sorted(image.tobytes() for image in LEVELS)
    sizes = own("npz", path, valid=0.25, test=7, **GRAY)
    assert [len(s) for s in (sizes.train, sizes.valid, sizes.test)] == [30, 13, 7]


def test_every_image_once_on_request(npz):
    twice = np.concatenate([LEVELS, LEVELS[:20]])
    assert len(whole(own("npz", npz(x=twice), unique=True, **GRAY))) == 50
    both = own("npz", npz(x_train=twice, x_test=LEVELS[45:]), unique=True, **GRAY)
    assert [len(s) for s in (both.train, both.valid, both.test)] == [40, 5, 5]


def test_counts_and_large_levels_are_whole_numbers(npz):
    counts = np.random.default_rng(0).poisson(900.0, (40, 8)).astype(np.float64)
    dataset = own("npz", npz(x=counts), measure="counts", order="file", context="library")
    assert dataset.train.x.dtype == torch.int32
    assert torch.equal(whole(dataset), torch.from_numpy(counts).to(torch.int32))
    assert torch.equal(dataset.train.context[:, 0], torch.from_numpy(counts[:32].sum(1)).log().float())
    counts[3] = 0
    assert "image 3 has no count" in said("npz", npz(x=counts), measure="counts", context="library")
    assert "is the log of the sum of counts" in said("npz", npz(x=counts), measure="continuous", context="library")


def test_large_sets_are_mapped_files_with_the_same_images(npz, tmp_path, monkeypatch):
    """In place where the file has them as they are to be, else in a file of their own; every block is converted."""
    np.save(tmp_path / "large.npy", LEVELS)
    plain = own("npy", tmp_path / "large.npy", **GRAY).checksum
    monkeypatch.setattr(store, "RESIDENT_BYTES", 100)
    monkeypatch.setattr(parts, "BLOCK_BYTES", 200)
    vaezoo.datasets._kept.clear()
    assert own("npy", tmp_path / "large.npy", **GRAY).checksum == plain
    assert own("npy", tmp_path / "large.npy", standardise="all", measure="continuous").train.x.mean().abs() < 1e-6
    mapped = own("npy", tmp_path / "large.npy", order="file", **GRAY)
    assert torch.equal(whole(mapped)[:, 0], torch.from_numpy(LEVELS))
    mapped.train.x[0] = 0  # changes neither the file nor another reader's images
    assert np.array_equal(np.load(tmp_path / "large.npy"), LEVELS)


def test_a_changed_file_is_read_again(npz):
    path = npz(x=LEVELS)
    first = own("npz", path, **GRAY)
    assert own("npz", path, **GRAY) is first
    npz(x=255 - LEVELS)
    os.utime(path, ns=(1, 1))
    assert own("npz", path, **GRAY).checksum != first.checksum


# --- mistakes

NAN = np.where(np.arange(30) == 7, np.nan, LEVELS.reshape(50, 30)[:, :30] / 255.0)
MISTAKES = {
    "no measure": (
        {"x": LEVELS},
        {},
        "say what the values of mine.npz, array 'x' are, which are whole numbers 0..255: "
        'measure = "discrete" with levels = 256 (256 for gray), or "counts"',
    ),
    "no measure of floats": ({"x": LEVELS / 255}, {}, r'which are 0\.\.1: measure = "continuous"'),
    "gray as binary": (
        {"x": LEVELS},
        {"measure": "binary"},
        r"mine.npz, array 'x', image 0: \d+ at \[0, 0, 0\] is outside 0..1; gray images are measure = \"discrete\"",
    ),
    "floats as binary": (
        {"x": LEVELS / 255},
        {"measure": "binary"},
        r"image 0: 0\.\d+ at .* is not a whole number; gray images are .* or say binarise = \"dynamic\" or a threshold",
    ),
    "no levels": (
        {"x": LEVELS},
        {"measure": "discrete"},
        "discrete images need levels, .* levels = 256 for the values",
    ),
    "too few levels": ({"x": LEVELS}, {"measure": "discrete", "levels": 16}, r"image 0: \d+ at .* is outside 0..15; "),
    "one level": ({"x": LEVELS}, {"measure": "discrete", "levels": 1}, "levels must be 2 or more, got 1"),
    "NaN": (
        {"x": NAN},
        {"measure": "continuous"},
        r"mine.npz, array 'x', image 0: nan at \[7\] is not finite; fill it in or remove the image",
    ),
    "too large": ({"x": LEVELS * 1e300}, {"measure": "continuous"}, "image 0: inf .* is too large for float32"),
    "negative counts": ({"x": -LEVELS.astype(int)}, {"measure": "counts"}, r"image 0: -\d+ at .* is outside 0\.\."),
    "binarised levels": (
        {"x": LEVELS},
        {"binarise": 9, **GRAY},
        "binarise makes images binary, got measure = 'discrete'",
    ),
    "gray beyond 255": ({"x": LEVELS * 2.0}, {"binarise": "dynamic"}, "is outside 0..255; binarise takes gray levels"),
    "standardised levels": ({"x": LEVELS}, {"standardise": True, **GRAY}, "standardise makes images continuous"),
    "constant column": (
        {"x": np.ones((50, 3)) * np.arange(50)[:, None] * [1, 0, 2]},
        {"standardise": True, "measure": "continuous"},
        "1 of 3 values are the same in every training image, first number 1; leave them out, or standardise = 'all'",
    ),
    "inverted floats": (
        {"x": LEVELS * 1.5},
        {"invert": True, "measure": "continuous"},
        r"invert gives 1 - x of .* 0\.\.1",
    ),
    "inverted counts": ({"x": LEVELS}, {"invert": True, "measure": "counts"}, "counts cannot be inverted"),
    "text": (
        {"x": np.array([["a", "b"]] * 9)},
        {"measure": "binary"},
        "mine.npz, array 'x' holds text; images are numbers",
    ),
    "objects": (
        {"x": np.array([{}, []], dtype=object)},
        {"measure": "binary"},
        "array 'x' holds Python objects; save",
    ),
    "sizes": (
        {"x_train": LEVELS, "x_test": LEVELS[:9, :5]},
        GRAY,
        r"array 'x_test' holds images of \[5, 5\], mine.npz, array 'x_train' of \[6, 5\]; make them equal",
    ),
    "labels": ({"x": LEVELS, "y": np.arange(9)}, GRAY, r"has 50 images and labels \[9\]; give one each"),
    "missing label": (
        {"x": LEVELS, "y": np.where(np.arange(50) == 4, np.nan, 1)},
        GRAY,
        "image 4 has no label; fill it in",
    ),
    "no such labels": (
        {"x": LEVELS, "kind": np.arange(50)},
        {"labels": "kinds", **GRAY},
        "no array 'kinds' .* did you mean 'kind'",
    ),
    "no such context": (
        {"x": LEVELS, "age": np.ones(50)},
        {"context": "ages", **GRAY},
        "no array 'ages' .* did you mean 'age'",
    ),
    "no labels for context": ({"x": LEVELS}, {"context": "labels", **GRAY}, "has no labels; name them with labels = "),
    "which images": (
        {"a": LEVELS, "b": LEVELS[:, :3]},
        GRAY,
        r"mine.npz holds 'a' \[50, 6, 5\], 'b' \[50, 3, 5\]: say which are the images, as images = 'a'",
    ),
    "no such images": (
        {"a": LEVELS},
        {"images": "c", **GRAY},
        "mine.npz has no array 'c' for the images; there are: a",
    ),
    "empty split": (
        {"x": LEVELS},
        {"valid": 0, **GRAY},
        "valid = 0 leaves validation empty; .* for example valid = 5",
    ),
    "no training images": (
        {"x": LEVELS},
        {"valid": 50, **GRAY},
        "50 for validation and 5 for test leave none for training",
    ),
    "a fraction of more": ({"x": LEVELS}, {"valid": 1.5, **GRAY}, "a fraction between 0 and 1, got 1.5"),
    "empty test": (
        {"x_train": LEVELS, "x_test": LEVELS[:0]},
        GRAY,
        r"must be images .* with a pixel or more|no image for test",
    ),
    "colours last": (
        {"x": np.repeat(LEVELS[..., None], 3, 3)},
        GRAY,
        r"images of mine.npz, array 'x' are \[6, 5, 3\]: say layout = 'HWC' \(colours last\) or 'CHW'",
    ),
    "no layout": ({"x": LEVELS}, {"layout": "HQ", **GRAY}, "layout 'HQ' must be of the letters H, W and C"),
    "longer layout": ({"x": LEVELS}, {"layout": "CHW", **GRAY}, "layout 'CHW' names 3 axes, an image of .* has 2"),
    "other shape": (
        {"x": LEVELS},
        {"shape": [28, 28], **GRAY},
        r"shape = \[28, 28\] has 784 pixels; each image .* has 30",
    ),
    "flat transposed": ({"x": LEVELS.reshape(50, 30)}, {"transpose": True, **GRAY}, r"say shape = \[height, width\]"),
    "copies across splits": (
        {"x": np.concatenate([LEVELS, LEVELS])},
        {"valid": 20, **GRAY},
        r"are also train images; give .* = true keeps each image once; for example mine.npz, array 'x', image \d+ is",
    ),
    "a split that is another": (
        {"x_train": LEVELS, "x_test": LEVELS},
        {"valid": 1, **GRAY},
        "unique = true keeps each image once; for example mine.npz, array 'x_test', image 0 is mine",
    ),
    "unknown option": ({"x": LEVELS}, {"lables": "y", **GRAY}, "option 'lables' is unknown; did you mean 'labels'"),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_a_mistake_is_one_line(npz, title):
    arrays, options, expected = MISTAKES[title]
    found = said("npz", npz(**arrays), **options)
    exact = expected if re.search(r"\\|\.\*", expected) else re.escape(expected)
    assert re.search(exact, found), found


def test_a_missing_file_or_another_format_is_one_line(tmp_path):
    np.save(tmp_path / "mine.npy", LEVELS)
    assert said("npy", tmp_path / "mine.npi", **GRAY).endswith("mine.npi does not exist; did you mean 'mine.npy'?")
    assert "relative to the matrix file's folder" in said("npy", Path("nowhere/x.npy"), **GRAY)
    assert "it holds a single array); name = 'npy' reads .npy files" in said("npz", tmp_path / "mine.npy", **GRAY)
    assert "mine.npy cannot be read as an IDX file" in said("idx", tmp_path / "mine.npy", **GRAY)
    assert "is a folder; give a file, or read a folder of pictures with name = 'images'" in said(
        "npz", tmp_path, **GRAY
    )
    assert "holds no picture" in said("images", tmp_path, **GRAY)
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and no more")
    assert said("npz", tmp_path / "cut.npz", **GRAY).startswith("cut.npz cannot be read as an .npz file")
    (tmp_path / "cut.mat").write_bytes(b"no such thing" * 20)
    assert said("mat", tmp_path / "cut.mat", **GRAY).startswith("cut.mat cannot be read as a .mat file")
    with pytest.raises(VaezooError, match="option 'path' has no default and must be given"):
        load_dataset("npz")


def test_damaged_idx_files_say_their_sizes(tmp_path):
    (tmp_path / "x-ubyte").write_bytes(idx_bytes(LEVELS)[:-7])
    assert said("idx", tmp_path / "x-ubyte", **GRAY) == (
        "x-ubyte is damaged: its head says [50, 6, 5], which is 1500 bytes, and 1493 follow; write or download it again"
    )
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx_bytes(LEVELS))[:-20])
    assert said("idx", tmp_path / "x.gz", **GRAY).startswith(
        "x.gz cannot be read as an IDX file (Compressed file ended"
    )
    (tmp_path / "y-ubyte").write_bytes(idx_bytes(np.arange(3, dtype=np.uint8)))
    (tmp_path / "x-ubyte").write_bytes(idx_bytes(LEVELS))
    assert "x-ubyte has 50 images and labels [3]; give one each" in said(
        "idx", tmp_path / "x-ubyte", labels="y-ubyte", **GRAY
    )


TABLES = {
    "text": ("a,b\n1,2\n3,x\n", {}, "mine.csv, line 3: column 'b' holds the text 'x'; pixels are numbers: mend it"),
    "empty cell": (
        "a,b\n1,2\n3,\n5,6\n",
        {},
        "mine.csv, line 3: column 'b' is empty or NaN; fill it in or remove the line",
    ),
    "ragged": ("a,b\n1,2\n3,4,5\n", {}, "mine.csv cannot be read as a table (Expected 2 fields in line 3, saw 3)"),
    "empty": ("", {}, "mine.csv cannot be read as a table (No columns to parse from file)"),
    "semicolons": ("a;b\n1;2\n3;4\n", {}, "mine.csv has one column, and ';' in its first line: say separator = ';'"),
    "no such column": ("a,b\n1,2\n", {"labels": "c"}, "mine.csv has no column 'c'; there are: a, b"),
    "empty label": ("a,b,c\n1,2,x\n3,4,\n", {"labels": "c"}, "mine.csv, line 3 has no label; fill it in or remove"),
    "empty context": ("a,b\n1,2\n3,\n", {"context": "b"}, "mine.csv, line 3: context 'b' is empty or NaN; fill it in"),
    "no pixels": ("a\n1\n2\n", {"labels": "a"}, "mine.csv has no column of pixels beside a"),
}


@pytest.mark.parametrize("title", TABLES)
def test_a_mistake_in_a_table_is_one_line_with_its_place(tmp_path, title):
    text, options, expected = TABLES[title]
    (tmp_path / "mine.csv").write_text(text)
    assert said("csv", tmp_path / "mine.csv", measure="continuous", **options).startswith(expected)


def test_a_picture_that_does_not_fit_is_named(tmp_path):
    def save(name: str, image: np.ndarray, mode: str | None = None) -> None:
        Image.fromarray(image).convert(mode or ("L" if image.ndim == 2 else "RGB")).save(tmp_path / name)

    save("a.png", LEVELS[0])
    save("b.png", np.zeros((7, 5), np.uint8))
    assert said("images", tmp_path, **GRAY) == (
        "b.png is 7 x 5, a.png is 6 x 5 (height x width); say size = [6, 5] and fit = 'stretch', 'crop' or 'pad', or "
        "remove it"
    )
    assert "b.png is 7 x 5, size asks for" in said("images", tmp_path, size=[6, 5], **GRAY)
    assert "needs the size to come to" in said("images", tmp_path, fit="crop", **GRAY)
    save("b.png", np.zeros((6, 5, 3), np.uint8))
    assert said("images", tmp_path, **GRAY) == "b.png has 3 channels, a.png 1: say channels = 1 (gray) or 3 (colours)"
    save("b.png", np.zeros((6, 5, 3), np.uint8), "RGBA")
    assert said("images", tmp_path, **GRAY) == "b.png is transparent: say channels = 1 (gray) or 3 (colours)"
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert said("images", tmp_path, **GRAY).startswith("b.png cannot be read as a picture (")
    assert "labels = 'folders', got 'kind'" in said("images", tmp_path, labels="kind", **GRAY)


@pytest.mark.skipif(importlib.util.find_spec("h5py") is not None, reason="h5py is installed")
def test_a_missing_package_says_how_to_install_it(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"")
    assert said("hdf5", tmp_path / "a.h5", **GRAY) == "reading a.h5 needs the package h5py; pip install 'vaezoo[hdf5]'"


def test_a_path_is_relative_to_the_matrix_file(tmp_path, monkeypatch):
    """Also where the command runs elsewhere; the key of a cell depends on the images, and not on the folder."""
    from vaezoo.runner.matrix.file import load
    from vaezoo.runner.plan.planner import make_plan
    from vaezoo.runner.plan.specification import key_of

    keys = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        (folder / "data").mkdir(parents=True)
        np.savez(folder / "data" / "mine.npz", x=LEVELS)
        entry = '{ name = "npz", path = "data/mine.npz", measure = "discrete", levels = 256 }'
        (folder / "m.toml").write_text(f"datasets = [{entry}]\nmodel.hidden = [4]\n[[variants]]\nname = 'vae'\n")
        plan = make_plan(load(folder / "m.toml"))
        [cell] = plan.cells
        assert cell.dataset == "npz, path=mine.npz, measure=discrete, levels=256"
        assert cell.specification.dataset.options["path"] == str(folder / "data" / "mine.npz")
        assert load(plan.matrix.dump()) == plan.matrix
        keys.append(cell.key)
        assert next(iter(cell.specification.with_seeds([0])))[0] == cell.key
        assert key_of(cell.specification.to_json()) == cell.key
    assert keys[0] == keys[1]
