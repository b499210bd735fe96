"""Starts jobs in child processes and receives what they tell: through the fork server, or in fresh processes."""

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any

from vaezoo.runner.children.child import LOST
from vaezoo.runner.engines.watch import MemoryWatch

FORKS = hasattr(os, "fork") and sys.platform != "darwin"
"""Whether children are forked from a server. (Frameworks of macOS do not survive a fork.)"""
BOOTSTRAP = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""What a new interpreter runs: a module by its name, with this process's `sys.path`."""
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that ends a process at once. Windows has only one that does."""
GOODBYE = 10.0
"""Seconds in which the server ends its children when it is closed."""


@dataclass(frozen=True)
class Event:
    """What a child tells. job: its number. pid: at its start; message: of the child; ended: at its end, the exit code,
    or minus the number of the signal that killed it; peak: the most memory it used, in bytes, where it is known.
    excess: why the run ends it, where it used too much memory; lost: how its machine was lost, where it ended with it.
    restarted: it begins anew, because the server was ended while it ran; culprit: why it does not begin anew.
    """

    job: int
    pid: int | None = None
    message: dict[str, Any] | None = None
    ended: int | None = None
    peak: int | None = None
    excess: str | None = None
    lost: str | None = None
    restarted: bool = False
    culprit: str | None = None


CULPRIT = "the server of all processes was ended while this one ran, and again when it was the only one there"
LANES = 4
"""The most servers at a time that run the jobs of a killed server once more, one job at a time on each."""


@dataclass
class _Job:
    """A job that has not ended. command: what begins it. signal: the last signal that it was sent, or None."""

    command: dict[str, Any]
    signal: int | None = None


@dataclass(eq=False)
class _Server:
    """A fork server and its jobs. alone: whether it gets one job at a time. has_told: whether it has sent an event.
    is_ending: whether it has ended or been told to, so that it gets no more jobs. writing: held by the thread that
    sends it a command.
    """

    process: subprocess.Popen[bytes]
    alone: bool
    jobs: dict[int, _Job] = field(default_factory=dict)
    has_told: bool = False
    is_ending: bool = False
    reader: threading.Thread | None = None
    writing: threading.Lock = field(default_factory=threading.Lock)

    def write(self, command: Mapping[str, Any]) -> None:
        """Send a command. It is lost where the server has ended, which the thread `reader` reports."""
        line = json.dumps(command).encode() + b"\n"
        with self.writing, contextlib.suppress(OSError, ValueError):  # ValueError: the pipe is closed
            while line:
                line = line[self.process.stdin.write(line) :]  # type: ignore[union-attr]

    def begin(self, number: int, job: _Job) -> None:
        """Begin a job of `jobs`."""
        self.write(job.command)
        if job.signal is not None:  # it was sent before the command
            self.write({"kill": number, "signal": job.signal})

    def close(self) -> None:
        """End the server with its children. One that has not told anything has none, and is still importing."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(GOODBYE if self.has_told else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.reader is not None:
            self.reader.join()


