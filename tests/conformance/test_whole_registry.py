"""The proofs over the whole registry, under pytest and on the command line, and what hangs, crashes or is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.conformance import check as checking
from vaezoo.conformance.pytest_plugin import cases
from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS
from vaezoo.registry import SLOTS, registry

RIGHT = """
import math
import vaezoo

@vaezoo.register.prior("{name}")
class Mine(vaezoo.Prior):
    '''N(0, I).'''

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -(0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum(-1)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)
"""
WRONG = RIGHT.replace(" + 0.5 * math.log(2 * math.pi)", "")
SLOW = "import os, time\n" + RIGHT.replace("def sample(self, n):", "def sample(self, n):\n        {act}")


EVERY = cases([])


@pytest.mark.parametrize("case", EVERY.values(), ids=EVERY.keys())
def test_every_proof_of_every_plugin(case):
    """The whole registry, in quick mode: no proof fails; one that does not run says why."""
    plugin, proof = case
    found = checking.prove(plugin, proof, quick=True)
    assert found.verdict != FAIL, f"{found.figure}: {found.detail}"
    assert found.figure if found.verdict == PASS else found.detail


def test_every_slot_has_proofs_and_every_proof_says_what_it_proves():
    for slot in SLOTS:
        proofs = checking.proofs_of(slot)
        assert proofs, slot
        assert len({proof.name for proof in proofs}) == len(proofs)
        for proof in proofs:
            assert proof.formula, proof.name


def written(folder: Path, name: str, text: str, **values: str) -> Path:
    """A plugin file."""
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(text.format(name=name, **values), encoding="utf-8")
    return path


def run_pytest(file: Path) -> subprocess.CompletedProcess[str]:
    """As a stranger runs it, in a folder of their own."""
    words = [
        "--pyargs",
        "vaezoo.conformance",
        "--vaezoo-plugin",
        file,
        "--vaezoo-quick",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=file.parent, capture_output=True, text=True, timeout=300
    )


def test_the_pytest_plugin_passes_a_right_plugin_and_fails_a_wrong_one(tmp_path):
    right = run_pytest(written(tmp_path, "right", RIGHT))
    assert right.returncode == 0, right.stdout + right.stderr
    assert " passed" in right.stdout
    wrong = run_pytest(written(tmp_path, "wrong", WRONG))
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "prior/wrong: density integrates to 1" in wrong.stdout
    assert "expected 1 +-" in wrong.stdout


def test_check_prints_the_formula_and_the_numbers_of_what_is_wrong(shell, tmp_path):
    quick = {"OMP_NUM_THREADS": "1"}
    right = shell("check", written(tmp_path, "right", RIGHT), "--quick", env=quick)
    assert (right.code, right.err) == (0, ""), right
    assert "prior/right" in right.out
    assert " 0 failed" in right.out
    wrong = shell("check", written(tmp_path, "wrong", WRONG), "--quick", env=quick)
    assert (wrong.code, wrong.err) == (1, ""), wrong
    words = " ".join(wrong.out.split())
    for said in ("FAIL", "The integral of p(z) over a grid is 1", "expected 1 +-", "found 2.5066"):
        assert said in words, wrong.out


def test_an_unknown_name_is_one_line(shell):
    assert "did you mean 'vampprior'" in shell.wrong("check", "vampprio")
    assert "does not exist" in shell.wrong("check", "nowhere.py")


def test_a_file_that_registers_nothing_or_breaks_is_one_line(shell, tmp_path):
    (tmp_path / "empty.py").write_text("import vaezoo\n")
    assert "registers nothing" in shell.wrong("check", tmp_path / "empty.py")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    assert "could not be imported: ModuleNotFoundError" in shell.wrong("check", tmp_path / "broken.py")


CHOSEN = ("density integrates to 1", "images alone")


@pytest.mark.parametrize(
    ("name", "act", "figure"), [("hangs", "time.sleep(600)", "time-out"), ("crashes", "os._exit(7)", "crash")]
)
def test_what_hangs_or_crashes_fails_that_proof_and_no_other(own_registry, monkeypatch, tmp_path, name, act, figure):
    """Its samples, which the one proof draws and the other does not."""
    own_registry.load_file(written(tmp_path, name, SLOW, act=act))
    proofs = [proof for proof in checking.proofs_of("prior") if proof.name in CHOSEN]
    order = sorted(proofs, key=lambda proof: CHOSEN.index(proof.name))
    monkeypatch.setattr(checking, "proofs_of", lambda slot: order)
    found = {each.proof: each for each in checking.check(registry("prior")[name], quick=True, timeout=PATIENCE)}
    assert (found[CHOSEN[0]].verdict, found[CHOSEN[0]].figure) == (FAIL, figure)
    assert found[CHOSEN[0]].detail.startswith("The integral of p(z)")
    assert found[CHOSEN[1]].verdict == PASS, found


PATIENCE = 25.0
"""Seconds a proof may take in these tests: its process must import torch on a loaded machine."""


def test_a_plugin_that_raises_fails_with_what_it_raised(own_registry, tmp_path):
    own_registry.load_file(written(tmp_path, "raises", SLOW, act="raise KeyError('why')"))
    (proof,) = [each for each in checking.proofs_of("prior") if each.name == "samples as density"]
    found = checking.prove(registry("prior")["raises"], proof, quick=True)
    assert (found.verdict, found.figure) == (FAIL, "raised")
    assert "It raised KeyError: 'why'" in found.detail


def test_a_part_that_skips_is_not_run(own_registry, tmp_path):
    text = RIGHT.replace("super().__init__()", "raise vaezoo.Skip('not today')")
    own_registry.load_file(written(tmp_path, "skips", text))
    for proof in checking.proofs_of("prior"):
        found = checking.prove(registry("prior")["skips"], proof, quick=True)
        assert found.verdict == NOT_RUN, found
        assert "not today" in found.detail


def test_an_installed_vaezoo_brings_its_pytest_plugin():
    from importlib.metadata import entry_points

    assert "vaezoo.conformance.pytest_plugin" in {point.value for point in entry_points(group="pytest11")}
    assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") is None
