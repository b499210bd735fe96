"""The user's own files: each format is read back exactly, and each option does what it says."""

import gzip
import importlib.util
import os

import numpy as np
import pandas as pd
import pytest
import torch
from loading import nothing_kept  # noqa: F401
from own_files import FILE_ORDER, GRAY, LEVELS, idx_bytes, own, said, whole
from PIL import Image
from scipy.io import savemat

import vaezoo
from vaezoo.datasets import load_dataset
from vaezoo.datasets._own import parts, store
from vaezoo.registry import registry

OWN = ["amat", "csv", "h5ad", "hdf5", "idx", "images", "mat", "npy", "npz"]
EXTRAS = {"h5ad": "anndata", "hdf5": "h5py"}


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


def test_changed_labels_are_another_key_only_where_a_metric_reads_them(tmp_path):
    from vaezoo.runner.matrix.file import load
    from vaezoo.runner.plan.planner import make_plan

    def keys(y: np.ndarray, metrics: list[str]) -> tuple[str, str]:
        np.savez(tmp_path / "mine.npz", x=LEVELS, y=y)
        vaezoo.datasets._kept.clear()
        dataset = {"name": "npz", "path": str(tmp_path / "mine.npz"), **GRAY}
        evaluate = {"metrics": metrics, "throughput": True}
        matrix = {"datasets": [dataset], "model": {"hidden": [4]}, "evaluate": evaluate, "variants": [{"name": "vae"}]}
        plan = make_plan(load(matrix))
        [cell] = plan.cells
        assert ("labels_checksum" in cell.specification.to_json()["dataset"]) == ("mig" in metrics)
        return cell.key, plan.timings[cell.stem].key

    factors = np.stack([np.arange(50) % 3, np.arange(50) % 5], 1)
    for metrics, same in (([], True), (["kl-per-dimension"], True), (["mig"], False)):
        first, second = keys(factors, metrics), keys(factors[::-1], metrics)
        assert (first[0] == second[0]) == same
        assert first[1] == second[1]
