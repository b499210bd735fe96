"""A results folder is verified: what was edited, swapped or altered is named, and an untouched one passes."""

import json
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_tasks import PRIOR, resealed

import vaezoo.api
from vaezoo.core.errors import VaezooError
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.runner.files import sha256_of
from vaezoo.runner.plan.specification import PROTOCOL
from vaezoo.runner.store import Store
from vaezoo.runner.verify import VerifyOptions, _chosen, verify
from vaezoo.runner.work.reevaluate import LIMIT, compared, z_score


@pytest.fixture
def folder(finished, tmp_path):
    """Four cells and a timing, to be written into."""
    return shutil.copytree(finished.folder, tmp_path / "copy")


def verified(folder, sample=0, seed=0):
    with vaezoo.api.Children() as children:
        return verify(folder, children, VerifyOptions(sample, seed))


def first(folder):
    """The path of the record of `vae`, seed 0."""
    [path] = folder.glob("cells/vae--digits-binary--s0--*.json")
    return path


def edit(path, seal=True, **changes):
    """Change results of a record, and its digest where `seal`."""
    value = json.loads(path.read_text())
    value["results"] |= changes
    path.write_text(json.dumps(resealed(value) if seal else value))


def images_edited(path, by):
    """Change every image's iwll and the record's mean, with all digests."""
    with np.load(path.with_suffix(".npz")) as found:
        values = dict(found)
    values["iwll"] = values["iwll"] + by
    np.savez_compressed(path.with_suffix(".npz"), **values)
    value = json.loads(path.read_text())
    mean = float(values["iwll"].astype(float).mean())
    value["results"] |= {"iwll": mean, "bits_per_dim": -mean / 64 / math.log(2)}
    value["files"][f"cells/{path.stem}.npz"] = sha256_of(path.with_suffix(".npz"))
    path.write_text(json.dumps(resealed(value)))


def weights(path):
    return path.parent.parent / "checkpoints" / f"{path.stem}.safetensors"


def test_an_untouched_folder_passes(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    found = verified(folder, None)
    assert found.findings == []
    assert len(found.evaluated) == 4
    for line in found.evaluated:
        assert re.fullmatch(
            r"evaluated anew: (vae|beta-vae) on digits-binary, seed \d: iwll .* anew, z = -?\d\.\d+", line
        )
    said = "4 of 4 cells and 1 timings have a sound record; 4 of 4 with a result were evaluated anew, 0 could not be"
    assert found.summary == f"{said}; 0 found"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_sample_depends_on_the_seed_alone():
    cells = [SimpleNamespace(cell=SimpleNamespace(stem=str(number))) for number in range(20)]

    def chosen(sample, seed):
        return [int(each.cell.stem) for each in _chosen(cells, VerifyOptions(sample, seed))]

    assert chosen(5, 0) == chosen(5, 0) == sorted(chosen(5, 0))
    assert len({tuple(chosen(5, seed)) for seed in range(9)}) > 5
    assert chosen(None, 0) == chosen(20, 0) == list(range(20))


def unsealed(path):
    edit(path, seal=False, iwll=-1.0)


def sealed(path):
    edit(path, iwll=-1.0)


def bound(path):
    edit(path, elbo=-1.0)


def swapped(path):
    [other] = path.parent.glob("vae--digits-binary--s1--*.json")
    shutil.copy(weights(other), weights(path))


def without_values(path):
    path.with_suffix(".npz").unlink()


def other_protocol(path):
    value = json.loads(path.read_text())
    value["specification"]["protocol"] += 1
    path.write_text(json.dumps(resealed(value)))


def without_audit(path):
    value = json.loads(path.read_text())
    del value["audit"]
    path.write_text(json.dumps(resealed(value)))


def other_label(path):
    value = json.loads(path.read_text())
    value["label"] = "vae, improved"
    path.write_text(json.dumps(resealed(value)))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (unsealed, r"{}\.json is damaged: it has been changed: its digest is not that of its content"),
        (sealed, r"vae on digits-binary, seed 0: its iwll is -1\.0, and -\d+\.\d+ by the values of its images"),
        (bound, r"vae on digits-binary, seed 0: its elbo is -1\.0, and .* by the values of its images"),
        (swapped, r"vae on digits-binary, seed 0: the weights .*{}\.safetensors are not those of the record"),
        (without_values, r"vae on digits-binary, seed 0: its per-image values are not there"),
        (other_protocol, r"{}\.json is damaged: its key is not the sha256 of its specification"),
        (without_audit, r"vae on digits-binary, seed 0: its record has no audit"),
        (other_label, r"vae on digits-binary, seed 0: the label of its record is not that of the plan"),
    ],
)
def test_what_was_changed_is_named(change, found, folder):
    change(first(folder))
    lines = verified(folder).findings
    assert len(lines) == 1
    assert re.search(found.format(first(folder).stem), lines[0])


def weights_in_disguise(path):
    swapped(path)
    value = json.loads(path.read_text())
    value["files"][f"checkpoints/{path.stem}.safetensors"] = sha256_of(weights(path))
    path.write_text(json.dumps(resealed(value)))


def higher(path):
    images_edited(path, 0.5)


