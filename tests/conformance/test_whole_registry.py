"""The proofs of the whole registry, under pytest and on the command line; plugins that hang, crash or are missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from right_prior import RIGHT
from swept_variants import FEW as FEW_VARIANTS
from unable import is_pass_or_unable

from vaezoo.conformance import check as checking
from vaezoo.conformance.proof import Proof
from vaezoo.conformance.pytest_plugin import cases
from vaezoo.conformance.shipped import changed, own_fingerprints
from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS
from vaezoo.registry import SLOTS, registry

WRONG = RIGHT.replace(" + 0.5 * math.log(2 * math.pi)", "")
SLOW = "import os, time\n" + RIGHT.replace("def sample(self, n):", "def sample(self, n):\n        {act}")


COMBINED = ("shapes", "gradients", "seeds", "save and load", "declaration")
"""The proofs of variants that tox carries out. The others prove the same formulas as those of its parts, together."""

FEW_DATASETS = ("digits-binary", "linear-gaussian", "mnist-dynamic", "npz", "simulated-counts", "sprites")


def every() -> list:
    """Each proof of each plugin. In tox those of parts, objectives and metrics are carried out that have changed since
    proved.json was written, of a few variants some, and of a few data sets all; nightly every one.
    """
    found, parts = [], own_fingerprints().keys() - {*changed()}
    for title, case in cases([]).items():
        plugin, proof = case
        nightly = plugin.slot == "variant" and not (plugin.name in FEW_VARIANTS and proof.name in COMBINED)
        nightly |= plugin.slot == "dataset" and plugin.name not in FEW_DATASETS
        nightly |= title.partition(": ")[0] in parts
        found.append(pytest.param(case, id=title, marks=pytest.mark.nightly if nightly else ()))
    return found


def no_network(*_: object, **__: object) -> None:
    raise OSError("tests download nothing")


@pytest.mark.parametrize("case", every())
def test_every_proof_of_every_plugin(case, monkeypatch):
    """The whole registry, in quick mode: each proof passes, or cannot run for a reason that tests/unable.py lists, or
    because the files of a data set, or the package that reads them, are not here. Nothing is downloaded.
    """
    plugin, proof = case
    if plugin.slot == "dataset":
        monkeypatch.setattr("socket.getaddrinfo", no_network)
    found = checking.prove(plugin, proof, quick=True)
    reasons = ("could not be downloaded", "needs the package")
    absent = found.verdict == NOT_RUN and plugin.slot == "dataset" and any(r in found.detail for r in reasons)
    assert is_pass_or_unable(found) or absent, f"{found.verdict} {found.figure}: {found.detail}"
    assert found.figure if found.verdict == PASS else found.detail


def test_every_slot_has_proofs_and_every_proof_says_what_it_proves():
    for slot in SLOTS:
        proofs = checking.proofs_of(slot)
        assert proofs, slot
        assert len({proof.name for proof in proofs}) == len(proofs)
        for proof in proofs:
            assert proof.formula, proof.name
            assert 0 <= float(proof.false_alarm) <= 0.02, proof.name


@pytest.mark.parametrize(
    ("docstring", "rate"),
    [
        ("The integral is 1.", "1e-4"),
        ("The sum is 1: chi-square, false alarm 1e-6.", "1e-6"),
        ("Each slope is right: false\n    alarm at most 1e-3 for each s.", "1e-3"),
        ("Nothing is random: false alarm 0.", "0"),
        ("Two errors: false alarm 0.02 for these, else 0.", "0.02"),
    ],
)
def test_the_rate_of_false_alarms_stands_in_the_docstring(docstring, rate):
    def prove(subject):
        return ""

    prove.__doc__ = docstring
    assert Proof("any", ("prior",), prove).false_alarm == rate


def written(folder: Path, name: str, text: str, **values: str) -> Path:
    """A plugin file."""
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(text.format(name=name, **values), encoding="utf-8")
    return path


def run_pytest(*files: Path) -> subprocess.CompletedProcess[str]:
    """As a stranger runs it, in a folder of their own."""
    words = ["--pyargs", "vaezoo.conformance", "--vaezoo-quick", "-q", "-p", "no:cacheprovider"]
    for file in files:
        words += ["--vaezoo-plugin", str(file)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=files[0].parent, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_pytest_plugin_passes_a_right_plugin_and_fails_a_wrong_one(tmp_path):
    done = run_pytest(written(tmp_path, "right", RIGHT), written(tmp_path, "wrong", WRONG))
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed, done.stdout
    assert all("prior/wrong: " in line for line in failed)
    assert "prior/wrong: density integrates to 1" in done.stdout
    assert "expected 1 +-" in done.stdout
    assert " passed" in done.stdout


def check_by_some(shell, chosen: str, *words: object, cwd: Path | None = None):
    """`vaezoo check` with the proofs alone whose `name` fulfils a condition."""
    code = f"""
