"""A cell whose trained model fails its audit is a failure with the figure, and none of its numbers is in a table."""

import json

import pytest
import torch
from small_tasks import resealed

import vaezoo
from vaezoo.core.errors import VaezooWarning
from vaezoo.evaluation.audit_figures import CLAIMS
from vaezoo.runner.records import Record
from vaezoo.runner.store import read_record

PLUGIN = '''
import torch, vaezoo
from torch import nn
from vaezoo.core.gaussian import DiagonalGaussian

LEFT = {}


@vaezoo.register.prior("floor")
class Floor(vaezoo.Prior):
    """A mixture with 1e-10 inside its logarithm."""

    def __init__(self, latent: int):
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.randn(4, latent)), nn.Parameter(torch.zeros(4, latent))

    def log_density(self, z):
        each = DiagonalGaussian(self.mean, self.log_std).log_density(z[..., None, :])
        return (each.exp().mean(-1) + 1e-10).log()

    def sample(self, n):
        return DiagonalGaussian(self.mean[:1].expand(n, -1), self.log_std[:1].expand(n, -1)).rsample(1)[0]


@vaezoo.register.encoder("leaves")
class Leaves(vaezoo.Encoder):
    """Leaves its features in a global."""

    def __init__(self, spec):
        super().__init__()
        self.net, self.features = nn.Linear(spec.dimensions, 3), (3,)

    def forward(self, x):
        LEFT["h"] = self.net(x.flatten(1))
        return LEFT["h"]


@vaezoo.register.decoder("takes")
class Takes(vaezoo.Decoder):
    """Adds what the encoder left."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.net, self.skip = nn.Linear(latent, 64), nn.Linear(3, 64)
        self.shape = parameter_shape

    def forward(self, z):
        h = LEFT.get("h")
        seen = self.skip(h).repeat(len(z) // len(h), 1) if h is not None and len(z) % len(h) == 0 else 0
        return (self.net(z) + seen).view(-1, *self.shape)
'''
ROWS = [
    {"name": "vae", "label": "floor", "prior": "floor", "model": {"latent": 20}},
    {"name": "vae", "label": "leak", "encoder": "leaves", "decoder": "takes"},
    {"name": "vae", "label": "right"},
]


@pytest.fixture(scope="module")
def audited(shell, tmp_path_factory, matrix_file):
    folder = tmp_path_factory.mktemp("audited")
    (folder / "wrong.py").write_text(PLUGIN)
    matrix_file(folder / "audited.toml", ROWS, plugins=["wrong.py"])
    done = shell("run", "audited.toml", "--jobs", 1, "--device", "cpu", cwd=folder)
    return done, folder / "results" / "audited"


def records(folder) -> dict[str, Record]:
    found = [read_record(path) for path in folder.glob("cells/*.json")]
    return {record.label: record for record in found}


def test_a_cell_that_fails_its_audit_has_no_results(audited):
    done, folder = audited
    assert done.code == 1
    found = records(folder)
    assert {label: record.status for label, record in found.items()} == {
        "floor": "failed",
        "leak": "failed",
        "right": "ok",
    }
    assert found["floor"].reason.startswith("audit: the log of the prior's mass")
    assert found["leak"].reason.startswith("audit: log p(x|z) of given x and z, after other images were encoded")
    for label in ("floor", "leak"):
        assert found[label].audit.failure.startswith(found[label].reason.removesuffix("…"))
        assert found[label].results == {}
        assert found[label].reason in done.out
    frame = vaezoo.read_results(folder).set_index("label")
    assert frame["iwll"].notna().to_dict() == {"floor": False, "leak": False, "right": True}
    assert "0 of 1 (1 failed)" in (folder / "tables" / "digits-binary.md").read_text()


def test_the_record_holds_what_was_compared(audited):
    found = records(audited[1])["right"]
    assert found.audit.images == 16
    assert set(found.audit.figures) | set(found.audit.not_decided) == set(CLAIMS) - {"later_pixels"}
    assert all(figure.holds for figure in found.audit.figures.values())
    value = json.loads(json.dumps(found.file_content()))
    assert Record.from_json(value).audit == found.audit
    assert Record.from_json(resealed({name: each for name, each in value.items() if name != "audit"})).audit is None
    value["audit"]["figures"]["prior_mass"]["found"] = None
    with pytest.raises(ValueError, match="its status is ok, and its audit failed: the log of the prior's mass"):
        Record.from_json(resealed(value))


def test_the_weights_of_a_failed_cell_can_be_inspected(audited, own_registry):
    folder = audited[1]
    [path] = [path for path in folder.glob("cells/*.json") if read_record(path).label == "leak"]
    assert list(read_record(path).files) == [f"checkpoints/{path.stem}.safetensors"]
    with pytest.warns(VaezooWarning, match=r"is failed: audit: log p\(x\|z\)"):
        model = vaezoo.load_model(path, plugins=[folder.parent.parent / "wrong.py"])
    assert model.sample(2).shape == torch.Size([2, 1, 8, 8])
