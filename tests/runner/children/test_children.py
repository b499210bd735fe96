"""The fork server: jobs in processes of their own, whatever these do, and nothing that is left behind."""

import io
import os
import queue
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from vaezoo.runner.children import client
from vaezoo.runner.children.child import LOST
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.engines import watch

JOBS = '''
import ctypes, os, subprocess, sys, time

def sends(send, x): send(got=x, folder=os.getcwd())
def leaves(send, code): os._exit(code)
def raises(send, name): raise {"KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit,
                               "SystemExit": SystemExit, "ValueError": ValueError}[name]("why")
def segfaults(send): ctypes.string_at(0)
def aborts(send): os.abort()
def closes(send):
    os.closerange(0, 256)
    with open("own", "w") as file:  # which gets the number of the pipe
        send(got=1)
        file.write("own")
def hangs(send): time.sleep(1000)
def prints(send, count):
    print("printed")
    os.write(2, b"x" * count)
def multiplies(send):
    import torch
    torch.set_num_threads(2)
    a = torch.ones(600, 600, requires_grad=True)
    (a @ a).sum().backward()
    send(got=float(a.grad[0, 0]))
def leaves_processes(send):
    """A daemon by two forks, a sleeper in a session of its own, and a child of these."""
    subprocess.Popen(["sh", "-c", "setsid sleep 4242 & exit 0"])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            subprocess.Popen(["sleep", "4242"])
            time.sleep(4242)
        os._exit(0)
    time.sleep(0.3)
    send(pids=[int(each) for each in subprocess.run(["pgrep", "-f", "sleep 4242"], capture_output=True).stdout.split()])
def strikes_parent(send, number, marks):
    """Sends a signal to the server, after a daemon was left behind; the mark of each attempt is a file of its own."""
    open(f"{marks}/{os.getpid()}", "w").close()
    subprocess.Popen(["sleep", "4245"], start_new_session=True)
    os.kill(os.getppid(), number)
    time.sleep(0.5)
    send(got="struck")
def waits(send, path):
    send(got="waits")
    while not os.path.exists(path): time.sleep(0.02)
    send(got="done")
def forks(send):
    send(got=1)
    os.fork()
    send(got=2)
def is_child(send):
    import multiprocessing
    send(child=multiprocessing.parent_process() is not None)
'''


