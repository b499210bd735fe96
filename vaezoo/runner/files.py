"""Files of a results folder: written whole or not at all, and read so that no file can stop or mislead a reader."""

import errno
import hashlib
import os
import platform
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import psutil

from vaezoo.core.errors import VaezooError

BLOCK = 2**20
"""Bytes that are read at a time."""
LARGEST_WEIGHTS = 2**34
"""Bytes of the largest file that belongs to a record."""
LARGEST_LOG = 2**20
"""Bytes of a log that are kept: its first and its last half of them."""
ABANDONED_SECONDS = 600.0
"""A temporary file that nobody has written to for so long was left by a process that was killed."""

_TEMPORARY = re.compile(r"\..+\.(?:(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-)?[A-Za-z0-9_]{8}")
_KINDS = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"))
_NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class DamagedFile(VaezooError):
    """A file of a results folder that cannot be taken for what it should be. The message names it and says why."""


def machine() -> str:
    """This machine's name, and on Linux which numbering of processes this one is in: a container has its own."""
    with suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def write_atomically(path: Path, content: bytes | Iterable[bytes], *, lasting: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to the disk, rename: a reader sees the old file or the new
    one. lasting: whether the file must survive a power cut; only then it is flushed.

    Raises OSError, which names the path, where the disk is full or the folder cannot be written to: the old file
    stays, and no temporary one.
    """
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        owner = f"{crc32(machine().encode()):08x}-{os.getpid()}"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{owner}-")
        with os.fdopen(handle, "wb") as file:
            for block in [content] if isinstance(content, bytes) else content:
                file.write(block)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def read_file(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file, or None where there is no file.

    Raises DamagedFile for a link, a folder, a pipe, a device, a file of more than `most` bytes and one that cannot be
    read. None of them is waited for or followed.
    """
    blocks = read_blocks(path, most)
    return None if blocks is None else b"".join(blocks)


def read_blocks(path: Path, most: int) -> Iterator[bytes] | None:
    """As `read_file`, in blocks. The file is opened and checked at once, and read when the blocks are taken."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | _NOT_FOLLOWED)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DamagedFile(f"{path} cannot be read: {_why_unopened(path, error)}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise DamagedFile(f"{path} is damaged: expected a regular file, got {_kind(found.st_mode)}")
        if found.st_size > most:
            raise DamagedFile(f"{path} is damaged: it has {found.st_size:,} bytes, expected {most:,} at most")
    except BaseException:
        os.close(handle)
        raise
    return _blocks(path, handle, most)


def _blocks(path: Path, handle: int, most: int) -> Iterator[bytes]:
    left = most
    with os.fdopen(handle, "rb", buffering=0) as file:
        try:
            while block := file.read(BLOCK):
                left -= len(block)
                if left < 0:  # it grows while it is read
                    raise DamagedFile(f"{path} is damaged: it has more than {most:,} bytes")
                yield block
        except OSError as error:
            raise DamagedFile(f"{path} cannot be read: {error.strerror or error}") from None


def _why_unopened(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.EMLINK) and path.is_symlink():
        return "expected a regular file, got a link"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a device or a socket")


def sha256_of(path: Path, most: int = LARGEST_WEIGHTS) -> str | None:
    """The sha256 of a regular file, or None where there is no file. Raises as `read_file`."""
    blocks = read_blocks(path, most)
    if blocks is None:
        return None
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def checked_blocks(blocks: Iterable[bytes], digest: str | None, damaged: str) -> Iterator[bytes]:
    """The blocks as they come. After the last one, DamagedFile with the message `damaged` where their sha256 is not
    `digest` (None: not known).
    """
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
        yield block
    if digest is not None and found.hexdigest() != digest:
        raise DamagedFile(damaged)


def cut_log(path: Path) -> None:
    """Keep the first and the last half of LARGEST_LOG of a log that is longer, with a line between that says so."""
    half = LARGEST_LOG // 2
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size <= LARGEST_LOG + 200:
            return
        with path.open("rb") as file:
            first = file.read(half)
            file.seek(-half, os.SEEK_END)
            last = file.read(half)
    except OSError:
        return
    left_out = found.st_size - 2 * half
    write_atomically(path, [first, f"\n... {left_out:,} bytes of this log were left out ...\n".encode(), last])


def remove_abandoned(folder: Path, *, older_than: float = ABANDONED_SECONDS) -> int:
    """Remove the temporary files that killed processes left in a folder; how many there were.

    They are those of processes of this machine that have ended, and those to which nothing has been written for
    `older_than` seconds.
    """
    removed, now = 0, time.time()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return 0
    for entry in entries:
        try:
            name = _TEMPORARY.fullmatch(entry.name)
            if name is None or not entry.is_file(follow_symlinks=False):
                continue
            if _has_ended(name) or now - entry.stat(follow_symlinks=False).st_mtime >= older_than:
                os.unlink(entry.path)
                removed += 1
        except OSError:  # another process has removed it, or the folder is read-only
            continue
    return removed


def _has_ended(name: re.Match[str]) -> bool:
    """Whether a temporary file is that of a process of this machine that has ended."""
    here = name["machine"] == f"{crc32(machine().encode()):08x}"
    return here and not psutil.pid_exists(int(name["pid"]))
