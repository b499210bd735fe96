"""A Ray cluster of two nodes on this machine: the same records as without it, also where a node is lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from vaezoo.api import Silent, execute, plan_of
from vaezoo.core.errors import VaezooError
from vaezoo.runner.children.client import Children
from vaezoo.runner.engines import ray_cluster
from vaezoo.runner.engines.choice import EngineChoice
from vaezoo.runner.events import Events
from vaezoo.runner.limits import Limits
from vaezoo.runner.matrix.file import load
from vaezoo.runner.merge import _conflict
from vaezoo.runner.run import RunOptions
from vaezoo.runner.store import Store, read_record

ray = pytest.importorskip("ray", reason="Ray is not installed; `tox -e ray` installs it")
pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning", "ignore::FutureWarning")

PLUGIN = '''
import os, time

import vaezoo
from vaezoo.objectives.elbo import ELBO
from beside import FACTOR

steps = []


@vaezoo.register.objective("own")
class Own(ELBO):
    """The ELBO times a number of the file beside this one. It may be slow, or end its process."""

    def __init__(self, *, how: str = "well"):
        super().__init__()
        self.how = how

    def forward(self, draws):
        steps.append(1)
        if self.how == "exits" and len(steps) > 5:
            os._exit(7)
        if self.how == "slowly":
            time.sleep(0.02)
        return super().forward(draws) * FACTOR
'''


FOLDERS = ("running", "resume")


class Nodes:
    """The cluster, and a run on it."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.size = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
        self.cluster = Cluster(initialize_head=True, head_node_args={**self.size, "include_dashboard": False})
        self.second = self.cluster.add_node(**self.size)
        self.cluster.wait_for_nodes()

    def run(self, matrix, out: Path, on_event=lambda event: None, **options):
        """Run a matrix on the cluster; its report."""
        choice = EngineChoice("ray", self.cluster.address, options.pop("gpus", None))
        return run(matrix, out, RunOptions(engine=choice, **options), on_event)

    def lose_one(self):
        """Kill every process of the second node."""
        self.cluster.remove_node(self.second, allow_graceful=False)


def run(matrix, out: Path, options: RunOptions, on_event=lambda event: None):
    with Children() as children, Events(Silent(), [on_event]) as events:
        plan, where = plan_of(matrix, children, device="cpu")
        return execute(plan, where, out, events, children, options)


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    made.cluster.shutdown()


def quickstart(**changes):
    """The quickstart, cut down to two variants, two seeds and few epochs."""
    matrix = load("benchmarks/quickstart.toml").dump()
    matrix |= {"datasets": ["digits-binary"], "seeds": 2, "variants": matrix["variants"][:2]}
    matrix["train"]["epochs"] = 4
    matrix["evaluate"] |= {"importance_samples": 20, "throughput": False}
    return {**matrix, **changes}


def assert_same(one: Path, other: Path, stems=None):
    """Two folders have the same records, with the same files, times and memory apart."""
    names = {path.name for path in (one / "cells").glob("*.json")}
    assert names == {path.name for path in (other / "cells").glob("*.json")}
    assert names
    for name in names:
        a, b = (read_record(folder / "cells" / name) for folder in (one, other))
        assert _conflict(a, b) is None, name
        assert (a.status, a.reason, a.warnings, a.files) == (b.status, b.reason, b.warnings, b.files), name
        assert (a.log is None) == (b.log is None)
        assert Store(other).images(Path(name).stem, b).keys() == Store(one).images(Path(name).stem, a).keys()


def test_the_quickstart_has_the_same_records(nodes, tmp_path):
    run(quickstart(), tmp_path / "here", RunOptions(jobs=2))
    kinds = set()
    report = nodes.run(quickstart(), tmp_path / "cluster", lambda event: kinds.add(event.kind))
    assert report.counts == {"ok": 4}
    assert "epoch" in kinds
    assert_same(tmp_path / "here", tmp_path / "cluster")
    left = {path.name for path in (tmp_path / "cluster").iterdir()}
    assert left <= {"cells", "timings", "checkpoints", "figures", "tables", "plan.json"}
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "figures").glob("*.npz")}
        for name in ("here", "cluster")
    )
    assert len(here) == 4
    assert here == there


@pytest.mark.nightly
def test_the_whole_quickstart_has_the_same_records(nodes, tmp_path):
    """As its file is, but for the timings, whose numbers differ from run to run."""
    matrix = load("benchmarks/quickstart.toml").dump()
    matrix["evaluate"]["throughput"] = False
    here = run(matrix, tmp_path / "here", RunOptions(jobs=2))
    assert nodes.run(matrix, tmp_path / "cluster").counts == here.counts
    assert set(here.counts) == {"ok"}
    assert_same(tmp_path / "here", tmp_path / "cluster")


def test_a_node_is_lost_midway_and_nothing_else(nodes, tmp_path):
    """A plugin with a file beside it, one of whose cells ends its process, and the loss of the node of a slow cell."""
    (tmp_path / "own.py").write_text(PLUGIN)
    (tmp_path / "beside.py").write_text("from further import FACTOR\n")
    (tmp_path / "further.py").write_text("FACTOR = 1.5\n")
    rows = [{"label": how, "name": "vae", "objective": {"name": "own", "how": how}} for how in ("exits", "slowly")]
    matrix = quickstart(variants=[*rows, {"name": "vae"}], plugins=[str(tmp_path / "own.py")])
    matrix["train"]["epochs"] = 20
    run(matrix, tmp_path / "here", RunOptions(jobs=2))
    lost = []

    def kill(event):
        running, kept = ({path.stem for path in (tmp_path / "cluster" / name).glob("[!.]*")} for name in FOLDERS)
        if event.kind == "epoch" and not lost and len(running) == 2 and running <= kept:
            lost.append(event)  # each node has a cell in its midst, whose checkpoint has come
            nodes.lose_one()

    report = nodes.run(matrix, tmp_path / "cluster", kill, limits=Limits(retries=0, checkpoint=0.3))
    nodes.second = nodes.cluster.add_node(**nodes.size)
    nodes.cluster.wait_for_nodes()
    assert lost
    assert report.counts == {"ok": 4, "failed": 2}
    assert {failure.reason for failure in report.failures} == {"exit code 7 before it wrote its record"}
    assert_same(tmp_path / "here", tmp_path / "cluster")
    found = [read_record(path) for path in (tmp_path / "cluster" / "cells").glob("*.json")]
    own = [record for record in found if record.specification.slots["objective"][0] == "own" and record.status == "ok"]
    assert {record.provenance.plugins for record in own} == {("own.py",)}
    assert sum(record.resumed or 0 for record in own) == 1  # it went on from its checkpoint, on the other node


def test_what_no_node_can_serve_is_an_error(nodes, tmp_path):
    with pytest.raises(VaezooError, match=r"no node .* needs 1 CPU, 3 GPU; its nodes have 1 CPU, 0 GPU"):
        nodes.run(quickstart(), tmp_path / "a", gpus=3)
    with pytest.raises(VaezooError, match=r"no node .* needs 1 CPU, 0 GPU, 4096.0 GiB of memory"):
        nodes.run(quickstart(), tmp_path / "b", limits=replace(Limits(), memory=2**42))


def test_another_vaezoo_on_a_node_is_an_error(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "code_digest", lambda: "other")
    with pytest.raises(VaezooError, match=r"node .* has vaezoo .* with other code.*install the same one everywhere"):
        nodes.run(quickstart(), tmp_path / "a")
