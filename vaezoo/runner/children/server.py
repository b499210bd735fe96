"""The fork server: `python -m vaezoo.runner.children.server` imports once what every job needs, and forks a child for
each job.

It reads commands from its standard input, a JSON object a line: `{"start": id, "call": "module:function",
"arguments": {...}, "log": path or null, "folder": working folder}` and `{"kill": id, "signal": number}`. It writes
events to its standard output: `{"id": id, "pid": pid}`, `{"id": id, "message": {...}}` for each message of the child,
and at the child's end `{"id": id, "ended": exit code, or minus the signal, "peak": bytes}`.

The server runs no operation on tensors, because children of a process that has run a parallel product hang. It imports
no plugin from outside. Processes that a child leaves behind become the server's own children, which it kills. It ends,
with all of its children, when its standard input ends; no other signal than SIGKILL ends it. Its parent is a keeper,
which kills what the server leaves behind where it is killed itself, and lets it go on where it is stopped.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from vaezoo.runner.children.child import MOST, run_job

PRELOADED = ("safetensors.torch", "vaezoo.runner.work.cell")
FOR_PROOFS = ("torch._dynamo", "pandas", "scipy.stats", "sklearn.datasets", "sklearn.mixture")
"""What `vaezoo check` imports besides, since it starts a child for each proof."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
OOM_SCORE = 500
"""Where memory runs out, Linux ends a cell rather than the run or another program."""


@dataclass
class _Child:
    """A running child: the number of its job, and the part of a line that came through its pipe so far."""

    job: int
    pipe: int
    rest: bytes = field(default=b"", repr=False)


def import_all(also: Sequence[str] = ()) -> None:
    """Import what every job needs, and other modules. numba takes some tenths of a second to load a first loop."""
    for name in (*PRELOADED, *also):
        importlib.import_module(name)
    with contextlib.suppress(Exception):  # a job that needs the loop says why there is none
        importlib.import_module("vaezoo.core._dense_loop")


def preload(also: Sequence[str] = ()) -> None:
    """Import what every job needs, other modules, and all built-in plugins, none from outside."""
    from vaezoo.registry import SLOTS, register

    import_all(also)
    register.isolate()
    for slot in SLOTS:
        register.load(slot)
    gc.collect()
    gc.freeze()  # the pages of these objects stay shared with the children


class Server:
    """Starts, watches and ends children, by the commands on its standard input."""

    def __init__(self) -> None:
        self.children: dict[int, _Child] = {}
        self.selector = selectors.DefaultSelector()
        self.wake, wake_writer = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_writer, False)
        self.commands = b""
        self.listening = True
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        self.control, self.events = os.dup(0), os.dup(1)
        with open(os.devnull, "r+b") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
        self.private = (self.wake, wake_writer, self.control, self.events)
        self.selector.register(self.control, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until the run closes its end, then end all children."""
        while self.listening:
            for key, _ in self.selector.select():
                if key.fd == self.control:
                    self._read_commands()
                elif key.fd == self.wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self.wake, 4096)
                else:
                    self._read_messages(key.data)
            self._reap()
        for pid in list(self.children):
            _kill(pid, signal.SIGKILL)
        self._kill_orphans()

    def _tell(self, job: int, **event: Any) -> None:
        try:
            line = json.dumps({"id": job, **event}).encode() + b"\n"
            while line:
                line = line[os.write(self.events, line) :]
        except OSError:  # the run has gone
            self.listening = False

    def _read_commands(self) -> None:
        found = os.read(self.control, 65536)
        self.listening = bool(found)
        *lines, self.commands = (self.commands + found).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "start" in command:
                self._start(command)
            else:
                for pid, child in self.children.items():
                    if child.job == command["kill"]:
                        _kill(pid, command["signal"])

    def _start(self, command: Mapping[str, Any]) -> None:
        reader, writer = os.pipe()
        server = os.getpid()
        # What is asked of the child before it handles signals waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                self.selector.close()
                for each in (*self.private, reader, *(child.pipe for child in self.children.values())):
                    os.close(each)
                become_child(server)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
                os.chdir(command["folder"])
                run_job(command["call"], command["arguments"], writer, command["log"])
            finally:
                os._exit(70)  # run_job ends the process itself
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.close(writer)
        os.set_blocking(reader, False)
        self.children[pid] = child = _Child(command["start"], reader)
        self.selector.register(reader, selectors.EVENT_READ, child)
        self._tell(child.job, pid=pid)

    def _read_messages(self, child: _Child) -> None:
        """Pass on what a child has sent so far. A line that is no JSON, which only a plugin can have written, is left
        out.
        """
        while True:
            try:
                found = os.read(child.pipe, 65536)
            except (BlockingIOError, OSError):
                return
            if not found:
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(child.pipe)
                return
            *lines, rest = (child.rest + found).split(b"\n")
            child.rest = rest[:MOST]
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    self._tell(child.job, message=json.loads(line))

    def _reap(self) -> None:
        """Report the children that have ended, and kill what they left behind."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (child := self.children.pop(pid, None)) is None:
                continue
            self._read_messages(child)
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(child.pipe)
            os.close(child.pipe)
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            self._kill_orphans()
            self._tell(child.job, ended=os.waitstatus_to_exitcode(status), peak=usage.ru_maxrss * 1024)

    def _kill_orphans(self) -> None:
        """Kill the processes that became the server's own when the child that started them ended."""
        kill_orphans(self.children)


def kill_orphans(known: Container[int]) -> None:
    """Kill the children of this process but the known ones, and wait for their ends."""
    for pid in _orphans(known):
        _kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _orphans(known: Container[int]) -> Iterator[int]:
    """The children that this process did not start, until there are none: killing one may bring others."""
    for _ in range(1000):
        found = [child.pid for child in psutil.Process().children() if child.pid not in known]
        if not found:
            return
        yield from found


def _kill(pid: int, number: int) -> None:
    """Send a signal to a child, and SIGKILL to its whole group."""
    with contextlib.suppress(OSError):
        if number == signal.SIGKILL:
            os.killpg(pid, number)
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def become_child(parent: int) -> None:
    """Make this process a child for a job: a session of its own, which ends with its parent and adopts its
    descendants.
    """
    os.setsid()
    _adopt_orphans()
    _end_with_parent(parent)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _adopt_orphans() -> None:
    """Let the processes that this one's descendants leave behind become its own children."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _end_with_parent(parent: int) -> None:
    """Let this process be killed when its parent ends."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this process asked to end with it
        os._exit(1)


def fork_below_keeper() -> None:
    """Go on in a child process. Its parent, the keeper, waits for its end, kills what it left behind, and ends."""
    keeper = os.getpid()
    pid = os.fork()
    _adopt_orphans()
    if pid == 0:
        _end_with_parent(keeper)
        return
    try:
        with open(os.devnull, "r+b") as nothing:
            for number in (0, 1):  # the ends of the server's pipes
                os.dup2(nothing.fileno(), number)
        while os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]):
            os.kill(pid, signal.SIGCONT)
        kill_orphans(())
    finally:
        os._exit(0)


def open_standard_streams() -> None:
    """Open what is closed of the descriptors 0, 1 and 2, so that no other file gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main(also: Sequence[str] = ()) -> None:
    """Import what every job needs, and other modules, and serve."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the run decides; it ends the server by closing its input
    open_standard_streams()
    fork_below_keeper()
    server = Server()
    preload(also)
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
