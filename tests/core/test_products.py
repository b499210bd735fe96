"""Which library multiplies: the faster one by a timer that the test gives, kept, the same for all, and settable."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from vaezoo.core import products
from vaezoo.core.errors import VaezooError
from vaezoo.core.torch_internals import onednn_layout, onednn_linear

pytestmark = pytest.mark.skipif(onednn_linear() is None, reason="this build of torch has no oneDNN")
LOOP = [] if importlib.util.find_spec("numba") is None else ["loop"]
SCRIPT = Path(sys.executable).with_name("vaezoo")
NAMES = products.names()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(products.SETTING, raising=False)
    forget()
    yield tmp_path / "vaezoo" / "products"
    forget()


def forget():
    """As a new process."""
    products._choice.cache_clear()
    products._sparse_choice.cache_clear()
    products._asked.clear()


def timer(monkeypatch, times):
    """(product, library) -> seconds, in place of the clock; a list of what was timed."""
    timed = []
    monkeypatch.setattr(
        products, "seconds_of", lambda product, name, multiply: timed.append((product, name)) or times(product, name)
    )
    return timed


@pytest.mark.parametrize("faster", ["torch", "onednn", *LOOP])
def test_the_fastest_library_multiplies_everything(monkeypatch, faster):
    timer(monkeypatch, lambda product, name: 1.0 if name == faster else 1.19)
    assert products.choice() == dict.fromkeys(NAMES, faster)


@pytest.mark.parametrize("library", ["onednn", *LOOP])
@pytest.mark.parametrize("best", NAMES)
def test_each_product_is_chosen_alone(monkeypatch, best, library):
    timer(monkeypatch, lambda product, name: 0.5 if (product, name) == (best, library) else 1.0)
    assert products.choice() == dict.fromkeys(NAMES, "torch") | {best: library}


@pytest.mark.skipif(not LOOP, reason="needs numba")
@pytest.mark.parametrize(
    ("onednn", "loop", "chosen"), [(0.5, 0.4, "loop"), (0.4, 0.5, "onednn"), (0.49, 0.5, "loop"), (0.98, 0.99, "torch")]
)
def test_the_loop_multiplies_unless_onednn_is_clearly_faster(monkeypatch, onednn, loop, chosen):
    times = {"torch": 1.0, "onednn": onednn, "loop": loop}
    timer(monkeypatch, lambda product, name: times[name])
    assert set(products.choice().values()) == {chosen}


def test_a_tie_is_torch_s_so_that_noise_does_not_choose(monkeypatch):
    timer(monkeypatch, lambda product, name: 1.0 if name == "torch" else 0.98)
    assert set(products.choice().values()) == {"torch"}


def test_the_least_time_of_the_rounds_counts_without_the_first_one(monkeypatch):
    """The first call is slow or fast for other reasons; another process may disturb most of the others."""
    seen = {}

    def seconds(product, name):
        number = seen[product, name] = seen.get((product, name), 0) + 1
        if name == "onednn":
            return 0.5 if number == 3 else 9.0
        return 0.001 if number == 1 else 1.0

    timer(monkeypatch, seconds)
    assert set(products.choice().values()) == {"onednn"}


def test_it_ends_after_the_first_round_on_a_slow_machine(monkeypatch):
    timed = timer(monkeypatch, lambda product, name: 1.0)
    monkeypatch.setattr(products, "SECONDS", 0.0)
    products.choice()
    assert len(timed) == 2 * len(products.available()) * len(NAMES)


def test_the_choice_is_kept_for_the_next_process_and_measured_anew_where_it_is_removed(monkeypatch, cache):
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    first = products.choice()
    (file,) = cache.iterdir()
    timed = timer(monkeypatch, lambda product, name: 0.1 if name == "torch" else 1.0)
    forget()
    assert products.choice() == first
    assert not timed
    file.unlink()
    forget()
    assert products.choice() == dict.fromkeys(NAMES, "torch")
    assert timed


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"libraries": {}}', '{"libraries": {"forward": "mkl"}}', "\0"])
def test_a_damaged_file_is_replaced(monkeypatch, cache, content):
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    products.choice()
    (file,) = cache.iterdir()
    file.write_text(content)
    forget()
    assert products.choice() == dict.fromkeys(NAMES, "onednn")
    assert json.loads(file.read_text())["libraries"] == products.choice()
    assert list(cache.iterdir()) == [file]


def test_of_two_processes_that_measure_at_once_the_first_decides_for_both(monkeypatch, cache):
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    first = products.choice()
    (file,) = cache.iterdir()
    content = file.read_text()
    file.unlink()
    forget()

    def other_way(product, name):
        file.write_text(content)  # the other process ends first
        return 0.1 if name == "torch" else 1.0

    timer(monkeypatch, other_way)
    assert products.choice() == first


def test_where_nothing_can_be_kept_torch_multiplies(monkeypatch, tmp_path):
    """A choice of this process alone could differ from that of the next one."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    assert products.choice() == dict.fromkeys(NAMES, "torch")