class Children:
    """The child processes of a run, as a context: they end with it.

    `start` begins a job, `events` gives what the children have told, `kill` sends a signal. Where the fork server
    itself is killed, the next job starts a new one. Each job of the killed server is a suspect: it begins anew on a
    lane, a server that runs one job at a time. A job whose lane is killed too is the culprit, and ends as killed.
    """

    def __init__(self, also: Sequence[str] = ()) -> None:
        """also: modules that the server imports besides, because many jobs need them."""
        self._also = also
        self._events: queue.Queue[Event] = queue.Queue()
        self._numbers = itertools.count()
        self._server: _Server | None = None
        self._lanes: list[_Server] = []
        self._suspects: dict[int, _Job] = {}
        self._closing = False
        self._fresh: dict[int, subprocess.Popen[bytes]] = {}
        self._heard: dict[int, Callable[[Event], None]] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self) -> None:
        """Start the fork server, which imports everything in the meantime."""
        if FORKS:
            self._running()

    def _running(self) -> _Server:
        """The server that gets new jobs."""
        with self._lock:
            if self._server is None or self._server.is_ending or self._server.process.poll() is not None:
                self._server = self._started(alone=False)
            return self._server

    def _started(self, alone: bool) -> _Server:
        server = _Server(started_server(self._also), alone)
        server.reader = threading.Thread(target=self._read_server, args=(server,), daemon=True)
        server.reader.start()
        return server

    def start(
        self,
        call: str,
        arguments: Mapping[str, Any],
        log: str | None = None,
        hear: Callable[[Event], None] | None = None,
    ) -> int:
        """Begin a job, `module:function` with these arguments (which JSON can hold), and return its number.

        The function gets a function that sends messages, then the arguments by name. log: the file of what it prints.
        hear: is called with each event of the job, in another thread; without it, `events` gives them.
        """
        job = next(self._numbers)
        if hear is not None:
            self._heard[job] = hear
        if FORKS:
            command = {"start": job, "call": call, "arguments": arguments, "log": log, "folder": os.getcwd()}
            with self._lock:
                server = self._running()
                server.jobs[job] = begun = _Job(command)
            server.begin(job, begun)
        else:
            self._start_fresh(job, call, arguments, log)
        return job

    def kill(self, job: int, number: int = signal.SIGTERM) -> None:
        """Send a signal to a job's process; SIGKILL (on Windows any) ends it with all its descendants."""
        if FORKS:
            self._kill_served(job, int(number))
        elif (process := self._fresh.get(job)) is not None:
            with contextlib.suppress(OSError):
                process.terminate() if number == signal.SIGTERM else process.kill()

    def _kill_served(self, job: int, number: int) -> None:
        with self._lock:
            waited = self._suspects.pop(job, None) is not None
            server = next((each for each in (self._server, *self._lanes) if each and job in each.jobs), None)
            if server is not None:
                server.jobs[job].signal = number
        if waited:
            self._tell(Event(job, ended=-number))
        elif server is not None:
            server.write({"kill": job, "signal": number})

    def events(self, timeout: float) -> list[Event]:
        """What the children have told since the last call; waits for the first event, at most `timeout` seconds."""
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=timeout))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _tell(self, event: Event) -> None:
        """Give an event to the function that hears its job, else to `events`."""
        hear = self._heard.pop if event.ended is not None else self._heard.get
        (hear(event.job, None) or self._events.put)(event)

    def close(self) -> None:
        """End all children."""
        for process in self._fresh.values():
            with contextlib.suppress(OSError):
                process.kill()
        with self._lock:
            self._closing = True
            servers = [*self._lanes, *([] if self._server is None else [self._server])]
        for server in servers:
            server.close()
        self._server, self._closing = None, False

    def _read_server(self, server: _Server) -> None:
        """Put the server's events into the queue; at its end, those of the jobs that it took with it."""
        process = server.process
        for line in process.stdout or ():
            value = json.loads(line)
            event = Event(value.pop("id"), **value)
            server.has_told = True
            if event.ended is not None:
                with self._lock:
                    server.jobs.pop(event.job, None)
            self._tell(event)
            if event.ended is not None and server.alone:
                self._fill_lanes()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._lose(server)

    def _lose(self, server: _Server) -> None:
        """Let the jobs of a server that has ended begin anew on lanes, or end."""
        told: list[Event] = []
        with self._lock:
            server.is_ending = True
            lost, server.jobs = server.jobs, {}
            if server in self._lanes:
                self._lanes.remove(server)
            if self._closing:
                lost, self._suspects = {**lost, **self._suspects}, {}
            for number, job in lost.items():
                if self._closing or job.signal is not None:
                    told.append(Event(number, ended=-(job.signal or KILL)))
                elif server.alone:
                    told.append(Event(number, ended=-KILL, culprit=CULPRIT))
                else:
                    told.append(Event(number, restarted=True))
                    self._suspects[number] = job
        for event in told:
            self._tell(event)
        self._fill_lanes()

    def _fill_lanes(self) -> None:
        """Begin suspects on lanes that have no job, and end the lanes for which no suspect is left."""
        begun: list[tuple[_Server, int, _Job]] = []
        with self._lock:
            if self._closing:
                return
            free = [lane for lane in self._lanes if not lane.jobs and not lane.is_ending]
            while self._suspects and (free or len(self._lanes) < LANES):
                if not free:
                    free.append(self._started(alone=True))
                    self._lanes.append(free[-1])
                number = next(iter(self._suspects))
                lane, job = free.pop(), self._suspects.pop(number)
                lane.jobs[number] = job
                begun.append((lane, number, job))
            for lane in free:
                lane.is_ending = True
        for lane, number, job in begun:
            lane.begin(number, job)
        for lane in free:
            with contextlib.suppress(OSError):
                lane.process.stdin.close()  # type: ignore[union-attr]

    def _start_fresh(self, job: int, call: str, arguments: Mapping[str, Any], log: str | None) -> None:
        command = _command("vaezoo.runner.children.child", call, log or "")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._fresh[job] = process
        self._tell(Event(job, pid=process.pid))
        threading.Thread(target=self._read_fresh, args=(job, process, json.dumps(arguments)), daemon=True).start()

    def _read_fresh(self, job: int, process: subprocess.Popen[bytes], arguments: str) -> None:
        with contextlib.suppress(OSError):
            stdin: IO[bytes] = process.stdin  # type: ignore[assignment]
            stdin.write(arguments.encode())
            stdin.close()
        with process:  # which closes its pipes
            for line in process.stdout or ():
                with contextlib.suppress(ValueError):
                    self._tell(Event(job, message=json.loads(line)))
        ended = process.wait()
        self._fresh.pop(job, None)
        self._tell(Event(job, ended=ended))


