"""Tables from results folders: what is bold is paired over the values of each image, and the legend says what it is."""

import math
import re
from dataclasses import replace

import numpy
import pytest
from folders import a_record, rows, timing, write
from frames import IWLL, TRAIN, bold, cells, framed

from vaezoo.cli.display import best_lines
from vaezoo.core.columns import QUALITY
from vaezoo.core.errors import VaezooWarning
from vaezoo.reports.images import ImageValues
from vaezoo.reports.tables import tables
from vaezoo.runner.records import DataFacts
from vaezoo.runner.results import read_results

IMAGES = numpy.random.default_rng(0).normal(-86, 20, 100)
NOISE = numpy.random.default_rng(1).normal(0, 0.1, 100)


def stored(folder, values, *, seeds=None, results=None, data=None):
    """A results folder: label -> the iwll of each image, a list of them for several seeds."""
    records, images = [], {}
    for label, found in values.items():
        for place, each in enumerate(found):
            seed = (seeds or {}).get(label, range(9))[place]
            images[label, seed] = each.astype(numpy.float32)
            number = float(images[label, seed].mean(dtype=float))
            cell, record = a_record(label, seed, {"iwll": number} | (results or {}))
            records.append((cell, replace(record, data=data)))
    return write(folder, records, images)


def iwll_bold(table):
    return {label for label, heading in bold(table) if heading == IWLL}


def legend(table):
    return " ".join(table.details)


def test_one_seed_is_compared_over_the_test_images_and_the_legend_says_what_that_covers(tmp_path):
    """0.1 nats are told apart where every image agrees, though the images vary by 20 nats."""
    values = {"a": [IMAGES], "b": [IMAGES - 0.1 + NOISE], "c": [IMAGES + 0.001 * NOISE]}
    frame = read_results(stored(tmp_path / "r", values))
    (table,) = tables(frame)
    assert iwll_bold(table) == {"a", "c"}
    assert "One seed is compared over the test images alone: bold speaks of these trained models" in legend(table)
    row = table.frame().set_index("label").loc["b"]
    assert not row.iwll_best
    assert row.iwll_gap_low < -0.1 < row.iwll_gap_high < 0
    frame.attrs.pop("folder")
    (table,) = tables(frame)
    assert iwll_bold(table) == {"a", "b", "c"}
    assert "iwll (nats): too few seeds (1) to tell any rows apart, and no values of each image." in legend(table)


def test_seeds_that_agree_do_not_hide_that_the_images_are_few(tmp_path):
    """Each seed says that `b` is 0.3 nats worse; over other images it might not be."""
    noise = numpy.random.default_rng(2).normal(0, 3, 100)
    shifts = [0.30, 0.31, 0.29]
    values = {"a": [IMAGES] * 3, "b": [IMAGES - shift + noise - noise.mean() for shift in shifts]}
    frame = read_results(stored(tmp_path / "r", values))
    (table,) = tables(frame)
    assert iwll_bold(table) == {"a", "b"}
    frame.attrs.pop("folder")
    (table,) = tables(frame)
    assert iwll_bold(table) == {"a"}
    assert "Without values of each image the seeds alone decide" in legend(table)


def test_two_rows_a_thousandth_apart_with_intervals_of_a_nat_are_both_bold():
    table = tables(framed(cells("a", [-86.4, -85.9, -85.7]), cells("b", [-85.901, -85.7, -86.402])))[0]
    assert iwll_bold(table) == {"a", "b"}
    assert "Bold is every number that cannot be told from the best of the rows that are ranked together" in legend(
        table
    )
    assert "rows that are equally good are all bold in 95 of 100 tables" in legend(table)
    found = re.search(
        r"iwll \(nats\): too few seeds \(3\) to tell the other bold rows from a; their differences to it are uncertain "
        r"by up to (\d+\.\d+)\.",
        legend(table),
    )
    gap = table.frame().set_index("label").loc["b"]
    assert float(found[1]) == pytest.approx((gap.iwll_gap_high - gap.iwll_gap_low) / 2, abs=0.01)
    assert (gap.iwll_gap, math.isnan(table.frame().iwll_gap[0])) == (pytest.approx(-0.001), True)


def test_enough_seeds_are_not_called_too_few():
    values = numpy.random.default_rng(0).normal(-86, 0.3, (2, 6)).tolist()
    table = tables(framed(*(cells(label, found) for label, found in zip("ab", values, strict=True))))[0]
    assert iwll_bold(table) == {"a", "b"}
    assert "too few seeds" not in legend(table)


def test_rows_with_other_seeds_are_compared_on_the_images_of_the_seed_that_they_share(tmp_path):
    values = {"a": [IMAGES, IMAGES + 1], "b": [IMAGES + 0.5 + NOISE, IMAGES - 9]}
    (table,) = tables(read_results(stored(tmp_path / "r", values, seeds={"a": (0, 1), "b": (1, 2)})))
    assert iwll_bold(table) == {"a"}
    assert table.notes == ["[a] iwll compared on seed 1 alone, which it shares with a"]


