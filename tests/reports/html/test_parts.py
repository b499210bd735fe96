"""The numbers of a report: budgets, curves, strips, commands, the gap of AIS, PNG grids."""

import base64
import io
import math
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from folders import write
from PIL import Image
from result_folders import a_cell_with_all, some_pictures

from vaezoo.core.visible_text import visible
from vaezoo.reports.html.commands import pattern, reproducing, shell_line
from vaezoo.reports.html.curves import Budget, at_budget, budget, curve
from vaezoo.reports.html.estimator import ais_gap
from vaezoo.reports.html.folders import read_folders, short_names
from vaezoo.reports.html.pictures import grid, pictures_of
from vaezoo.reports.html.strips import Difference, strips
from vaezoo.reports.html.vectors import spectrum
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store


def seed(iwll, seconds, **others):
    """A cell that is ok, with this history."""
    history = {"validation_iwll": iwll, "seconds": seconds}
    return SimpleNamespace(is_ok=True, record=SimpleNamespace(history=history, **others))


def test_equal_epochs_and_equal_seconds():
    quick = [seed([-9.0, -5.0], [1.0, 2.0]), seed([-8.0, -6.0], [1.0, 2.5])]
    slow = [seed([-7.0, -3.0, -4.0], [2.0, 4.0, 6.0])]
    found = budget([quick, slow, []])
    assert found == Budget(2, 2.5)
    assert [each.mean for each in at_budget(slow, found)] == [-3.0, -7.0, -3.0]  # the best so far
    assert [each.mean for each in at_budget(quick, found)] == [-5.5, -5.5, -5.5]
    assert budget([quick, []]) is None
    late = [seed([None, None, -2.0], [1.0, 2.0, 3.0])]
    assert [each.count for each in at_budget(late, found)] == [0, 0, 1]


def test_a_curve_is_the_mean_and_the_ends_as_far_as_all_seeds_came():
    found = curve([seed([-9.0, -5.0, -1.0], [1, 2, 3]), seed([-7.0, None], [3, 4])])
    assert (found["epochs"], found["seconds"], found["seeds"]) == ([1, 2], [2.0, 3.0], 2)
    assert found["validation_iwll"] == [[-8.0, -5.0], [-9.0, -5.0], [-7.0, -5.0]]
    assert len(curve([seed([0.0] * 1000, [1.0] * 1000)])["epochs"]) == 60
    assert curve([]) is None


def test_a_spectrum_is_sorted_and_without_fillers():
    cells = [
        seed([], [], vectors={"kl": [[3.0, 1.0], [2.0, None]]}),
        seed([], [], vectors={"kl": [[1.0, 1.0], [4.0, None]]}),
    ]
    assert spectrum(cells, "kl") == [[3.5, 1.5, 1.0], [3.0, 1.0, 1.0], [4.0, 2.0, 1.0]]
    assert spectrum([seed([], [], vectors={"kl": {"a": "b"}})], "kl") is None


def test_strips_keep_their_order_and_cut_what_is_far():
    given = [(0.0, 0.0, 0.0), (-1.0, -4.0, 2.0), (-2.0, -2.5, -1.5), (-1e9, -1e10, 1e10), (-0.5, -math.inf, math.inf)]
    made, zero = strips([Difference("a", "", "", "", "alike", *each) for each in given])
    places = [each.place for each in made]
    assert places[0] == zero
    assert places[3] == 0 < places[2] < places[1] < places[4] < zero < 1
    assert [each.cut_low for each in made] == [False, True, False, True, True]
    assert made[2].low < made[2].place < made[2].high


@pytest.mark.parametrize("label", ["vae", "a*b", "[x]?", "it's; rm -rf /"])
def test_the_command_reproduces_this_row_alone(label):
    words = ("vaezoo", "run", "m.toml", "--only=vae*", "--jobs", "2", "--out", "there", "--force", "--report")
    plan = SimpleNamespace(dataset="digits, limit=5")
    cell = SimpleNamespace(plan=plan, record=SimpleNamespace(provenance=SimpleNamespace(command=words)))
    import shlex

    [command] = reproducing([cell, cell], label)
    found = shlex.split(command)
    assert found == ["vaezoo", "run", "m.toml", "--jobs", "2", *found[5:]]
    assert found[5:] == ["--only", pattern(label), "--dataset", "digits, limit=5", "--out", "reproduced"]
    chosen = Selection(rows=(pattern(label),))
    specification = SimpleNamespace(dataset=SimpleNamespace(name="digits"))
    fits = [
        SimpleNamespace(label=each, variant="vae", dataset="d", specification=specification)
        for each in (label, "axb", "x1")
    ]
    assert [chosen.chooses(each) for each in fits] == [True, False, False]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
def test_a_shell_reads_the_words_of_a_copied_command():
    words = [
        "vaezoo",
        "it's",
        "a\nb",
        "\x1b[31m it's \\x41 $HOME",
        "\u202egnp é\u2028😀",
        "\x9b0",
        "\udcff",
        "a\u200db",
    ]
    text = shell_line(words)
    assert visible(text) == text
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {text}"], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split(b"\0")[:-1] == [word.encode("utf-8", "surrogateescape") for word in words]
    assert visible(shell_line(["\ud800"])) == shell_line(["\ud800"])  # half of a pair, which no shell can give


def test_the_gap_of_ais_is_paired_over_images(tmp_path):
    cell, record = a_cell_with_all("vae", 0, -80.0)
    folder = write(tmp_path / "made", [(cell, record)])
    store = Store(folder)
    iwll = np.linspace(-90, -70, 50)
    store.write_images(cell.stem, {"iwll": iwll, "ais": iwll[:20] + 0.5 + 0.01 * np.sin(np.arange(20))})
    store.write(cell, replace(record, files={}))
    [cells] = read_folders([folder]).cells.values()
    found = ais_gap(cells, store)
    assert found.count == 20
    assert 0.49 < found.low < 0.5 < found.high < 0.51  # iwll itself varies by 20 nats


def test_titles_are_the_shortest_different_ends():
    assert short_names([("r", "a"), ("r", "b")]) == ("a", "b")
    assert short_names([("x", "a"), ("y", "a")]) == ("x/a", "y/a")
    assert short_names([("r", "a")]) == ("a",)


def test_a_grid_holds_every_pixel_of_every_image():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 1), dtype=np.uint8)
    made = grid(images, 2)
    assert made.shape == (14, 7, 2)
    assert (made[5:9, 4:7, 0] == images[3, :, :, 0]).all()
    assert made[..., 1].sum() == 255 * images.size  # the rest is transparent


def test_pictures_are_png_of_their_own_size_with_words():
    found = pictures_of(vars(some_pictures()), "a <label>")
    assert [each.name for each in found] == ["Samples", "Reconstructions", "Interpolations", "Traversals", "Latent map"]
    again = pictures_of(vars(some_pictures()), "a <label>")
    assert [each.png for each in again] == [each.png for each in found]
    for each in found:
        with Image.open(io.BytesIO(base64.b64decode(each.png))) as image:
            assert each.width % image.width == each.height % image.height == 0
        assert "a <label>" in each.alt
    assert [name for name, _ in found[-1].legend] == ["0", "1", "2", "3"]