def started_server(also: Sequence[str]) -> "subprocess.Popen[bytes]":
    """A fork server in a new interpreter, which imports these modules besides."""
    command = _command("vaezoo.runner.children.server", *also)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def _command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a new interpreter, which finds the same modules as this one."""
    return [sys.executable, "-c", BOOTSTRAP, json.dumps(sys.path), module, *arguments]


@dataclass
class Outcome:
    """The messages of a job, and how it ended: its exit code, or minus a signal; None where it was killed because it
    had not told anything for `seconds`. excess: why it was killed for the memory that it used, or None; culprit: why it
    did not begin anew after its server was ended, or None.
    """

    messages: list[dict[str, Any]]
    ended: int | None
    seconds: float
    excess: str | None = None
    culprit: str | None = None

    @property
    def death(self) -> str:
        """How its process ended, in words."""
        if self.ended is None and self.excess is None:
            return f"nothing in {self.seconds:g} s"
        return self.excess or self.culprit or in_words(self.ended or 0)

    def reason(self, when: str) -> str:
        """How the process ended, in words: `ended its process when it was imported: exit code 7`."""
        raised = next((message["raised"] for message in self.messages if "raised" in message), None)
        if raised is not None:
            return f"raised {raised} {when}"
        return f"{'hung' if self.ended is None else 'ended its process'} {when}: {self.death}"


def in_words(code: int) -> str:
    """An exit code, or minus a signal: `exit code 7`, `killed by SIGSEGV`."""
    if code == LOST:
        return "it had closed the pipe to the run, a file descriptor that was not its own"
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name if -code in signal.valid_signals() else f'signal {-code}'}"


def outcomes(children: Children, jobs: Iterable[int], seconds: float) -> Iterator[tuple[int, Outcome]]:
    """The outcome of each of these jobs, in their order.

    One that tells nothing for `seconds` is killed, and so is the largest one before the machine has no memory left.
    """
    order, watch = list(jobs), MemoryWatch(None)
    pids: dict[int, int] = {}
    excess: dict[int, str] = {}
    culprits: dict[int, str] = {}
    messages: dict[int, list[dict[str, Any]]] = {job: [] for job in order}
    heard: dict[int, float] = {}
    ended: dict[int, int | None] = {}
    for next_job in order:
        while next_job not in ended:
            for event in children.events(0.2):
                if event.job in messages:
                    heard[event.job] = time.monotonic()
                    if event.restarted:
                        messages[event.job].clear()
                        pids.pop(event.job, None)
                        del heard[event.job]
                    if event.culprit is not None:
                        culprits[event.job] = event.culprit
                    if event.pid is not None:
                        pids[event.job] = event.pid
                    if event.message is not None:
                        messages[event.job].append(event.message)
                    if event.ended is not None:
                        ended.setdefault(event.job, event.ended)
                        pids.pop(event.job, None)
            for job, reason in watch.excess(pids).items():
                excess[job] = reason
                del pids[job]
                children.kill(job, KILL)
            for job, last in heard.items():
                if job not in ended and time.monotonic() - last > seconds:
                    ended[job] = None
                    children.kill(job, KILL)
        death = excess.get(next_job), culprits.get(next_job)
        yield next_job, Outcome(messages[next_job], ended[next_job], seconds, *death)