def counted(path):
    edit(path, parameters=7, active_units=2)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (higher, [r"its iwll is \+0\.\d+ nats from that of its weights, z = -\d"]),
        (weights_in_disguise, [r"its iwll is .* nats from", r"its elbo is .* nats from", r"its reconstruction is .*"]),
        (counted, [r"its parameters is 7, and \d+ of its weights", r"its active_units is 2, and \d of its weights"]),
    ],
)
def test_what_was_changed_with_all_digests_is_named_by_the_weights(change, found, folder):
    change(first(folder))
    assert verified(folder).findings == []
    lines = verified(folder, None).findings
    assert len(lines) == len(found)
    for line, pattern in zip(lines, found, strict=True):
        assert re.match(f"vae on digits-binary, seed 0: {pattern}", line), line


def test_missing_weights_and_records_are_counted(folder):
    weights(first(folder)).unlink()
    [path] = folder.glob("cells/beta-vae--digits-binary--s0--*.json")
    path.unlink()
    told = []
    with vaezoo.api.Children() as children:
        found = verify(folder, children, VerifyOptions(None), told.append)
    assert found.findings == []
    assert told[-1] == "not evaluated anew, 1 cell: their weights are not there"
    assert found.summary.startswith("3 of 4 cells and 1 timings have a sound record; 2 of 3 with a result were")


def test_an_older_protocol_is_said(folder, monkeypatch):
    monkeypatch.setattr("vaezoo.runner.verify.PROTOCOL", PROTOCOL + 1)
    [line] = verified(folder).findings
    assert f"4 of 4 records were measured by protocol {PROTOCOL}, and this vaezoo measures by {PROTOCOL + 1}" in line


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(VaezooError, match="holds no results of a matrix"):
        verified(tmp_path)


DATA = '''
from pathlib import Path
import numpy, torch, vaezoo

@vaezoo.register.dataset("kept")
def kept(root, seed):
    """Coins in a file."""
    x = torch.from_numpy(numpy.load(Path(__file__).parent / "coins.npy"))
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")
'''


def test_the_command_names_altered_data_and_code(shell, matrix_file, tmp_path):
    generator = np.random.default_rng(0)
    np.save(tmp_path / "coins.npy", generator.integers(0, 2, (130, 4), dtype=np.uint8))
    (tmp_path / "own.py").write_text(DATA + PRIOR)
    rows = [{"name": "vae", "prior": "own"}]
    matrix_file(tmp_path / "kept.toml", rows, plugins=["own.py"], datasets=["kept"])
    assert shell("run", "kept.toml", "--device", "cpu", cwd=tmp_path).code == 0
    verify_it = ("verify", tmp_path / "results" / "kept", "--device", "cpu")
    done = shell(*verify_it)
    assert done.code == 0, done
    assert "1 of 1 with a result were evaluated anew, 0 could not be; 0 found" in done.out
    np.save(tmp_path / "coins.npy", generator.integers(0, 2, (130, 4), dtype=np.uint8))
    (tmp_path / "own.py").write_text((DATA + PRIOR).replace("zeros_like(z), t", "zeros_like(z) + 0.0, t"))
    done = shell(*verify_it)
    assert done.code == 1
    assert done.out.splitlines()[:3] == [
        "prior 'own' has changed since 1 of the records were measured",
        "data set 'kept': its images have changed since 1 of the records were measured",
        "not evaluated anew, 1 cell: data set 'kept' has changed",
    ]
    (tmp_path / "own.py").unlink()
    done = shell(*verify_it)
    assert done.code == 0
    assert "not evaluated anew, 1 cell: prior 'own' is not registered here; give its file with --plugin" in done.out
    assert "holds no results" in shell.wrong("verify", tmp_path)


def test_the_z_score_needs_no_standard_errors_and_few_images_need_them():
    data = load_dataset("digits-binary")
    model = vaezoo.build("vae", data, latent=3, hidden=[8])

    def values(seed, count, samples=300):
        found = log_likelihood(model, data.test.x[:count], samples, seed)
        names = {"iwll": found.estimate, "elbo": found.elbo, "reconstruction": found.reconstruction}
        return found, names | {"iwll_standard_error": found.standard_error, "pareto_k": found.pareto_k}

    for count in (100, 20):
        (new, _), (_, old) = values(1, count), values(2, count)
        score, why = z_score("iwll", old, new, new.estimate)
        assert why is None
        assert abs(score) < LIMIT
        higher = old | {"iwll": old["iwll"] + 0.4}
        assert abs(z_score("iwll", higher, new, new.estimate)[0]) > LIMIT
    hard = old | {"pareto_k": torch.ones(20)}
    assert z_score("iwll", hard, new, new.estimate) == (
        None,
        "20 images are too few where no Pareto k-hat is below 0.7",
    )


def test_a_single_image_that_was_edited_is_counted(folder):
    path = first(folder)
    store, data = Store(folder), load_dataset("digits-binary")
    record = store.read("cells", path.stem)
    model = vaezoo.load_model(path)
    new = log_likelihood(model, data.test.x, 300, 5)
    names = {"iwll": new.estimate, "iwll_standard_error": new.standard_error, "pareto_k": new.pareto_k}
    old = {name: value.numpy().copy() for name, value in names.items()}
    sharper = replace(record, comparability=replace(record.comparability, importance_samples=300))
    assert compared(sharper, model, old, data, 6)["differs"] == []
    old["iwll"][int(new.pareto_k.argmin())] += 3.0
    [line] = compared(sharper, model, old, data, 6)["differs"]
    assert line == "the iwll of 1 of its images differs by more than 12 standard errors"