import sys
from vaezoo.conformance import check

every = check.proofs_of
check.proofs_of = lambda slot: [proof for proof in every(slot) if (lambda name: {chosen})(proof.name)]
sys.argv = ["vaezoo", "check", *{[str(word) for word in words]!r}, "--quick"]
from vaezoo.cli import main
main()
"""
    return shell.start_python(code, cwd=cwd).wait()


FEW = "name in ('declaration', 'density integrates to 1', 'shapes')"


@pytest.mark.slow
def test_check_prints_the_formula_and_the_numbers_of_what_is_wrong(shell, tmp_path):
    done = check_by_some(shell, FEW, written(tmp_path, "right", RIGHT), written(tmp_path, "wrong", WRONG))
    assert (done.code, done.err) == (1, ""), done
    right, wrong = done.out.split("prior/wrong")
    assert "prior/right" in right
    assert "FAIL" not in right
    for name in ("declaration", "shapes"):
        assert re.search(rf"{name} +pass ", right)
    assert re.search(r"density integrates to 1 +pass +1.00.* +1e-4 +The integral of p\(z\)", right)
    words = " ".join(wrong.split())
    for said in ("FAIL", "The integral of p(z) over a grid", "expected 1 +-", "found 2.5066"):
        assert said in words, wrong


def test_the_name_of_a_proof_is_printed_whole_also_in_brackets(shell):
    """E[h/q] = 1: rich takes brackets for markup."""
    done = check_by_some(shell, "'[' in name", "posterior/gaussian")
    assert done.code == 0, done
    assert "E[h/q] = 1 " in done.out


def test_an_unknown_name_is_one_line(shell):
    assert "did you mean 'vampprior'" in shell.wrong("check", "vampprio")
    assert "does not exist" in shell.wrong("check", "nowhere.py")


def test_a_file_that_registers_nothing_or_breaks_is_one_line(shell, tmp_path):
    (tmp_path / "empty.py").write_text("import vaezoo\n")
    assert "registers nothing" in shell.wrong("check", tmp_path / "empty.py")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    assert "could not be imported: ModuleNotFoundError" in shell.wrong("check", tmp_path / "broken.py")


CHOSEN = ("declaration", "density integrates to 1", "images alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "act", "figure"), [("hangs", "time.sleep(600)", "time-out"), ("crashes", "os._exit(7)", "crash")]
)
def test_what_hangs_or_crashes_fails_that_proof_and_no_other(own_registry, monkeypatch, tmp_path, name, act, figure):
    """Its samples, which the second proof draws and the others do not."""
    marker = tmp_path / "sampled"
    own_registry.load_file(written(tmp_path, name, SLOW, act=f"open({str(marker)!r}, 'w').close(); {act}"))
    proofs = [proof for proof in checking.proofs_of("prior") if proof.name in CHOSEN]
    order = sorted(proofs, key=lambda proof: CHOSEN.index(proof.name))
    monkeypatch.setattr(checking, "proofs_of", lambda slot: order)
    found = []
    for finding in checking.check(registry("prior")[name], quick=True, timeout=TIMEOUT):
        found.append(finding)
    assert [finding.verdict for finding in found] == [PASS, FAIL, PASS], found
    assert found[1].figure == figure
    assert found[1].detail.startswith("The integral of p(z)")
    assert marker.exists()


TIMEOUT = 5.0
"""Seconds that an import or a proof may take in these tests. The machine may be loaded."""


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
        if proof.name != "declaration":  # which builds nothing
            assert found.verdict == NOT_RUN, found
            reasons = ("not today", "not in quick mode", "it takes one latent group")
            assert any(reason in found.detail for reason in reasons), found


def test_a_plugin_that_cannot_be_built_says_so_once(shell, tmp_path):
    text = RIGHT.replace("super().__init__()", "raise KeyError('why')")
    done = shell("check", written(tmp_path, "unbuilt", text), "--quick")
    assert done.code == 1
    assert re.search(r"construction +FAIL +raised +1e-4 +It is built .* It raised KeyError: 'why'", done.out), done.out
    assert (done.out.count("FAIL"), done.out.count("KeyError")) == (1, 1)
    others = len(checking.proofs_of("prior"))
    assert done.out.count("it cannot be built") == others
    assert f"0 passed, 1 failed, {others} not run" in done.out


def test_a_check_that_proves_nothing_is_no_success(shell, tmp_path):
    """The declaration passes; all other proofs skip."""
    text = RIGHT.replace("super().__init__()", "raise vaezoo.Skip('not today')")
    done = check_by_some(shell, FEW, written(tmp_path, "skips", text))
    assert (done.code, done.err) == (1, ""), done
    assert re.search(r"1 passed, 0 failed, \d+ not run\nnothing could be proved of prior/skips\n", done.out), done.out


DEADLY = """
import ctypes, time, vaezoo


