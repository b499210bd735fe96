"""Files that could be read as something else than the user means: each is read right, or refused, or said in a line."""

import gzip
import importlib.util
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from loading import nothing_kept  # noqa: F401
from own_files import FILE_ORDER, GRAY, LEVELS, own, said
from PIL import Image
from scipy.io import savemat

import vaezoo
from vaezoo import VaezooError, VaezooWarning

REAL = np.random.default_rng(0).normal(size=(60, 3))
CONTINUOUS = {"measure": "continuous"}
SPLIT = {"order": "file", "valid": 5}


def warned(name, path, **options):
    """The data set, and the one line that it warns of."""
    with pytest.warns(VaezooWarning) as found:
        dataset = own(name, path, **options)
    [line] = [str(each.message) for each in found]
    assert "\n" not in line
    return dataset, line.removeprefix(f"dataset {name!r}: ")


# --- tables


def test_further_tables_are_read_by_the_names_of_their_columns(tmp_path):
    frame, train = pd.DataFrame(REAL, columns=list("abc")), tmp_path / "tr.csv"
    frame[:40].to_csv(train, index=False)
    frame[40:][["c", "a", "b"]].to_csv(tmp_path / "te.csv", index=False)
    for options in ({}, {"columns": [0, 1, 2]}):
        test = own("csv", train, test="te.csv", **CONTINUOUS, **SPLIT, **options).test.x
        assert np.allclose(test, REAL[40:])
    frame[40:].rename(columns={"a": "q"}).to_csv(tmp_path / "te.csv", index=False)
    assert said("csv", train, test="te.csv", **CONTINUOUS) == (
        "columns differ: tr.csv alone has 'a' and te.csv alone has 'q'; give both files the same names"
    )
    frame[40:].to_csv(tmp_path / "te.csv", index=False, header=False)
    assert "tr.csv has a line of names and te.csv has none" in said("csv", train, test="te.csv", **CONTINUOUS)


