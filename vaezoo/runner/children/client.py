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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    excess: why it is ended, where it used too much memory; lost: why its end is that of its machine.
    """

    job: int
    pid: int | None = None
    message: dict[str, Any] | None = None
    ended: int | None = None
    peak: int | None = None
    excess: str | None = None
    lost: str | None = None


class Children:
    """The child processes of a run, as a context: they end with it.

    `start` begins a job, `events` gives what the children have told, `kill` sends a signal. Where the fork server
    itself is killed, its jobs end as killed, and the next job starts a new one.
    """

    def __init__(self) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._served: dict[int, int | None] = {}
        self._fresh: dict[int, subprocess.Popen[bytes]] = {}
        self._heard: dict[int, Callable[[Event], None]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self) -> None:
        """Start the fork server, which imports everything in the meantime."""
        if FORKS and (self._server is None or self._server.poll() is not None):
            self._server = started_server()
            self._reader = threading.Thread(target=self._read_server, args=(self._server,), daemon=True)
            self._reader.start()

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
            self.warm_up()
            with self._lock:
                self._served[job] = None
            self._write({"start": job, "call": call, "arguments": arguments, "log": log, "folder": os.getcwd()})
        else:
            self._start_fresh(job, call, arguments, log)
        return job

    def kill(self, job: int, number: int = signal.SIGTERM) -> None:
        """Send a signal to a job's process; SIGKILL (on Windows any) ends it with all its descendants."""
        if FORKS:
            self._write({"kill": job, "signal": int(number)})
        elif (process := self._fresh.get(job)) is not None:
            with contextlib.suppress(OSError):
                process.terminate() if number == signal.SIGTERM else process.kill()

    def events(self, timeout: float) -> list[Event]:
        """What the children have told since the last call; waits for the first event, at most `timeout` seconds."""
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=timeout))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _tell(self, event: Event) -> None:
        """Give an event to who hears its job."""
        hear = self._heard.pop if event.ended is not None else self._heard.get
        (hear(event.job, None) or self._events.put)(event)

    def close(self) -> None:
        """End all children."""
        for process in self._fresh.values():
            with contextlib.suppress(OSError):
                process.kill()
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(OSError):
            server.stdin.close()  # type: ignore[union-attr]
        try:
            server.wait(GOODBYE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if self._reader is not None:
            self._reader.join()

    def _write(self, command: Mapping[str, Any]) -> None:
        server = self._server
        if server is not None and server.stdin is not None:
            with contextlib.suppress(OSError):  # it has been killed, which its reader reports
                server.stdin.write(json.dumps(command).encode() + b"\n")

    def _read_server(self, server: subprocess.Popen[bytes]) -> None:
        """Put the server's events into the queue; at its end, those of the jobs that it took with it."""
        for line in server.stdout or ():
            value = json.loads(line)
            event = Event(value.pop("id"), **value)
            with self._lock:
                if event.ended is not None:
                    self._served.pop(event.job, None)
                elif event.pid is not None:
                    self._served[event.job] = event.pid
            self._tell(event)
        if server.stdout is not None:
            server.stdout.close()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        with self._lock:
            lost, self._served = dict(self._served), {}
        for job in lost:
            self._tell(Event(job, ended=-KILL))

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


def started_server() -> "subprocess.Popen[bytes]":
    """A fork server in a new interpreter."""
    command = _command("vaezoo.runner.children.server")
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def _command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a new interpreter, which finds the same modules as this one."""
    return [sys.executable, "-c", BOOTSTRAP, json.dumps(sys.path), module, *arguments]


@dataclass
class Outcome:
    """The messages of a job, and how it ended: its exit code, or minus a signal; None where it was killed because it
    had not told anything for `seconds`. excess: why it was killed for the memory that it used, or None.
    """

    messages: list[dict[str, Any]]
    ended: int | None
    seconds: float
    excess: str | None = None

    @property
    def death(self) -> str:
        """How its process ended, in words."""
        return self.excess or (f"nothing in {self.seconds:g} s" if self.ended is None else in_words(self.ended))

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
    messages: dict[int, list[dict[str, Any]]] = {job: [] for job in order}
    heard: dict[int, float] = {}
    ended: dict[int, int | None] = {}
    for next_job in order:
        while next_job not in ended:
            for event in children.events(0.2):
                if event.job in messages:
                    heard[event.job] = time.monotonic()
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
        yield next_job, Outcome(messages[next_job], ended[next_job], seconds, excess.get(next_job))
