"""What a cluster needs besides Ray: what fits on a node, which files go there and come back, and a node by itself."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vaezoo.api import plan_of
from vaezoo.core.errors import VaezooError
from vaezoo.runner.engines.choice import EngineChoice
from vaezoo.runner.engines.ray_cluster import RayCluster, Share
from vaezoo.runner.engines.ray_node import Node, Order
from vaezoo.runner.engines.shipping import Mirror, bundle, receive, unpack
from vaezoo.runner.limits import Limits
from vaezoo.runner.run import Terminated, signals_as_interrupt
from vaezoo.runner.store import Store


@pytest.mark.parametrize(
    ("share", "node", "count"),
    [
        (Share(1), {"CPU": 4.0}, 4),
        (Share(2), {"CPU": 5.0, "GPU": 8.0}, 2),
        (Share(1, 1), {"CPU": 16.0, "GPU": 8.0}, 8),
        (Share(1, 2), {"CPU": 16.0, "GPU": 5.0}, 2),
        (Share(1, 0.25), {"CPU": 16.0, "GPU": 2.0}, 8),
        (Share(1, 0.4), {"CPU": 16.0, "GPU": 2.0}, 4),
        (Share(1, 0.1), {"CPU": 16.0, "GPU": 1.0}, 10),
        (Share(1, 0.25), {"CPU": 3.0, "GPU": 2.0}, 3),
        (Share(1, 1), {"CPU": 16.0}, 0),
        (Share(1, 0, 2**30), {"CPU": 16.0, "memory": 2.5 * 2**30}, 2),
        (Share(1), {}, 0),
    ],
)
def test_how_many_cells_fit_on_a_node(share, node, count):
    assert share.count(node) == count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rya", None, None), r"--engine must be one of local, ray, got 'rya'; did you mean 'ray'\?"),
        (("local", "head:6379", None), r"--address is for a cluster; add --engine ray"),
        (("local", None, 0.5), r"--gpus-per-cell is for a cluster; add --engine ray"),
        (("ray", None, 1.5), r"must be a fraction up to 1 or a whole number, got 1.5"),
        (("ray", None, -1.0), r"must be a fraction up to 1 or a whole number, got -1"),
        (("ray", None, float("nan")), r"must be a fraction up to 1 or a whole number, got nan"),
        (("ray", None, float("inf")), r"must be a fraction up to 1 or a whole number, got inf"),
    ],
)
def test_an_engine_that_does_not_go_together_is_an_error(words, said):
    with pytest.raises(VaezooError, match=said):
        EngineChoice(*words)


def test_the_device_of_a_cell_on_a_cluster():
    devices = [EngineChoice("ray", None, gpus).device(device) for gpus in (None, 0, 0.5) for device in ("cpu", "cuda")]
    assert devices == ["cpu", "cuda", "cpu", "cpu", "cuda", "cuda"]
    assert EngineChoice().device("cuda:1") == "cuda:1"
    assert EngineChoice("ray").share("cuda", Limits(memory=5)) == Share(1, 1.0, 5)


def test_ray_that_is_not_installed_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VaezooError, match=r"needs Ray, which cannot be imported .*pip install vaezoo\[ray\]"):
        RayCluster(None, share=Share(1), most=1, memory=None, checkpoint=300)


def files_in(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_a_bundle_has_the_plugin_and_all_that_it_imports_beside_it(tmp_path):
    files_in(
        tmp_path,
        plugin="import vaezoo, torch\nfrom near import x\nimport pack.deep",
        near="def f():\n    import far",
        far="",
        other="",
        pack__deep="from .deeper import y",
        pack__deeper="",
        pack__unused="",
    )
    (tmp_path / "pack" / "__init__.py").write_text("")
    name, files = bundle(tmp_path / "plugin.py")
    assert name == "plugin.py"
    assert set(files) == {"plugin.py", "near.py", "far.py", "pack/__init__.py", "pack/deep.py", "pack/deeper.py"}
    home = unpack(files, tmp_path / "node")
    assert home == unpack(files, tmp_path / "node")
    assert {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*.py")} == files


def test_a_bundle_of_what_cannot_be_parsed_or_is_gone(tmp_path):
    files_in(tmp_path, plugin="import near", near="def (", other="")
    assert set(bundle(tmp_path / "plugin.py")[1]) == {"plugin.py", "near.py", "other.py"}
    assert bundle(tmp_path / "gone.py") == ("gone.py", {})


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The tasks of a small cell and of another one, in a results folder."""
    matrix = {"name": "m", "datasets": ["digits-binary"], "seeds": 2, "variants": [{"name": "vae"}]}
    matrix |= {"train": {"epochs": 2}, "model": {"latent": 2, "hidden": [8]}}
    plan, _ = plan_of({**matrix, "evaluate": {"importance_samples": 5, "throughput": False}}, device="cpu")
    store = Store(tmp_path_factory.mktemp("results"))
    store.prepare()
    return [plan.task(cell, store.folder) for cell in plan.cells]


def test_a_node_runs_a_job_and_sends_its_files(tasks):
    """As the cluster asks it: a job that is stopped, and the same job again with the files that came back."""
    mine, other = tasks
    store = Store(mine.folder)
    node = Node("cpu", 1, None, 300.0)
    try:
        for job, stop in ((3, True), (4, False)):
            bare = replace(mine, folder=Path("elsewhere"))
            parcels, seen, ended = node.start(Order(job, [bare.to_json()], Mirror([mine]).changes(), []), {}), 0, False
            while not ended:
                again = node.poll(job, seen)  # an answer that was lost is given again
                assert [parcel.number for parcel in again][: len(parcels)] == [parcel.number for parcel in parcels]
                for parcel in again:
                    receive([mine], parcel.changes)
                    ended |= any(event.ended is not None for event in parcel.events)
                    seen = parcel.number + 1
                    assert {event.job for event in parcel.events} <= {job}
                if stop:
                    node.kill(job, signal.SIGTERM)
                parcels = [] if ended else node.poll(job, seen)
            record = store.record("cells", mine.cell.stem, mine.cell)
            if not stop:
                assert record is not None
                assert record.status == "ok"
        with pytest.raises(LookupError, match="does not run job 3"):
            node.poll(3, 0)
        kinds = {kind for kind, _, content in Mirror([mine]).changes() if content}
        assert kinds == {"cells", "checkpoints", "figures", "images"}
        assert set(record.files) == {f"checkpoints/{mine.cell.stem}.safetensors", f"cells/{mine.cell.stem}.npz"}
    finally:
        node.close()
    assert not node.folder.exists()
    changes = Mirror([mine]).changes()
    receive([other], changes)
    assert store.record("cells", other.cell.stem) is None
    forged = [(kind, other.cell.stem, content) for kind, _, content in changes if kind == "cells"]
    receive([other], [*forged, ("cells", other.cell.stem, b"{"), ("running", "../outside", b"x")])
    assert store.record("cells", other.cell.stem) is None
    assert not (store.folder / "outside.json").exists()


def test_a_signal_that_another_interrupt_replaces_keeps_its_number():
    """As Ray does, whose calls raise a KeyboardInterrupt of their own."""

    def wait():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None

    with pytest.raises(Terminated) as stop, signals_as_interrupt():
        wait()
    assert stop.value.number == signal.SIGTERM
