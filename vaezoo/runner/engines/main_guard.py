"""Notices a user's script that workers cannot import: one without a `__main__` guard, or one that is no file.

A worker that is started afresh (`spawn`) imports the script of its parent. Without the guard, that import runs the
matrix once more, in the worker, before the worker can take a cell. A script that comes from standard input cannot be
imported at all.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from multiprocessing.spawn import get_preparation_data
from pathlib import Path

from vaezoo.core.errors import VaezooError

MESSAGE = (
    "the script calls vaezoo.run without a __main__ guard, so its child processes would run the matrix again; put the "
    'call under `if __name__ == "__main__":`'
)
VARIABLE = "VAEZOO_MAIN_GUARD"
"""The environment variable by which a worker knows the file that tells its parent."""


def refuse_in_import_of_worker() -> None:
    """End this process where it is a worker that still imports its parent's script.

    A worker of a run tells its parent, which raises the VaezooError, and ends in silence. Any other child process
    raises the VaezooError itself.
    """
    if not getattr(current_process(), "_inheriting", False):  # set by multiprocessing while it imports the script
        return
    if VARIABLE not in os.environ:
        raise VaezooError(MESSAGE)
    Path(os.environ[VARIABLE]).touch()
    raise SystemExit(1)


def refuse_script_without_file() -> None:
    """VaezooError where the workers of this process could not import its script, because it is no file.

    In `python -c` and in a notebook there is no script, and workers import none.
    """
    script = get_preparation_data("worker").get("init_main_from_path")
    if script is None or Path(script).is_file():
        return
    name = Path(script).name
    source = "comes from standard input" if name == "<stdin>" else f"is not the regular file {script}"
    raise VaezooError(
        f"the script that calls vaezoo.run {source}, so its child processes cannot import it; save it to a file, with "
        'the call under `if __name__ == "__main__":`, and run that file'
    )


@contextmanager
def main_guard() -> Iterator[Callable[[], None]]:
    """Yields a function that raises VaezooError once a worker, started within the block, lacked the guard."""
    with tempfile.TemporaryDirectory(prefix="vaezoo-") as folder:
        file = Path(folder) / "unguarded"

        def check() -> None:
            """Raise where a worker has told."""
            if file.exists():
                raise VaezooError(MESSAGE)

        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(file)
        try:
            yield check
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
