"""The variants with flows and with Hamiltonian dynamics from the command line: alone and packed, reloaded, sampled."""

import json

import pytest

VARIANTS = [
    *("vae-realnvp", "vae-planar", "vae-householder", "vae-sylvester", "vae-iaf", "vae-spline", "vae-hamiltonian"),
    *("vae-realnvp-prior", "vae-maf-prior", "vae-spline-prior"),
]
RELOAD = """
import json, pathlib, torch, vaezoo
images = vaezoo.load_dataset("digits-binary").test.x[:20]
for path in sorted(pathlib.Path("results/alone/cells").glob("*.json")):
    model, record = vaezoo.load_model(path), json.loads(path.read_text())
    torch.manual_seed(0)
    drawn, again = model.sample(40), model.reconstruct(images)
    assert drawn.shape == (40, 1, 8, 8) and set(drawn.unique().tolist()) == {0.0, 1.0}
    assert again.shape == (20, 1, 8, 8) and 0 < again.min() and again.max() < 1
    estimate = vaezoo.log_likelihood(model, images, importance_samples=5)
    print(json.dumps([record["label"], record["specification"]["seed"], float(estimate.estimate.mean())]))
"""


def figures(folder):
    """(label, seed) -> the record of each cell."""
    records = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    return {(record["label"], record["specification"]["seed"]): record for record in records}


@pytest.mark.nightly
def test_they_train_alone_and_packed_and_load_again(shell, matrix_file, tmp_path):
    settings = {"seeds": 2, "evaluate": {"importance_samples": 5, "images": 20, "throughput": False}}
    for name, more in (("alone", {}), ("packed", {"pack": 2})):
        path = matrix_file(tmp_path / f"{name}.toml", VARIANTS, **settings, **more)
        done = shell("run", path.name, "--jobs", 1, "--device", "cpu", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
    alone, packed = (figures(tmp_path / "results" / name) for name in ("alone", "packed"))
    assert alone.keys() == packed.keys() == {(label, seed) for label in VARIANTS for seed in (0, 1)}
    for row, record in alone.items():
        assert packed[row]["pack"] == [0, 1]
        assert record["warnings"] == packed[row]["warnings"] == []
        found = packed[row]["results"]["iwll"]
        assert found == pytest.approx(record["results"]["iwll"], rel=1e-4)
    lines = shell.python(RELOAD, cwd=tmp_path).splitlines()
    assert len(lines) == 2 * len(VARIANTS)
    for label, seed, iwll in map(json.loads, lines):
        assert iwll == pytest.approx(alone[label, seed]["results"]["iwll"], rel=1e-5)
