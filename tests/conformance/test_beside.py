"""Verdicts of checks, and the proofs that run beside the cells of a run."""

import json
from dataclasses import asdict

import pytest
from right_prior import RIGHT
from small_tasks import a_cell

from vaezoo.conformance import beside
from vaezoo.conformance.beside import Proving, proofs_version, verdict_of
from vaezoo.conformance.shipped import own_fingerprints
from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS, Finding
from vaezoo.runner.children.client import KILL, Event
from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.results import read_results
from vaezoo.runner.verdicts import FOLDER, SHIPPED, Verdict, keep, stored

IS_KNOWN = Proving._is_known
"""As it is outside of the tests: conftest.py lets no run prove anything."""
CODE = a_cell().specification.code
GOOD = Finding("a", PASS, "0.1", code="c" * 64)
BAD = Finding("b", FAIL, "0.61", "why", code="c" * 64)


def test_the_shipped_fingerprints_are_those_of_the_code():
    """`python -m vaezoo.conformance.shipped` has proved the code that has them, and nightly proves it again."""
    assert json.loads(SHIPPED.read_text()) == own_fingerprints(), (
        "vaezoo's own plugins have changed; run: python -m vaezoo.conformance.shipped"
    )
    assert {name.partition("/")[0] for name in own_fingerprints()} >= {"prior", "objective", "metric"}


@pytest.mark.parametrize(
    ("findings", "failure"),
    [
        ([GOOD, Finding("c", NOT_RUN, code="c" * 64)], None),
        ([GOOD, BAD, Finding("c", FAIL, "2")], '"b": 0.61'),
        ([GOOD, Finding("c", FAIL, "time-out")], '"c": time-out'),
        ([Finding("declaration", PASS, code="c" * 64), BAD], '"b": 0.61'),
    ],
)
def test_the_verdict_of_findings(findings, failure):
    found = verdict_of("prior/mine", findings, quick=True)
    assert (found.plugin, found.fingerprint, found.failure, found.quick) == ("prior/mine", "c" * 64, failure, True)
    assert found.proofs == proofs_version()


@pytest.mark.parametrize(
    "findings",
    [
        [],
        [Finding("a", FAIL, "crash")],  # its code is not known
        [GOOD, Finding("b", PASS, code="d" * 64)],  # its code was changed meanwhile
        [Finding("declaration", PASS, code="c" * 64), Finding("a", NOT_RUN, code="c" * 64)],  # nothing was proved
    ],
)
def test_findings_without_a_verdict(findings):
    assert verdict_of("prior/mine", findings, quick=False) is None


class Processes:
    """Children that begin no process: a test tells what they do."""

    def __init__(self):
        self.started, self.killed, self.hear = [], [], None

    def start(self, call, arguments, log=None, hear=None):
        self.started.append(arguments)
        self.hear = hear
        return len(self.started)

    def kill(self, job, number):
        self.killed.append((job, number))

    def tell(self, **what):
        self.hear(Event(len(self.started), **what))

    def prove(self, *findings):
        for each in findings:
            self.tell(message={"finding": asdict(each)})
        self.tell(message={"proved": True})
        self.tell(ended=0)


class Silent:
    def begin(self, kind, total, kept):
        self.begun = (kind, total, kept)

    def tick(self, running):
        self.ticked = running

    def finished(self, task, status):
        self.ended = (task, status)


@pytest.fixture
def beginning(tmp_path, monkeypatch):
    """Makes a Proving of one cell, whose plugins are `prior/mixture` and `metric/likelihood`, and begins the cells."""
    monkeypatch.setenv("VAEZOO_PROOFS", str(tmp_path / "cache"))
    monkeypatch.setattr(Proving, "_is_known", IS_KNOWN)
    cell = a_cell()
    plan = Plan("m", [cell], {}, [], None, sources={cell.stem: Sources(("/mine.py",))})

    def begin(prove=True):
        made = Proving(Silent(), Processes(), tmp_path / "results", plan, [cell], prove=prove)
        made.begin("cells", 1, 0)
        return made

    return begin


def of(plugin, verdict=PASS, figure="1"):
    return Finding("a proof", verdict, figure, code=CODE[plugin])


def test_plugins_are_proved_one_after_the_other_and_kept_here_and_in_the_results(beginning, tmp_path):
    made = beginning()
    assert made.watcher.begun == ("cells", 1, 0)
    sources = {"files": ("/mine.py",), "packages": ()}
    assert made.children.started == [{"sources": sources, "plugin": "prior/mixture"}]
    made.children.prove(of("prior/mixture"), of("prior/mixture", FAIL, "0.61"))
    made.tick([])
    assert made.children.started[1:] == [{"sources": sources, "plugin": "metric/likelihood"}]
    made.children.prove(of("metric/likelihood"))
    made.finish()
    assert (made.job, made.children.killed) == (None, [])
    for folder in (tmp_path / "cache", tmp_path / "results" / FOLDER):
        failures = [stored(folder, plugin, digest).failure for plugin, digest in CODE.items()]
        assert failures == ['"a proof": 0.61', None]
    again = beginning()
    assert again.children.started == []
    again.finish()


