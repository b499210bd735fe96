"""Facts about this machine, and that nothing needs a module that only one system has."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from vaezoo.core.errors import VaezooError
from vaezoo.runner.machine import device

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "device 'gpu' is unknown; use auto, cpu, cuda or cuda:N"),
        ("meta", "device 'meta' is not supported"),
        ("cpu:3", "device 'cpu:3': a CPU has no number; use cpu"),
        ("cuda:99", r"device 'cuda:99' is not there: torch sees \d+ CUDA devices; use --device cpu"),
    ],
)
def test_a_wrong_device_is_one_line(name, said):
    with pytest.raises(VaezooError, match=said):
        device.resolve_device(name)


def test_auto_is_a_device_that_is_there():
    assert device.resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.resolve_device("cpu") == "cpu"


def test_the_resident_memory_lies_between_its_size_now_and_the_machine():
    now = psutil.Process().memory_info().rss
    assert now / 2 < device.peak_memory("cpu") < device.memory("cpu")


PEAKS = """
from vaezoo.runner.machine.device import _restart_resident_peak, peak_memory
held = bytearray(b"x") * 200_000_000
high = peak_memory("cpu")
del held
print(high, _restart_resident_peak(), peak_memory("cpu"))
"""


def test_the_peak_keeps_what_was_freed_and_forgets_it_at_a_restart():
    done = subprocess.run([sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True)
    high, restarted, after = done.stdout.split()
    if restarted == "True":
        assert int(high) - int(after) > 150_000_000
    else:
        assert int(after) >= int(high)


OWN = """
import mmap, sys
from vaezoo.runner.machine.device import held_memory, own_memory, restart_peak_memory
before = bytearray(b"x") * 100_000_000
restart_peak_memory("cpu")
held = held_memory("cpu")
work = bytearray(b"x") * 200_000_000
del work
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    sum(mapped[::4096])
    print(own_memory("cpu", held))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux restarts its record of a process")
def test_a_cells_memory_is_its_own_without_what_was_held_before_and_without_pages_of_files(tmp_path):
    with open(tmp_path / "data", "wb") as file:
        file.truncate(150_000_000)
    command = [sys.executable, "-c", OWN, str(tmp_path / "data")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 195_000_000 < int(done.stdout) < 230_000_000


def test_without_a_record_of_the_process_nothing_is_restarted(monkeypatch, tmp_path):
    """As on macOS (getrusage) and on Windows (psutil's peak working set), and where neither is there."""
    monkeypatch.setattr(device, "PROCESS", tmp_path / "nowhere")
    assert device._restart_resident_peak() is False
    device.restart_peak_memory("cpu")
    if device.resource is not None:
        monkeypatch.setattr(device.sys, "platform", "darwin")
        peak = device.resource.getrusage(device.resource.RUSAGE_SELF).ru_maxrss
        assert device.peak_memory("cpu") >= peak  # macOS counts in bytes
    monkeypatch.setattr(device, "resource", None)
    assert device.peak_memory("cpu") == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    windows = SimpleNamespace(rss=MEBIBYTE, peak_wset=3 * MEBIBYTE)
    monkeypatch.setattr(device.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: windows))
    assert device.peak_memory("cpu") == 3 * MEBIBYTE


HIDDEN = """
import sys
import psutil  # on Linux it needs `resource` itself
sys.modules["resource"] = sys.modules["fcntl"] = None  # an import of either raises ImportError
import vaezoo.api, vaezoo.cli
from vaezoo.runner.machine.device import peak_memory, restart_peak_memory
restart_peak_memory("cpu")
frame = vaezoo.api.plan_of({"datasets": ["digits-binary"], "variants": [{"name": "vae"}]}, device="cpu")[0]
print(len(frame.cells), peak_memory("cpu") > 0)
"""


def test_resource_and_fcntl_are_optional():
    done = subprocess.run([sys.executable, "-c", HIDDEN], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True"]
