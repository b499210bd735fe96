"""Mistakes in the user's own files: each is one line that names the file, the place, and what to do."""

import gzip
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from loading import nothing_kept  # noqa: F401
from own_files import GRAY, LEVELS, idx_bytes, said
from PIL import Image

from vaezoo import VaezooError
from vaezoo.datasets import load_dataset

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
    "labels": (
        {"x": LEVELS, "y": np.arange(9)},
        {"labels": "y", **GRAY},
        r"has 50 images and labels \[9\]; give one each",
    ),
    "missing label": (
        {"x": LEVELS, "y": np.where(np.arange(50) == 4, np.nan, 1)},
        {"labels": "y", **GRAY},
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
    "empty": ("", {}, "mine.csv cannot be read as a table (it is empty)"),
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
