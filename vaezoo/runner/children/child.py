"""A job in its child process: the call, the messages that it sends to the run, and the log of what it prints.

`python -m vaezoo.runner.children.child CALL LOG` runs one job in a fresh process, for systems without fork: its
arguments come as JSON on standard input, and its messages go to standard output.
"""

import contextlib
import faulthandler
import importlib
import json
import multiprocessing.process
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from vaezoo.core.errors import VaezooError, text_of

LOST = 71
"""The exit code of a job that could not send its messages, because a plugin had closed the pipe."""
_serving = False
MOST = 2**26
"""The longest message that is passed on, in bytes."""


class Messages:
    """Sends messages to the run through a pipe, as JSON lines. A pipe that a plugin has closed gets none, and a copy of
    the process that a plugin has forked sends none.
    """

    def __init__(self, pipe: int):
        self.pipe, self.identity, self.process = pipe, _identity(pipe), os.getpid()
        self.lock, self.lost = threading.Lock(), False

    def __call__(self, **message: Any) -> None:
        """Send a message. It is lost where the run has gone, or a plugin has closed the pipe."""
        if os.getpid() != self.process:
            return
        line = json.dumps(message).encode() + b"\n"
        with self.lock, contextlib.suppress(OSError):
            while line and not self.lost:
                self.lost = _identity(self.pipe) != self.identity
                line = line if self.lost else line[os.write(self.pipe, line) :]


def _identity(file: int) -> tuple[int, int] | None:
    """What a file descriptor stands for, so that another file under the same number is noticed."""
    try:
        found = os.fstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def run_job(call: str, arguments: Mapping[str, Any], pipe: int, log: str | None) -> None:
    """Call `module:function` with the arguments and a Messages, and end this process: with 0, or with 1 where it
    raised, after the message `raised`.

    log: the file for what it prints, also from C; None for none.
    """
    global _serving
    _serving = True
    code, send = 1, Messages(pipe)
    _have_a_parent()
    try:
        print_to(log)
        module, _, name = call.partition(":")
        getattr(importlib.import_module(module), name)(send, **arguments)
        code = LOST if send.lost else 0
    except BaseException as error:  # a plugin may raise anything; the process ends here
        with contextlib.suppress(BaseException):
            send(raised=described(error))
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # no handler of a plugin, and none of its threads, holds up the end


def _have_a_parent() -> None:
    """Make `multiprocessing.parent_process()` tell plugins that this is a child process, as in any worker."""
    with contextlib.suppress(AttributeError, TypeError):
        known = multiprocessing.process
        reader, _ = os.pipe()
        known._parent_process = known._ParentProcess("MainProcess", os.getppid(), reader)  # type: ignore[attr-defined]


def refuse_in_child() -> None:
    """VaezooError in a child process of a run, where a script that registers plugins is imported once more."""
    if _serving:
        raise VaezooError(
            "the script calls vaezoo.run without a __main__ guard, so its child processes, which import the plugins in "
            'it, would run the matrix again; put the call under `if __name__ == "__main__":`'
        )


def described(error: BaseException) -> str:
    """An error in one line: its type and the first line of its text."""
    text = text_of(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def print_to(log: str | None) -> None:
    """Send standard output and error to the log; standard input is empty."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    file = nothing if log is None else _new_file(log)
    for number in (1, 2):
        os.dup2(file, number)
    for each in {nothing, file}:
        os.close(each)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    with contextlib.suppress(Exception):
        faulthandler.enable(2)


def _new_file(path: str) -> int:
    """A new file in place of whatever stands there, which may be a link to another file."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)


def main() -> None:
    """One job in this fresh process."""
    from vaezoo.registry import register

    register.isolate()
    arguments = json.loads(sys.stdin.read())
    pipe = os.dup(1)
    run_job(sys.argv[1], arguments, pipe, sys.argv[2] or None)


if __name__ == "__main__":
    main()