def test_nothing_is_timed_where_nothing_can_be_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    timed = timer(monkeypatch, lambda product, name: 1.0)
    products.choice()
    assert not timed


def test_without_a_home_folder_it_is_torch(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    assert products.choice() == dict.fromkeys(NAMES, "torch")


def test_where_files_cannot_be_linked_it_is_kept_all_the_same(monkeypatch, cache):
    def no_links(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    assert set(products.choice().values()) == {"onednn"}
    assert len(list(cache.iterdir())) == 1
    forget()
    assert set(products.choice().values()) == {"onednn"}


def test_threads_of_one_process_choose_the_same(monkeypatch, cache):
    numbers = itertools.count()
    timer(monkeypatch, lambda product, name: float(next(numbers)) if name == "torch" else 1.0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: products.choice(), range(8)))
    assert all(each == found[0] for each in found)
    assert len(list(cache.iterdir())) == 1


def test_each_number_of_threads_has_its_choice(monkeypatch, cache):
    threads = torch.get_num_threads()
    timer(monkeypatch, lambda product, name: 0.1 * torch.get_num_threads() ** 4 if name == "onednn" else 1.0)
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(products.library("forward", 1, products.LARGE))
    finally:
        torch.set_num_threads(threads)
    assert found == ["onednn", "torch"]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("name", ["torch", "onednn", *LOOP, "Torch", " oneDNN "])
def test_it_can_be_set(monkeypatch, name):
    timed = timer(monkeypatch, lambda product, name: 1.0)
    monkeypatch.setenv(products.SETTING, name)
    assert products.choice() == dict.fromkeys(NAMES, name.strip().lower())
    assert not timed


def test_a_wrong_setting_is_said(monkeypatch):
    monkeypatch.setenv(products.SETTING, "mkl")
    with pytest.raises(VaezooError, match="is 'mkl'; set it to torch, onednn or loop, or leave it unset"):
        products.choice()


def test_without_onednn_it_is_torch(monkeypatch):
    monkeypatch.setattr(products, "onednn_linear", lambda: None)
    timer(monkeypatch, lambda product, name: 0.1 if name == "onednn" else 1.0)
    assert set(products.choice().values()) == {"torch"}
    monkeypatch.setenv(products.SETTING, "onednn")
    assert set(products.choice().values()) == {"torch"}


@pytest.mark.skipif(not LOOP, reason="needs numba")
def test_without_the_loop_it_is_a_library_and_with_it_the_choice_is_made_anew(monkeypatch, cache):
    timer(monkeypatch, lambda product, name: {"torch": 1.0, "onednn": 0.5, "loop": 0.1}[name])
    with monkeypatch.context() as patch:
        patch.setattr(products.compiled, "loop", lambda name: None)
        assert set(products.choice().values()) == {"onednn"}
        patch.setenv(products.SETTING, "loop")
        assert set(products.choice().values()) == {"torch"}
    forget()
    assert set(products.choice().values()) == {"loop"}
    assert len(list(cache.iterdir())) == 2


def test_the_second_of_two_products_in_a_row_is_timed(monkeypatch):
    """As in a step, its factors have been read not long before."""
    clock, calls = iter([10.0, 13.0]), []
    monkeypatch.setattr(products.time, "perf_counter", lambda: (calls.append("clock"), next(clock))[1])
    assert products.seconds_of("forward", "torch", lambda: calls.append("product")) == 3.0
    assert calls == ["product", "clock", "product", "clock"]


def test_what_is_timed_are_the_products_of_a_layer():
    """Their shapes, by each library."""
    for inputs, outputs in products.SHAPES.values():
        shapes = {"forward": (5, outputs), "by input": (5, inputs), "by weight": (outputs, inputs)}
        for product, shape in shapes.items():
            one, *others = (products._product(product, 5, name, inputs, outputs)() for name in products.LIBRARIES)
            assert one.shape == shape
            for other in others:
                torch.testing.assert_close(one, other)


def test_a_block_s_forward_product_is_timed_with_a_weight_that_is_laid_out(monkeypatch):
    """As an estimate multiplies; a batch's with the weight as it is."""
    given = []

    def multiplied(name, x, weight, bias=None):
        given.append((name, weight.is_mkldnn, not weight.is_mkldnn and bias is not None and weight.stride(0) == 1))

    monkeypatch.setattr(products, "multiplied", multiplied)
    for product, rows in itertools.product(products.PRODUCTS, (products.BATCH, products.BLOCK)):
        for name in products.LIBRARIES:
            products._product(product, rows, name, 90, 60)()
    batch = [(name, False, False) for name in products.LIBRARIES]
    block = [("torch", False, False), ("loop", False, True), ("onednn", onednn_layout() is not None, False)]
    assert given == batch + block + 4 * batch


@pytest.mark.parametrize("library", products.LIBRARIES)
def test_the_choice_is_by_rows_and_weights(monkeypatch, library):
    """A layer of fewer weights than the library's LEAST is torch's."""
    least = max(products.LEAST[library], 1)
    for rows, of in ((products.BOUNDARY - 1, ""), (products.BOUNDARY, " of a block")):
        for weights, layer in (
            (least - 1, None),
            (least, " in a small layer"),
            (products.LARGE - 1, " in a small layer"),
            (products.LARGE, ""),
        ):
            other = next(name for name in products.LIBRARIES if name not in (library, "torch"))
            place = "none" if layer is None else "forward" + of + layer
            choice = {name: library if name == place else other for name in NAMES}
            choice = dict.fromkeys(NAMES, library) if layer is None else choice
            monkeypatch.setattr(products, "choice", lambda choice=choice: choice)
            assert products.library("forward", rows, weights) == ("torch" if layer is None else library)


MATRIX = """
datasets = ["digits-binary"]
seeds = [0]
[model]
latent = 2
hidden = [1100]
[train]
epochs = 1
[evaluate]
importance_samples = 10
images = 20
throughput = false
[[variants]]
name = "vae"
"""


def run(folder, matrix=MATRIX):
    """Of the real command: the record of each cell, without its times."""
    folder.mkdir()
    (folder / "m.toml").write_text(matrix)
    words = [SCRIPT, "run", "m.toml", "--out", "out", "--device", "cpu"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = {path.name: json.loads(path.read_text()) for path in (folder / "out" / "cells").glob("*.json")}
    assert len(records) == 1
    return records


def test_runs_give_the_same_numbers_and_the_records_say_which_library_multiplied(tmp_path):
    first, second = (run(tmp_path / name) for name in ("a", "b"))
    for name, record in first.items():
        assert set(record["provenance"]["products"]) == set(NAMES)
        assert record["provenance"]["products"] == second[name]["provenance"]["products"]
        for number in ("elbo", "iwll", "kl"):
            assert record["results"][number] == second[name]["results"][number]


def test_a_wrong_setting_stops_the_command_with_one_line(tmp_path):
    (tmp_path / "m.toml").write_text(MATRIX)
    words = [SCRIPT, "run", "m.toml", "--out", "out", "--device", "cpu"]
    environment = {**os.environ, products.SETTING: "mkl"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "VAEZOO_PRODUCTS is 'mkl'; set it to torch, onednn or loop, or leave it unset" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out" / "cells").exists()


def test_the_loop_multiplies_where_it_is_the_faster_one(monkeypatch, cache):
    """In both directions. It is asked for once, and kept beside the choice of libraries."""
    pytest.importorskip("numba")
    for number, (loop, chosen) in enumerate([(0.9, True), (0.98, False), (1.1, False)]):
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache / str(number)))
        forget()
        timed = timer(monkeypatch, lambda product, name, loop=loop: loop if name == "loop" else 1.0)
        products.choice()
        assert products.SPARSE not in products.all_chosen()
        before = len(timed)
        assert [products.loop_is_faster() for _ in range(2)] == [chosen, chosen]
        assert {product for product, _ in timed[before:]} == {products.SPARSE}
        assert products.all_chosen() == {**products.choice(), products.SPARSE: "loop" if chosen else "libraries"}
        with monkeypatch.context() as patch:
            patch.setenv(products.SETTING, "torch")
            assert products.SPARSE not in products.all_chosen()
        count = len(timed)
        forget()
        assert products.loop_is_faster() is chosen
        assert len(timed) == count


def test_the_loop_is_timed_against_the_libraries_that_were_chosen(monkeypatch):
    pytest.importorskip("numba")
    seen = []
    original = products._product
    monkeypatch.setattr(products, "_product", lambda *given: (seen.append(given[:3]), original(*given))[1])
    monkeypatch.setattr(products, "choice", lambda: {"forward": "onednn", "by weight": "torch"})
    products.loop_is_faster()
    assert seen == [("forward", products.BATCH, "onednn"), ("by weight", products.BATCH, "torch")]


def test_a_library_that_is_set_leaves_no_product_to_the_loop(monkeypatch):
    timer(monkeypatch, lambda product, name: 0.1 if name == "loop" else 1.0)
    monkeypatch.setenv(products.SETTING, "torch")
    assert not products.loop_is_faster()
    monkeypatch.delenv(products.SETTING)
    monkeypatch.setattr(products.compiled, "loop", lambda name: None)
    assert not products.loop_is_faster()
    assert products.SPARSE not in products.all_chosen()


def test_where_nothing_can_be_kept_no_loop_multiplies(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    timer(monkeypatch, lambda product, name: 0.1 if name == "loop" else 1.0)
    assert not products.loop_is_faster()


@pytest.mark.skipif("VAEZOO_DATA" not in os.environ, reason="needs VAEZOO_DATA")
@pytest.mark.slow
def test_the_record_says_whether_the_loop_multiplied(tmp_path):
    pytest.importorskip("numba")
    [record] = run(tmp_path / "a", MATRIX.replace("digits-binary", "mnist-fixed").replace("1100", "100")).values()
    assert set(record["provenance"]["products"]) == {*NAMES, products.SPARSE}