@vaezoo.register.prior("crashes")
class Crashes(vaezoo.Prior):
    def __init__(self, latent):
        super().__init__()

    def log_density(self, z):
        ctypes.string_at(0)

    def sample(self, n):
        return vaezoo.noise.normal(n, 2)


@vaezoo.register.prior("stops")
class Stops(Crashes):
    def __init__(self, latent):
        raise KeyboardInterrupt


@vaezoo.register.prior("builds-for-ever")
class BuildsForEver(Crashes):
    def __init__(self, latent):
        time.sleep(600)
"""


@pytest.mark.slow
def test_whatever_ends_a_process_is_a_failed_check_of_its_own(shell, tmp_path):
    """At import, in a constructor, in a method; also what is no Exception. The right plugin beside them passes."""
    (tmp_path / "ends.py").write_text("import os\nos._exit(7)\n")
    (tmp_path / "stops.py").write_text("raise GeneratorExit\n")
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(600)\n")
    right = written(tmp_path, "right", RIGHT)
    words = ("ends.py", "sleeps.py", "deadly.py", "stops.py", right, "--timeout", TIMEOUT)
    done = check_by_some(shell, FEW, *words, cwd=tmp_path)
    assert (done.code, done.err) == (1, ""), done
    said = " ".join(done.out.split())
    ended, slept, hung, crashed, raised, stopped, fine = re.split(
        "sleeps.py proof|prior/builds-for-ever|prior/crashes|prior/stops|stops.py proof|prior/right", said
    )
    assert re.search(r"import FAIL plugin file .*ends.py ended its process when it was imported: exit code 7", ended)
    assert re.search(rf"import FAIL plugin file .*sleeps.py hung when it was imported: nothing in {TIMEOUT:g} s", slept)
    assert re.search(rf"construction FAIL time-out .* It took longer than {TIMEOUT:g} s", hung)
    assert re.search(r"construction FAIL crash .* The process died: killed by SIGSEGV", crashed)
    assert re.search(r"construction FAIL raised .* It raised KeyboardInterrupt", raised)
    assert re.search(r"import FAIL plugin file .*stops.py raised GeneratorExit when it was imported", stopped)
    assert "FAIL" not in fine
    assert "density integrates to 1 pass" in fine


def test_list_and_show_import_a_plugin_file_in_a_child(shell, tmp_path):
    (tmp_path / "ends.py").write_text("import os\nos._exit(7)\n")
    right = written(tmp_path, "right", RIGHT)
    done = shell("list", "prior", "--plugin", "ends.py", "--plugin", right, cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done
    assert re.search(r"^right\b", done.out, re.MULTILINE)
    assert re.search(r"^vampprior\b", done.out, re.MULTILINE)
    lost = done.out.splitlines()[-1]
    assert re.fullmatch(
        r"unavailable: plugin file \S+ends.py ended its process when it was imported: exit code 7", lost
    )
    done = shell("show", "right", "--plugin", right, "--plugin", "ends.py", cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done
    assert done.out.startswith(f"prior/right    {right}:")
    lost = shell.wrong("show", "wrong", "--plugin", "ends.py", cwd=tmp_path)
    assert re.match(r"name 'wrong' is unknown.*ends.py ended its process when it was imported: exit code 7", lost)


def test_list_starts_no_process_where_there_is_no_plugin_from_outside(shell):
    code = """
import sys
from vaezoo.runner.children import client
client.Children.warm_up = lambda self: 1 / 0
sys.argv = ["vaezoo", "list", "prior"]
from vaezoo.cli import main
main()
"""
    assert "vampprior" in shell.python(code)


def test_an_installed_vaezoo_brings_its_pytest_plugin():
    from importlib.metadata import entry_points

    assert "vaezoo.conformance.pytest_plugin" in {point.value for point in entry_points(group="pytest11")}
    assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") is None
