"""Each example does what its first lines say: proofs hold, matrix files run, scripts write their files."""

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from unable import is_pass_or_unable

import vaezoo
from vaezoo.conformance.check import plugins_named, proofs_of, prove

EXAMPLES = Path(__file__).parents[2] / "examples"
PLUGINS = {"new_prior", "hierarchy", "conditional"}
MNIST = EXAMPLES.parent / "results" / "mnist"


def script(name: str) -> ModuleType:
    """An example's file as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_is_in_the_readme_with_its_command():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"vaezoo check examples/(\w+)\.py", told)) == PLUGINS
    assert set(re.findall(r"vaezoo run examples/(\w+)\.toml", told)) == {p.stem for p in EXAMPLES.glob("*.toml")}
    assert PLUGINS | set(re.findall(r"python examples/(\w+)\.py", told)) == {p.stem for p in EXAMPLES.glob("*.py")}
    for path in EXAMPLES.glob("*.toml"):
        named = tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", [])
        assert [Path(name).stem for name in named] == ([path.stem] if path.stem in PLUGINS else [])


@pytest.mark.parametrize("name", ["new_prior", "conditional"])
def test_every_proof_of_an_example_holds(own_registry, name):
    for plugin in plugins_named(str(EXAMPLES / f"{name}.py")):
        for proof in proofs_of(plugin.slot):
            found = prove(plugin, proof, quick=True)
            assert is_pass_or_unable(found), found


def short(path: Path) -> dict:
    """A matrix for one epoch of one seed, without timings."""
    matrix = tomllib.loads(path.read_text(encoding="utf-8"))
    matrix |= {"seeds": 1, "plugins": [str(EXAMPLES / name) for name in matrix.get("plugins", [])]}
    matrix["train"]["epochs"] = 1
    matrix["evaluate"] = {"importance_samples": 4, "images": 20, "throughput": False}
    return matrix


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_the_matrix_of_an_example_runs(own_registry, tmp_path, name):
    matrix = short(EXAMPLES / f"{name}.toml")
    frame = vaezoo.run(matrix, tmp_path / "out")
    assert list(frame.status) == ["ok"] * len(matrix["variants"])


def test_own_data_are_written_and_planned(shell, tmp_path):
    """The two commands of its first lines, in a copy of its files; the plan reads the file as the run does."""
    for name in ("own_data.py", "own_data.toml"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    wrote = shell.start_python(
        f"import runpy; runpy.run_path({str(tmp_path / 'own_data.py')!r}, run_name='__main__')", cwd=tmp_path
    ).wait()
    assert (wrote.code, wrote.err) == (0, "")
    assert wrote.out == f"wrote 2,000 pictures to {tmp_path / 'bars.npz'}\n"
    planned = shell("plan", "own_data.toml", cwd=tmp_path)
    assert (planned.code, planned.err) == (0, "")
    assert "6 cells" in planned.out


@pytest.mark.nightly
def test_own_data_are_trained_on(tmp_path):
    example = script("own_data")
    example.np.savez(tmp_path / "bars.npz", x=example.bars(300, example.np.random.default_rng(0))[0])
    matrix = short(EXAMPLES / "own_data.toml")
    matrix["datasets"] = [
        {"name": "npz", "path": str(tmp_path / "bars.npz"), "measure": "binary", "valid": 30, "test": 30}
    ]
    assert list(vaezoo.run(matrix, tmp_path / "out").status) == ["ok", "ok"]


def test_own_data_in_python_are_the_same_pictures():
    example = script("own_data")
    data = example.own_data(200)
    pictures, labels = example.bars(200, example.np.random.default_rng(0))
    assert [len(part) for part in (data.train, data.valid, data.test)] == [160, 20, 20]
    assert torch.equal(data.test.x, torch.from_numpy(pictures[:20, None]))
    assert torch.equal(data.train.y, torch.from_numpy(labels[40:]))
    on = pictures.reshape(200, -1).mean()
    assert abs(on - (1 - (7 / 8) ** 2)) < 0.03  # a pixel is off where its row and its column are


def test_the_figure_shows_the_seeds_of_the_results(tmp_path, capsys):
    example = script("paper_figure")
    frame = vaezoo.read_results(MNIST)
    table = example.summary(frame)
    of_vae = frame[frame.label == "vae"].iwll
    assert tuple(table.loc["vae", ["low", "mean", "high"]]) == pytest.approx(
        (of_vae.min(), of_vae.mean(), of_vae.max())
    )
    drawn = example.figure(table, 1000)
    left, right = drawn.axes
    assert list(left.lines[0].get_xdata()) == list(table["mean"])
    assert left.lines[0].get_xdata()[-1] == table["mean"].max()  # the best row is on top
    assert {(line.get_label(), line.get_ydata()[0]) for line in right.lines} == set(table["mean"].items())
    example.main(MNIST, tmp_path / "figure.png")
    example.plt.close("all")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert "mnist-dynamic: mean and range of 2 seeds, 10,000 test images, K = 1,000" in capsys.readouterr().out
