"""Files are written whole or not at all, also on a full disk; abandoned ones are removed; logs are cut."""

import errno
import os
import time
from pathlib import Path

import pytest

from vaezoo.core.errors import VaezooError
from vaezoo.runner import files
from vaezoo.runner.files import LARGEST_LOG, checked_blocks, cut_log, remove_abandoned, sha256_of, write_atomically
from vaezoo.runner.store import Store

FULL = Path("/dev/full")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("broken", ["tempfile.mkstemp", "os.fsync", "os.replace", "pathlib.Path.mkdir"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch, code, broken):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(code, os.strerror(code), "another path")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match=os.strerror(code)) as raised:
        write_atomically(path, b"new")
    assert (raised.value.errno, raised.value.filename) == (code, str(path))
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error_with_the_path(tmp_path, monkeypatch):
    """The content does not fit when it is flushed."""
    monkeypatch.setattr(
        files.tempfile, "mkstemp", lambda **_: (os.open(FULL, os.O_WRONLY), str(tmp_path / ".temporary"))
    )
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_atomically(tmp_path / "a.json", b"x")
    assert raised.value.filename == str(tmp_path / "a.json")


def test_the_command_names_the_path_on_a_full_disk(shell, finished, tmp_path):
    """The plan, which is written first, does not fit."""
    out = tmp_path / "out"
    code = (
        "import errno, os, sys, vaezoo.runner.store as store, vaezoo.cli\n"
        "def fail(*_, **__):\n    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "store.write_atomically.__globals__['os'].fsync = fail\n"
        f"sys.argv = ['vaezoo', 'run', {str(finished.matrix)!r}, '--out', {str(out)!r}, '--device', 'cpu']\n"
        "vaezoo.cli.main()\n"
    )
    done = shell.start_python(code).wait()
    assert done.code == 2
    assert done.err == f"error: No space left on device: {out / 'plan.json'}\n"


def test_what_a_source_of_blocks_raises_leaves_no_file(tmp_path):
    blocks = checked_blocks([b"one", b"two"], "0" * 64, "not these")
    with pytest.raises(VaezooError, match="not these"):
        write_atomically(tmp_path / "a", blocks)
    assert list(tmp_path.iterdir()) == []
    write_atomically(tmp_path / "a", [b"one", b"two"])
    write_atomically(tmp_path / "b", checked_blocks([b"onetwo"], sha256_of(tmp_path / "a"), "not these"))
    assert (tmp_path / "b").read_bytes() == b"onetwo"


def test_only_abandoned_temporary_files_are_removed(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    names = {
        "plan.json": False,
        ".lock": False,
        ".hidden.json": False,
        "cells/a.json": False,
        "cells/.a.json.abcd1234": True,
        "checkpoints/.a.safetensors.x_yz0000": True,
        "tables/.digits.md.abcdefgh": True,
    }
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / "cells" / ".a.json.folder00").mkdir()
    (tmp_path / "cells" / ".a.json.link0000").symlink_to(tmp_path / "plan.json")
    assert store.remove_abandoned() == 0
    old = time.time() - 601
    os.utime(tmp_path / "cells" / ".a.json.abcd1234", (old, old))
    assert store.remove_abandoned() == 1
    assert store.remove_abandoned(older_than=0) == 2
    assert {name: not (tmp_path / name).exists() for name in names} == names
    assert remove_abandoned(tmp_path / "nowhere") == 0


def test_a_log_keeps_its_first_and_its_last_part(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"first\n" + b"x" * 3 * LARGEST_LOG + b"\nlast")
    cut_log(path)
    content = path.read_bytes()
    assert len(content) < LARGEST_LOG + 200
    assert content.startswith(b"first\n")
    assert content.endswith(b"\nlast")
    assert b"\n... 2,097,163 bytes of this log were left out ...\n" in content
    cut_log(path)
    assert path.read_bytes() == content
    path.write_bytes(b"short")
    cut_log(path)
    assert path.read_bytes() == b"short"
    cut_log(tmp_path / "nowhere.log")