@pytest.mark.skipif(importlib.util.find_spec("anndata") is None, reason="anndata is not installed")
def test_further_cells_are_read_by_the_names_of_their_genes(tmp_path):
    import anndata

    anndata.settings.allow_write_nullable_strings = True
    counts = np.random.default_rng(0).poisson(50, (60, 5)).astype(np.float32)

    def write(name, x, genes):
        obs, var = (pd.DataFrame(index=each) for each in ([f"c{n}" for n in range(len(x))], list(genes)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anndata.AnnData(x, obs=obs, var=var).write_h5ad(tmp_path / name)

    write("tr.h5ad", counts[:40], "ABCDE")
    write("te.h5ad", counts[40:, ::-1], "EDCBA")
    options = {"measure": "counts", "test": "te.h5ad", **SPLIT}
    assert np.array_equal(own("h5ad", tmp_path / "tr.h5ad", **options).test.x, counts[40:])
    write("te.h5ad", counts[40:], "ABCDX")
    assert "genes differ: tr.h5ad alone has 'E' and te.h5ad alone has 'X'" in said(
        "h5ad", tmp_path / "tr.h5ad", **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(obs=pd.DataFrame(index=["a", "b"])).write_h5ad(tmp_path / "no.h5ad")
    assert said("h5ad", tmp_path / "no.h5ad", measure="counts").startswith("no.h5ad has no X")


MISREAD = {
    "more cells than names": ("a,b\n1,2,7\n3,4,7\n", {}, "line 2 has 3 cells, the header 2; give each column a name"),
    "names that are numbers": (
        "0,1,2\n1,2,4\n",
        {},
        "line 1 holds 0, 1, 2, which may be names of columns or the first",
    ),
    "a line of names alone": ("a,b\n", {}, "has a line of names and no row"),
    "python's numbers": ("a,b\n1,2\n\n1_000,2\n", {}, "line 4: column 'a' holds the text '1_000'"),
    "blank lines": ("\na,b\n1,2\n\n1,\n", {}, "line 5: column 'b' is empty or NaN"),
    "a break in quotes": ('a,"b\nc"\n1,2\n1,x\n', {}, "line 4: column 'b\\nc' holds the text 'x'"),
    "spaces": ("a b\n1 2\n", {}, "say separator = ' '"),
    "a column twice": ("a,b\n1,2\n", {"columns": ["a", 0]}, "columns names 'a' twice"),
    "decimal commas": ("a;b\n1,5;2,5\n", {}, "say separator = ';'"),
}


@pytest.mark.parametrize("title", MISREAD)
def test_a_table_that_may_be_misread_is_one_line(tmp_path, title):
    text, options, expected = MISREAD[title]
    (tmp_path / "mine.csv").write_text(text)
    found = said("csv", tmp_path / "mine.csv", **CONTINUOUS, **options)
    assert found.startswith("mine.csv")
    assert expected in found


def test_names_of_rows_are_left_out_and_numbers_as_names_are_asked_for(tmp_path):
    path = tmp_path / "mine.csv"
    for names in (list("abc"), [0, 1, 2]):
        pd.DataFrame(REAL, columns=names).to_csv(path)
        dataset, line = warned("csv", path, **CONTINUOUS, **FILE_ORDER)
        assert np.allclose(dataset.train.x, REAL[:50])
        assert line.startswith("mine.csv: the first column has no name, and is left out")
        vaezoo.datasets._kept.clear()
    pd.DataFrame(REAL).to_csv(path, index=False)
    assert len(own("csv", path, header=True, **CONTINUOUS, **FILE_ORDER).train) == 50
    assert len(own("csv", path, header=False, **CONTINUOUS, **FILE_ORDER).train) == 51


def test_damaged_and_foreign_tables_are_one_line(tmp_path):
    packed = gzip.compress("".join(f"{a},{b}\n" for a, b, _ in REAL).encode())
    (tmp_path / "a.csv.gz").write_bytes(packed)
    assert own("csv", tmp_path / "a.csv.gz", **CONTINUOUS).spec.shape == (2,)
    (tmp_path / "a.csv.gz").write_bytes(packed[:-30])
    assert "a.csv.gz cannot be read as a table" in said("csv", tmp_path / "a.csv.gz", **CONTINUOUS)
    (tmp_path / "a.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    assert "save it as UTF-8" in said("csv", tmp_path / "a.csv", **CONTINUOUS)


# --- labels


def test_one_hot_rows_are_classes_and_ordinary_labels_stay(npz):
    y = np.arange(50) % 3
    kinds = {"column": ((y + 1)[:, None], y + 1), "one-hot": (np.eye(3)[y], y)}
    alone = np.zeros((50, 2), dtype=int)
    alone[np.arange(50), y % 2] = y + 1
    kinds |= {"factors": (alone, alone), "unused": (np.eye(4, dtype=int)[y], np.eye(4, dtype=int)[y])}
    for title, (given, expected) in kinds.items():
        dataset = own("npz", npz(x=LEVELS, y=given), **GRAY, **FILE_ORDER)
        assert dataset.train.y.tolist() == expected[:40].tolist(), title
        vaezoo.datasets._kept.clear()


@pytest.mark.parametrize(
    ("y", "line"),
    [
        (np.arange(9), "has 50 images and labels [9]"),
        (np.linspace(0, 1, 50), "are classes, as whole numbers or text, got 0.0204"),
        (np.random.default_rng(0).normal(size=(50, 4)), "are classes"),
        (np.where(np.arange(50) == 4, np.nan, 1), "image 4 has no label"),
    ],
)
def test_an_array_called_y_that_is_no_label_is_left_out(npz, y, line):
    dataset, found = warned("npz", npz(x=LEVELS, y=y), **GRAY)
    assert dataset.train.y is None
    assert found.startswith("labels are left out: ")
    assert line in found
    vaezoo.datasets._kept.clear()
    assert line in said("npz", npz(x=LEVELS, y=y), labels="y", **GRAY)
    assert own("npz", npz(x=LEVELS, y=y), labels="none", **GRAY).train.y is None


def test_labels_of_some_parts_and_unrelated_objects_do_not_matter(npz):
    objects = np.array([{"made": "by me"}], dtype=object)
    dataset, line = warned(
        "npz", npz(x_train=LEVELS[:40], x_test=LEVELS[40:], y_train=np.arange(40), meta=objects), **GRAY
    )
    assert dataset.train.y is None
    assert "array 'x_test' has none, and the others have" in line
    texts = {"y_train": np.arange(40), "y_test": np.array(["a", "b"] * 5)}
    path = npz(x_train=LEVELS[:40], x_test=LEVELS[40:], **texts)
    assert "are text, those of mine.npz, array 'x_train' numbers" in said("npz", path, labels="y", **GRAY)


def test_texts_of_matlab_are_labels(tmp_path):
    kinds = [["cat", "horse"][n % 2] for n in range(50)]
    for labels in (np.array(kinds), np.array(kinds, dtype=object)[:, None]):
        savemat(tmp_path / "a.mat", {"x": LEVELS, "labels": labels})
        assert own("mat", tmp_path / "a.mat", **GRAY, **FILE_ORDER).train.y.tolist() == [0, 1] * 20
        vaezoo.datasets._kept.clear()


# --- values


def test_times_are_standardised_without_losing_digits(npz):
    x = np.stack([1_700_000_000 + 3 * np.arange(60), REAL[:, 0]], 1)
    dataset = own("npz", npz(x=x), standardise=True, **CONTINUOUS, **FILE_ORDER)
    train = x[:50]
    assert np.allclose(dataset.test.x, (x[55:] - train.mean(0)) / train.std(0), atol=1e-6)
    assert len(dataset.train.x[:, 0].unique()) == 50


@pytest.mark.parametrize(
    ("x", "line"),
    [
        (REAL * [1, 1e7, 1], "columns differ 1e7-fold in spread; standardise = true scales them"),
        (LEVELS, "values are 0..255, far from the unit scale of networks; standardise = true scales them"),
        (REAL + np.array([0, 1e6, 0]), "1 columns vary by less than 1e-5 of their mean, which float32 rounds"),
    ],
)
def test_unscaled_data_are_said_when_planned_and_kept_in_the_record(npz, x, line, tmp_path):
    from vaezoo.runner.work.mapped import read_dataset, write_dataset

    dataset, found = warned("npz", npz(x=x), **CONTINUOUS)
    assert line in found
    write_dataset(dataset, tmp_path / "decoded")
    assert line in read_dataset(tmp_path / "decoded").remarks[0]
    assert dataset.limited(5).remarks == dataset.remarks
    vaezoo.datasets._kept.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own("npz", npz(x=x), standardise="all" if x is LEVELS else True, **CONTINUOUS)


def test_levels_without_noise_have_no_density_and_dequantise_adds_it(npz):
    levels = {"measure": "continuous", "levels": 256}
    for x in (LEVELS / 255, LEVELS / 256):
        assert "say dequantise = true (noise within each level), or measure = 'discrete'" in said(
            "npz", npz(x=x), **levels
        )
    dataset = own("npz", npz(x=LEVELS), dequantise=True, **levels, **FILE_ORDER)
    assert dataset.spec.levels == 256
    assert np.array_equal((dataset.train.x * 256).floor()[:, 0], LEVELS[:40])
    u = dataset.train.x * 256 % 1
    assert abs(float(u.mean()) - 0.5) < 5 * 12**-0.5 / u.numel() ** 0.5
    again = own("npz", npz(x=dataset.train.x.numpy()), **levels)  # noise of the user's own
    assert again.spec == dataset.spec
    assert "say measure = 'continuous' and levels" in said("npz", npz(x=LEVELS), dequantise=True, **GRAY)


DIGITS = LEVELS // 16
SCALES = {
    "digits drawn": (
        DIGITS,
        {"binarise": "fixed"},
        "whole numbers 0..15: say levels = 16 where 15 is white, 256 where",
    ),
    "all below": (DIGITS, {"binarise": 128}, "binarise = 128 makes every pixel 0"),
    "all above": (LEVELS + 1.0, {"binarise": 0.5}, "binarise = 0.5 makes every pixel 1"),
    "gray at a half": (LEVELS, {"binarise": 0.5}, "makes every pixel 1 that is not 0, for the values"),
    "black and white": ((LEVELS > 99) * 1.0, GRAY, "holds 0 and 1 alone, which may be levels or black and white"),
    "sizes below 0": (LEVELS.reshape(50, 30), {"shape": [-6, -5], **GRAY}, "shape must be sizes of 1 or more"),
}


@pytest.mark.parametrize("title", SCALES)
def test_a_wrong_scale_is_refused(npz, title):
    x, options, expected = SCALES[title]
    assert expected in said("npz", npz(x=x), **options)


def test_levels_say_which_gray_is_white(npz):
    dataset = own("npz", npz(x=DIGITS), binarise="dynamic", levels=16, **FILE_ORDER)
    assert torch.equal(dataset.train.x[:, 0], torch.from_numpy(DIGITS[:40] * 17))
    assert dataset.spec == vaezoo.DataSpec((1, 6, 5), "binary", binarisation="dynamic")
    vaezoo.datasets._kept.clear()
    _, line = warned("npz", npz(x=DIGITS), **GRAY)
    assert "the largest value is 15 of levels 0..255; say levels = 16 if that is white" in line


# --- counts


def test_the_library_is_the_first_column_and_other_first_columns_are_skipped(npz):
    from vaezoo.runner.matrix.file import load
    from vaezoo.runner.plan.planner import make_plan

    counts = np.random.default_rng(0).poisson(4, (50, 6))
    path = npz(x=counts, y=np.arange(50) % 3, depth=counts.sum(1))
    dataset = own("npz", path, measure="counts", context=["labels", "library"], **FILE_ORDER)
    assert torch.equal(dataset.train.context[:, 0], torch.from_numpy(counts[:40].sum(1)).log().float())

    def skip(context, **model):
        entry = {"name": "npz", "path": str(path), "measure": "counts", "context": context}
        row = {"name": "count-vae", "model": {"hidden": [4]}, **model}
        [cell] = make_plan(load({"datasets": [entry], "variants": [row]})).cells
        return cell.skip

    assert skip(["labels", "library"]) is None
    assert "takes column 0 of the context as the log of the library size, and it holds 0 and 1 alone" in skip("labels")
    assert "its median is" in skip("depth")


# --- files


def test_files_of_one_name_in_two_folders_have_labels_of_their_own(tmp_path):
    from vaezoo.runner.matrix.file import load

    datasets = [{"name": "npz", "path": str(tmp_path / f"{d}/x.npz"), **GRAY} for d in ("d1/a", "d2/a", "d2/b")]
    datasets += [{"name": "npz", "path": str(tmp_path / "d3/y.npz"), **GRAY}]
    matrix = load({"datasets": datasets, "variants": [{"name": "vae"}]})
    labels = [entry.label.split(", ")[1] for entry in matrix.datasets]
    assert labels == ["path=d1/a/x.npz", "path=d2/a/x.npz", "path=b/x.npz", "path=y.npz"]
    assert load(matrix.dump()) == matrix
    with pytest.raises(VaezooError, match=r"got 'npz, path=.*' twice; remove one"):
        load({"datasets": datasets[:1] * 2, "variants": [{"name": "vae"}]})


def test_a_home_that_is_none_and_a_broken_link_are_one_line(tmp_path):
    from vaezoo.runner.matrix.file import load

    with pytest.raises(VaezooError, match="no home folder ~nobody-of-this-name"):
        own("npz", "~nobody-of-this-name/y.npz", **GRAY)
    entry = {"name": "npz", "path": "~nobody-of-this-name/y.npz", **GRAY}
    with pytest.raises(VaezooError, match="no home folder ~nobody-of-this-name"):
        load({"datasets": [entry], "variants": [{"name": "vae"}]})
    (tmp_path / "broken.npy").symlink_to("gone.npy")
    assert "broken.npy is a link to gone.npy, which does not exist" in said("npy", tmp_path / "broken.npy", **GRAY)


def test_archives_without_arrays_and_damaged_blocks_are_one_line(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.txt", "text")
    assert said("npz", tmp_path / "a.npz", **GRAY) == "a.npz holds no array; write it with numpy.savez"
    if importlib.util.find_spec("h5py") is None:
        return
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=LEVELS, compression="gzip")
        offset = file["x"].id.get_chunk_info(0).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[offset + 20] ^= 255
    (tmp_path / "a.h5").write_bytes(content)
    assert said("hdf5", tmp_path / "a.h5", **GRAY).startswith("a.h5, data set 'x': rows 0..")


def pictures(folder, images):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")


def test_folders_of_splits_in_capitals_hidden_files_and_links(tmp_path):
    pictures(tmp_path / "a" / "Train", LEVELS[:30])
    pictures(tmp_path / "a" / "TEST", LEVELS[30:40])
    (tmp_path / "a" / "Train" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "a" / "Train" / ".cache").mkdir()
    (tmp_path / "a" / "Train" / ".cache" / "b.png").write_bytes(b"no picture")
    dataset = own("images", tmp_path / "a", **GRAY)
    assert (len(dataset.train) + len(dataset.valid), len(dataset.test)) == (30, 10)
    dataset, line = warned("images", tmp_path / "a", test=3, **GRAY)
    assert (len(dataset.test), line) == (3, "a: 10 pictures beside Train are left out, as TEST/00.png")
    (tmp_path / "a" / "more.png").write_bytes(b"no picture")
    assert "1 pictures beside Train are left out, as more.png" in warned("images", tmp_path / "a", **GRAY)[1]
    pictures(tmp_path / "b" / "valid", LEVELS[40:45])
    pictures(tmp_path / "b" / "test", LEVELS[45:])
    assert "b has test and valid and no subfolder train" in said("images", tmp_path / "b", **GRAY)
    pictures(tmp_path / "c" / "cat", LEVELS[:20])
    pictures(tmp_path / "dogs", LEVELS[20:40])
    (tmp_path / "c" / "dog").symlink_to(tmp_path / "dogs")
    (tmp_path / "c" / "cat" / "loop").symlink_to(tmp_path / "c")
    dataset = own("images", tmp_path / "c", labels="folders", **GRAY)
    assert sum(map(len, (dataset.train, dataset.valid, dataset.test))) == 40


def test_a_changed_file_beside_the_path_or_inside_it_is_read_again(tmp_path):
    pictures(tmp_path / "a" / "cat", LEVELS[:40])
    first = own("images", tmp_path / "a", **GRAY)
    assert own("images", tmp_path / "a", **GRAY) is first
    Image.fromarray(255 - LEVELS[0]).save(tmp_path / "a" / "cat" / "00.png")
    os.utime(tmp_path / "a" / "cat" / "00.png", ns=(1, 1))
    assert own("images", tmp_path / "a", **GRAY).checksum != first.checksum
    np.save(tmp_path / "x.npy", LEVELS)
    np.save(tmp_path / "y.npy", np.arange(50) % 3)
    first = own("npy", tmp_path / "x.npy", labels="y.npy", **GRAY)
    np.save(tmp_path / "y.npy", np.arange(50) % 2)
    os.utime(tmp_path / "y.npy", ns=(1, 1))
    assert own("npy", tmp_path / "x.npy", labels="y.npy", **GRAY).train.y.max() == 1