@pytest.mark.parametrize(("measure", "levels", "added"), [("binary", None, 0.0), ("continuous", 17, math.log2(17))])
def test_bits_are_ranked_like_the_iwll_that_they_are(tmp_path, measure, levels, added):
    """Also where images were dequantised, whose bits have log2(levels) added and whose iwll may be near 0."""
    scale, iwll = -1 / (64 * math.log(2)), IMAGES + (84 if levels else 0)
    data = DataFacts((1, 8, 8), measure, levels, "none", None, 9)
    folder = stored(tmp_path / "r", {"a": [iwll], "b": [iwll - 0.1 + NOISE], "c": [iwll + 0.01 * NOISE]}, data=data)
    frame = read_results(folder)
    frame["bits_per_dim"] = frame.iwll * scale + added
    (table,) = tables(frame)
    assert {label for label, heading in bold(table) if heading == "bits/dim ↓"} == {"a", "c"} == iwll_bold(table)
    shown = table.frame()
    assert shown.bits_per_dim_gap_low[1] == pytest.approx(shown.iwll_gap_high[1] * scale)


def test_values_that_are_not_those_of_the_frame_are_not_used(tmp_path):
    """A frame whose numbers or labels were changed, or whose folder has gone, is compared over its seeds."""
    folder = stored(tmp_path / "r", {"a": [IMAGES], "b": [IMAGES - 0.1 + NOISE]})
    frame = read_results(folder)
    assert iwll_bold(tables(frame)[0]) == {"a"}
    changed = frame.assign(iwll=frame.iwll.add([0.0, 0.05]))
    assert iwll_bold(tables(changed)[0]) == {"a", "b"}
    assert iwll_bold(tables(frame.assign(label=["x", "y"]))[0]) == {"x", "y"}
    folder.rename(tmp_path / "moved")
    assert iwll_bold(tables(frame)[0]) == {"a", "b"}


def test_damaged_values_are_named_and_left_out(tmp_path):
    folder = stored(tmp_path / "r", {"a": [IMAGES], "b": [IMAGES - 0.1 + NOISE]})
    frame = read_results(folder)
    path = next((folder / "cells").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(VaezooWarning, match=re.escape(path.name) + ".*; the rankings do without"):
        (table,) = tables(frame)
    assert iwll_bold(table) == {"a", "b"}


def test_each_file_is_read_once_for_all_columns(tmp_path, monkeypatch):
    folder = stored(tmp_path / "r", {"a": [IMAGES], "b": [IMAGES - 1]})
    frame, read = read_results(folder), []
    monkeypatch.setattr(ImageValues, "_read", lambda self, *cell: read.append(cell) or {"iwll": IMAGES, "elbo": IMAGES})
    frame["elbo"] = frame["bits_per_dim"] = frame.iwll
    tables(frame)
    assert sorted(read) == [("digits", "a", 0), ("digits", "b", 0)]


def test_speeds_are_bold_within_five_percent_or_where_their_quartiles_overlap(tmp_path):
    speeds = {"fast": (1000.0, 0.01), "near": (960.0, 0.001), "wide": (900.0, 0.12), "slow": (900.0, 0.01)}
    records = [record for label in speeds for record in rows(label, [-86.0, -86.1])]
    records += [timing(label, speed, spread=spread) for label, (speed, spread) in speeds.items()]
    frame = read_results(write(tmp_path / "r", records))
    (table,) = tables(frame)
    assert {label for label, heading in bold(table) if heading == TRAIN} == {"fast", "near", "wide"}
    assert "Bold speeds are within 5 % of the fastest, or their quartiles overlap." in legend(table)
    assert table.frame().train_images_per_second_best.tolist() == [True, True, True, False]
    (table,) = tables(frame[frame.label != "slow"])
    assert not {label for label, heading in bold(table) if heading == TRAIN}


def test_the_best_row_of_a_run_and_how_many_are_as_good():
    parts = [cells("a", [-86.0, -86.4]), cells("b", [-85.9, -86.3]), cells("c", [-86.2, -86.1])]
    best = tables(framed(*parts, cells("d", [-95.0, -95.1])))
    assert best_lines(best) == [
        "best on mnist-dynamic: b, iwll -86.10 nats (-86.30 to -85.90); 2 rows cannot be told from it"
    ]
    assert best_lines(tables(framed(*parts[:1]))) == []


def test_columns_without_a_direction_have_no_place():
    assert {column.name for column in QUALITY if column.ranked_by} == {"iwll", "elbo", "bits_per_dim"}
    (table,) = tables(framed(cells("a", [-86.0] * 2), cells("b", [-87.0] * 2)))
    compared = {name for name in table.frame() if name.endswith(("_best", "_gap"))}
    assert compared == {"iwll_best", "iwll_gap", "elbo_best", "elbo_gap"}


def test_rows_with_the_same_numbers_are_not_said_to_lack_seeds():
    (table,) = tables(framed(cells("a", [-80.0, -81.0, -80.5]), cells("b", [-80.0, -81.0, -80.5])))
    assert len(table.ranking.bold) >= 2
    assert not any("too few seeds" in line and "iwll (nats)" in line for line in table.details)