def test_what_the_proofs_of_another_version_said_is_proved_again(beginning, tmp_path):
    for plugin, digest in CODE.items():
        keep(tmp_path / "cache", Verdict(plugin, digest, None, False, "older", "2026-01-01", "0.1.0"))
    made = beginning()
    assert len(made.children.started) == 1
    assert stored(tmp_path / "results" / FOLDER, *next(iter(CODE.items()))).proofs == "older"
    made.stop()


def test_a_plugin_that_ends_its_process_has_no_verdict_and_the_next_one_is_proved(beginning, tmp_path):
    made = beginning()
    made.children.tell(message={"finding": asdict(of("prior/mixture"))})
    made.children.tell(ended=-11)
    made.tick([])
    assert len(made.children.started) == 2
    assert not (tmp_path / "cache").exists()
    made.stop()


def test_what_a_plugin_writes_into_the_pipe_ends_no_run(beginning):
    made = beginning()
    for message in (1, [], {"finding": 1}, {"finding": {"proof": 1}}, {"proved": 0}):
        made.children.tell(message=message)
    made.tick([])
    assert (made.findings, len(made.children.started)) == ([], 1)
    made.stop()


def test_timings_run_alone(beginning, monkeypatch, tmp_path):
    """The proofs that have not ended within the seconds that a run waits for them are ended, and have no verdict."""
    monkeypatch.setattr(beside, "WAIT", 0.05)
    made = beginning()
    made.begin("timings", 0, 0)
    assert made.children.killed == []
    made.begin("timings", 1, 0)
    assert made.children.killed == [(1, KILL)]
    made.children.prove(of("prior/mixture"))  # what came too late
    made.tick([])
    assert (len(made.children.started), (tmp_path / "cache").exists()) == (1, False)


def test_proofs_that_hang_are_given_up(beginning, monkeypatch):
    made = beginning()
    monkeypatch.setattr(beside, "LONGEST", -1.0)
    made.tick([])
    assert made.children.killed == [(1, KILL)]


def test_no_proof_begins_without_check_and_an_error_of_the_run_ends_them(beginning):
    assert beginning(prove=False).children.started == []
    with pytest.raises(KeyboardInterrupt), beginning() as made:
        raise KeyboardInterrupt
    assert made.children.killed == [(1, KILL)]


WRONG = """

@vaezoo.register.prior("wrong")
class Wrong(Mine):
    def log_density(self, z):
        return super().log_density(z) + 1
"""
PRIORS = RIGHT.format(name="mine") + WRONG


def test_a_run_proves_what_is_new_and_marks_what_fails(shell, matrix_file, tmp_path):
    (tmp_path / "mine.py").write_text(PRIORS)
    rows = [{"name": "vae", "label": name, "prior": name} for name in ("mine", "wrong")]
    path = matrix_file(tmp_path / "m.toml", rows, plugins=["mine.py"])
    env = {"PROVE": "density integrates to 1", "VAEZOO_PROOFS": str(tmp_path / "cache")}
    done = shell("run", path, "--jobs", 1, cwd=tmp_path, env=env)
    assert done.code == 0, done
    frame = read_results(tmp_path / "results" / "m")
    assert frame.unproved.isna().all(), frame.unproved
    assert frame.disproved.isna().tolist() == [True, False]
    said = 'not ranked: prior/wrong fails "density integrates to 1": '
    assert frame.disproved[1].startswith(said)
    assert [line for line in done.out.splitlines() if line.startswith(said)]
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.nightly
def test_a_check_proves_the_rows_of_a_run_without_one(shell, matrix_file, tmp_path):
    (tmp_path / "mine.py").write_text(PRIORS)
    path = matrix_file(tmp_path / "m.toml", [{"name": "vae", "prior": "mine"}], plugins=["mine.py"])
    env = {"PROVE": "density integrates to 1", "VAEZOO_PROOFS": str(tmp_path / "cache")}
    folder = tmp_path / "results" / "m"
    done = shell("run", path, "--no-check", cwd=tmp_path, env=env)
    marked = "not proved: vaezoo check prior/mine --plugin mine.py"
    assert marked in done.out.splitlines()
    assert not (tmp_path / "cache").exists()
    row = ["vae", "--plugin", "mine.py", "--dataset", "digits-binary", "--set", "prior=mine", "--set", "train.epochs=1"]
    assert marked in shell("try", *row, cwd=tmp_path, env=env).out.splitlines()
    assert not (tmp_path / "cache").exists()
    assert shell("check", *marked.split()[4:], cwd=tmp_path, env=env).code == 0
    assert marked in read_results(folder).unproved[0]
    assert shell("tables", folder, env=env).code == 0
    assert read_results(folder).unproved.isna().all()
    assert "not proved" not in (folder / "tables" / "digits-binary.md").read_text()
