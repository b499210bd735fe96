"""`vaezoo throughput` through the command line: a row for each work, counts of FLOPs that can be worked out by hand."""

import json

import pytest
import torch

from vaezoo.core import dense_product, sparse_product
from vaezoo.core.errors import VaezooError
from vaezoo.core.products import LARGE
from vaezoo.runner import throughput as module
from vaezoo.runner.throughput import matmul_peak, throughput

NET = {"model": {"latent": 3, "hidden": [7]}}
PIXELS = 64  # of digits


def asked(**changes):
    given = {
        "settings": NET,
        "batch_sizes": [10],
        "threads": [1],
        "precisions": ["float32"],
        "pack": 1,
        "device": "cpu",
    }
    return list(throughput(["vae"], "digits-binary", **{**given, **changes}))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short rounds and small products: the measured speeds do not matter here."""
    from vaezoo.runner.machine import timing

    monkeypatch.setattr(timing, "ROUND_SECONDS", 0.001)
    monkeypatch.setattr(module, "MATMUL", {"cpu": (64,), "cuda": (512,)})


@pytest.mark.nightly
def test_a_row_for_each_work_batch_size_and_number_of_threads():
    found = asked(batch_sizes=[10, 20], threads=[1, 2], pack=2)
    rows = [(s.work, s.seeds, s.batch_size, s.threads) for s in found]
    works = [("train", 1), ("train", 2), ("iwll", 1), ("sample", 1)]
    assert rows == [(*work, batch, threads) for batch in (10, 20) for threads in (1, 2) for work in works]
    for speed in found:
        assert 0 < speed.per_second_low <= speed.per_second <= speed.per_second_high
        assert speed.cold_seconds > 0 < speed.peak_memory_bytes
        assert speed.share_of_peak == pytest.approx(speed.flops_per_second / speed.peak_flops_per_second)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    asked(threads=[before + 1])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threads": [1, 0]}, r"threads must be from 1 to \d+, the processors of this machine, got 0"),
        ({"threads": [1000000]}, r"threads must be from 1 to \d+, .*, got 1000000"),
        ({"settings": {"train": {"precision": "tf32"}}}, r"--set train\.precision has an option .*; write --precision"),
        ({"settings": {"train": {"batch_size": 3}}}, r"--set train\.batch_size has an option .*; write --batch-size"),
        ({"settings": {"train": 1}}, r"train.*expected .*, got 1"),
    ],
)
def test_wrong_options_are_one_line(changes, words):
    with pytest.raises(VaezooError, match=words):
        asked(**changes)


@pytest.mark.parametrize("library", ["torch", "onednn"])
@pytest.mark.parametrize("hidden", [7, LARGE // PIXELS])
def test_flops_are_those_of_the_products(hidden, library, monkeypatch):
    """Encoder 64-hidden, heads hidden-3 twice, decoder 3-hidden-64: 2 FLOPs a weight forward; backward twice as many
    again, but for the gradient of the images, which is not asked for.
    """
    monkeypatch.setenv("VAEZOO_PRODUCTS", library)
    weights = {"encoder": PIXELS * hidden, "heads": 2 * hidden * 3, "decoder": 3 * hidden + hidden * PIXELS}
    forward = 2 * sum(weights.values())
    net = {"model": {"latent": 3, "hidden": [hidden]}}
    found = {(s.work, s.seeds): s.flops_per_second / s.per_second for s in asked(settings=net, pack=3)}
    step = 3 * forward - 2 * weights["encoder"]
    assert found["train", 1] == pytest.approx(step)
    assert found["train", 3] == pytest.approx(step)
    assert found["sample", 1] == pytest.approx(2 * weights["decoder"])
    encoded = 2 * (weights["encoder"] + weights["heads"]) / 250
    assert found["iwll", 1] == pytest.approx(2 * weights["decoder"] + encoded)


def test_flops_of_products_by_a_loop_count_like_any_others():
    """Also those of images that are mostly 0."""
    x, weight, grad = torch.zeros(10, 40), torch.zeros(50, 40), torch.zeros(10, 50)

    def work():
        sparse_product.OPERATORS[0](x, weight.t().contiguous().t(), None)
        sparse_product.OPERATORS[1](grad, x)
        dense_product.multiplied(x, weight)
        return 10

    pytest.importorskip("numba")
    assert module._flops_an_item(work) == 3 * 2 * 40 * 50


def test_what_cannot_be_is_a_row_with_its_reason():
    [speed] = asked(precisions=["tf32"])
    assert speed.per_second is None
    assert "tf32" in speed.reason


def test_precision_is_what_is_timed():
    found = {s.work: s for s in asked(precisions=["bfloat16"])}
    assert set(found) == {"train", "iwll", "sample"}
    assert {s.precision for s in found.values()} == {"bfloat16"}


def test_the_peak_is_a_rate_of_multiplications(monkeypatch):
    rates = []
    monkeypatch.setattr(module, "rate", lambda work, device: (rates.append(work()), (float(len(rates)),))[1])
    monkeypatch.setattr(module, "MATMUL", {"cpu": (8, 16)})
    assert matmul_peak(torch.device("cpu"), "float32") == 4.0
    assert rates == [2 * 8**3, 2 * 8**3, 2 * 16**3, 2 * 16**3]


@pytest.mark.slow
def test_the_command_prints_a_table_or_json(shell):
    words = (
        "throughput",
        "vae",
        "--set",
        "model.hidden=[5]",
        "--set",
        "model.latent=2",
        "--pack",
        1,
        "--batch-size",
        8,
    )
    done = shell(*words, "--json", "--device", "cpu")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["work"] for row in rows] == ["train", "iwll", "sample"]
    assert {row["batch_size"] for row in rows} == {8}
    assert all(row["per_second"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("vea",), "'vea' is unknown; did you mean 'vae'"),
        (("prior/normal",), "`throughput` takes a variant, and 'prior/normal' is a prior"),
        (("vae", "--precision", "float23"), "float32"),
        (("vae", "--set", "model.hiden=[5]"), "hidden"),
        (("vae", "--batch-size", "0"), "batch_size: expected a whole number >= 1, got 0"),
    ],
)
def test_a_wrong_question_is_one_line(shell, words, line):
    assert line in shell.wrong("throughput", *words, "--device", "cpu")