@pytest.fixture(scope="module", params=["forked", "fresh"])
def children(request, tmp_path_factory):
    """Children of the fork server, and of systems without one."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "jobs_of_test.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "FORKS", request.param == "forked")
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        with Children() as made:
            yield made


def alive(pid):
    """Whether a process is there and no zombie, after a moment."""
    time.sleep(0.2)
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def outcome(children, call, seconds=30.0, log=None, **arguments):
    job = children.start(f"jobs_of_test:{call}", arguments, log)
    [(_, found)] = outcomes(children, [job], seconds)
    return found


def test_a_job_gets_its_arguments_and_sends_messages(children):
    found = outcome(children, "sends", x={"a": [1, 2.5, None, "é"]})
    assert found.messages == [{"got": {"a": [1, 2.5, None, "é"]}, "folder": os.getcwd()}]
    assert found.ended == 0


@pytest.mark.parametrize(
    ("call", "arguments", "ended", "reason"),
    [
        ("leaves", {"code": 0}, 0, "ended its process then: exit code 0"),
        ("leaves", {"code": 7}, 7, "ended its process then: exit code 7"),
        ("segfaults", {}, -signal.SIGSEGV, "ended its process then: killed by SIGSEGV"),
        ("aborts", {}, -signal.SIGABRT, "ended its process then: killed by SIGABRT"),
        ("raises", {"name": "KeyboardInterrupt"}, 1, "raised KeyboardInterrupt: why then"),
        ("raises", {"name": "GeneratorExit"}, 1, "raised GeneratorExit: why then"),
        ("raises", {"name": "SystemExit"}, 1, "raised SystemExit: why then"),
        ("raises", {"name": "ValueError"}, 1, "raised ValueError: why then"),
        ("closes", {}, LOST, "ended its process then: it had closed the pipe to the run"),
    ],
)
def test_every_end_of_a_job_is_told(children, call, arguments, ended, reason):
    found = outcome(children, call, **arguments)
    assert found.ended == ended
    assert found.reason("then").startswith(reason)
    assert outcome(children, "sends", x=1).messages[0]["got"] == 1  # the next one is unaffected


def test_a_file_that_took_the_place_of_the_pipe_gets_no_message(children):
    outcome(children, "closes")
    assert Path("own").read_text() == "own"


def test_a_job_that_hangs_is_killed(children):
    found = outcome(children, "hangs", seconds=1.0)
    assert found.ended is None
    assert found.reason("then") == "hung then: nothing in 1 s"


def test_a_job_is_killed_before_the_machine_has_no_memory_left(children, monkeypatch):
    monkeypatch.setattr(watch, "RESERVE", 2.0)  # of the machine's memory, so that what is free is always too little
    found = outcome(children, "hangs", seconds=60.0)
    assert found.ended in (-signal.SIGKILL, -signal.SIGTERM)
    assert re.fullmatch(r"ended its process here: it used \d\.\d GiB, the most of all .* left", found.reason("here"))


def test_what_a_job_prints_goes_to_its_log(children, capfd, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "outside").write_text("secret")
    log.symlink_to(tmp_path / "outside")
    assert outcome(children, "prints", log=str(log), count=10**6).ended == 0
    assert sorted(log.read_text()) == sorted("printed\n" + "x" * 10**6)
    assert (tmp_path / "outside").read_text() == "secret"
    assert outcome(children, "prints", count=3).ended == 0
    assert capfd.readouterr() == ("", "")


def test_jobs_may_use_several_threads(children):
    assert outcome(children, "multiplies").messages == [{"got": 1200.0}]


def test_a_job_is_a_child_process_for_plugins_that_ask(children):
    assert outcome(children, "is_child").messages == [{"child": True}]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to adopt orphans")
def test_what_a_job_leaves_behind_is_killed(children):
    if not client.FORKS:
        pytest.skip("needs the fork server")
    [message] = outcome(children, "leaves_processes").messages
    assert len(message["pids"]) >= 2
    assert not [pid for pid in message["pids"] if alive(pid)]


@pytest.mark.nightly
def test_a_job_that_kills_the_server_costs_no_other_job_anything(children, tmp_path):
    """Also beside others of its kind: each has two attempts, the second on a server of its own."""
    if not client.FORKS:
        pytest.skip("needs the fork server")
    marks = tmp_path / "marks"
    marks.mkdir()
    wait, strike = {"path": str(marks)}, {"number": int(signal.SIGKILL), "marks": str(marks)}
    calls = [("waits", wait), ("strikes_parent", strike), ("waits", wait), ("strikes_parent", strike)]
    jobs = [children.start(f"jobs_of_test:{call}", arguments) for call, arguments in calls]
    found = [each for _, each in outcomes(children, jobs, 30)]
    assert [each.ended for each in found] == [0, -signal.SIGKILL, 0, -signal.SIGKILL]
    assert found[1].reason("then") == found[3].reason("then")
    assert found[1].reason("then").startswith("ended its process then: the server of all processes was ended while")
    assert len(list(marks.iterdir())) <= 4
    assert not children._suspects
    assert not _sleepers()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP"])
def test_no_other_signal_ends_or_stops_the_server(children, tmp_path, name):
    if not client.FORKS:
        pytest.skip("needs the fork server")
    found = outcome(children, "strikes_parent", number=int(getattr(signal, name)), marks=str(tmp_path))
    assert (found.ended, found.messages, len(list(tmp_path.iterdir()))) == (0, [{"got": "struck"}], 1)
    assert not _sleepers()


def test_a_lane_that_was_told_to_end_gets_no_job(monkeypatch):
    """Else its job would be lost, and taken for the culprit."""
    children = Children()
    lanes = [client._Server(SimpleNamespace(stdin=io.BytesIO()), alone=True) for _ in range(2)]
    children._lanes = lanes[:1]
    children._fill_lanes()
    assert lanes[0].process.stdin.closed
    monkeypatch.setattr(children, "_started", lambda alone: lanes[1])
    children._suspects[3] = job = client._Job({"start": 3})
    children._fill_lanes()
    assert (lanes[0].jobs, lanes[1].jobs) == ({}, {3: job})
    assert lanes[1].process.stdin.getvalue() == b'{"start": 3}\n'


def _sleepers():
    time.sleep(0.1)
    return [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "4245"]]


def test_a_copy_that_a_job_forks_sends_nothing(children):
    if not client.FORKS:
        pytest.skip("needs the fork server")
    assert outcome(children, "forks").messages == [{"got": 1}, {"got": 2}]


def test_a_signal_reaches_a_job_that_has_just_begun(children, tmp_path):
    """The server has been told to ignore the signal, and the job not yet that it does not."""
    if not client.FORKS:
        pytest.skip("needs the fork server")
    for _ in range(20):
        job = children.start("jobs_of_test:waits", {"path": str(tmp_path / "never")})
        children.kill(job, signal.SIGTERM)
        [(_, found)] = outcomes(children, [job], 20)
        assert found.ended == -signal.SIGTERM


def test_events_that_somebody_hears_reach_nobody_else(children):
    told = queue.SimpleQueue()
    mine = children.start("jobs_of_test:sends", {"x": 1}, hear=told.put)
    other = children.start("jobs_of_test:sends", {"x": 2})
    [(job, outcome)] = outcomes(children, [other], 30.0)
    assert (job, outcome.messages[0]["got"]) == (other, 2)
    heard = []
    while not heard or heard[-1].ended is None:
        heard.append(told.get(timeout=30.0))
    assert {event.job for event in heard} == {mine}
    assert [event.message["got"] for event in heard if event.message] == [1]
    assert children.events(0.0) == []


def test_where_the_server_is_killed_its_jobs_begin_anew(children, tmp_path):
    """With none of the messages of before, and no process that they had left behind."""
    if not client.FORKS:
        pytest.skip("needs the fork server")
    job = children.start("jobs_of_test:waits", {"path": str(tmp_path / "go")})
    pids, said = [], []
    while not said:
        for event in children.events(20):
            pids += [event.pid] if event.pid else []
            said += [event.message] if event.message else []
    [server] = psutil.Process(children._server.process.pid).children()
    server.kill()
    (tmp_path / "go").touch()
    [(_, found)] = outcomes(children, [job], 20)
    assert (found.ended, [message["got"] for message in found.messages]) == (0, ["waits", "done"])
    assert not alive(pids[0])
