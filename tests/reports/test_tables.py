import io
import math
import os
import re
import subprocess
import sys
import time

import numpy
import pandas
import pytest
from rich.console import Console
from scipy import stats

from vaezoo.core.errors import VaezooError
from vaezoo.reports import formats
from vaezoo.reports.statistics import Summary, summarise
from vaezoo.reports.tables import tables, write_tables

MEASURED = {
    "importance_samples": 1000,
    "measure": "binary",
    "binarisation": "dynamic",
    "checksum": "0123456789abcdef" * 4,
    "split": "test",
    "images": 10000,
    "estimator": "iwll",
    "conditional": False,
    "pseudo_likelihood": False,
    "device": "cpu",
    "precision": "float32",
}
COSTS = {
    "train_images_per_second": 26600.0,
    "iwll_samples_per_second": 1.23e6,
    "peak_memory_bytes": 812 * 2**20,
    "parameters": 1234567,
}


def cells(label, iwll, *, dataset="mnist-dynamic", failed=(), **others):
    """The frame's rows of one variant: a cell for each value of `iwll`, then one for each (status, reason)."""
    rows = []
    for seed, value in enumerate([*iwll, *failed]):
        row = {"label": label, "variant": label, "dataset": dataset, "seed": seed, "status": "ok", "reason": None}
        if seed < len(iwll):
            row |= {"iwll": value, "elbo": value - 4, "kl": 25.0, **COSTS, **MEASURED, **others}
        else:
            row |= {"status": value[0], "reason": value[1]}
            row |= {name: setting for name, setting in others.items() if "." in name}
        rows.append(row)
    return rows


def framed(*parts, **attrs):
    frame = pandas.DataFrame([row for part in parts for row in part])
    frame.attrs.update(attrs)
    return frame


def shown(table):
    """The Markdown table's cells: label -> heading -> text."""
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0]: dict(zip(split[0], row, strict=True)) for row in split[2:]}


def bold(table):
    """What is in bold: (label, heading)."""
    cells = shown(table)
    return {(label, heading) for label, row in cells.items() for heading, text in row.items() if text.startswith("**")}


IWLL, ELBO, TRAIN = "iwll (nats) ↑", "elbo (nats) ↑", "train images/s ↑"


def test_numbers_are_those_of_scipy():
    values = [-86.51, -86.30, -86.15]
    (table,) = tables(framed(cells("vae", values)))
    half = stats.t.ppf(0.975, 2) * stats.sem(values)
    assert shown(table)["vae"][IWLL] == f"{numpy.mean(values):.2f} ± {half:.2f}" == "-86.32 ± 0.45"
    row = table.frame().iloc[0]
    assert (row.iwll_low, row.iwll_high) == pytest.approx((numpy.mean(values) - half, numpy.mean(values) + half))


def test_costs_are_short():
    (table,) = tables(framed(cells("vae", [-86.0, -86.1, -86.2])))
    row = shown(table)["vae"]
    assert (row[TRAIN], row["iwll samples/s ↑"]) == ("26.6k", "1.23M")
    assert (row["peak memory (MiB)"], row["parameters"], row["seeds"]) == ("812", "1,234,567", "3")


def test_columns_without_numbers_are_dropped():
    (table,) = tables(framed(cells("vae", [-86.0]), metrics=["fid"], settings=[]))
    assert not {"bits/dim ↓", "fid", "reconstruction (nats)", "marks"} & set(shown(table)["vae"])
    (table,) = tables(framed(cells("vae", [-86.0], fid=12.345678), metrics=["fid"]))
    assert shown(table)["vae"]["fid"] == "12.35"


def test_best_is_bold_and_nothing_else():
    frame = framed(
        cells("low", [-87.0, -87.2], train_images_per_second=3e4, bits_per_dim=2.0),
        cells("high", [-86.0, -86.2], bits_per_dim=3.0),
    )
    (table,) = tables(frame)
    best = {("high", IWLL), ("high", ELBO), ("low", "bits/dim ↓"), ("low", TRAIN)}
    assert bold(table) == best
    assert table.latex().count(r"\textbf{") == 4
    assert all(row.ranked for row in table.rows)


def test_nothing_is_bold_alone_or_where_all_are_equal():
    (table,) = tables(framed(cells("vae", [-86.0, -86.1])))
    assert not bold(table)
    assert not table.rows[0].ranked
    (table,) = tables(framed(cells("a", [-86.0]), cells("b", [-86.0])))
    assert not bold(table)


def test_infinite_is_never_best():
    (table,) = tables(framed(cells("a", [math.inf]), cells("b", [-86.0]), cells("c", [-87.0])))
    assert bold(table) == {("b", IWLL), ("b", ELBO)}
    assert shown(table)["a"][IWLL] == "inf"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("checksum", "f" * 64, "checksum is ffffffffffff, the ranked rows have 0123456789ab"),
        ("binarisation", "static", "binarisation is static, the ranked rows have dynamic"),
        ("binarisation", None, "binarisation is not given, the ranked rows have dynamic"),
        ("measure", "discrete", "measure is discrete, the ranked rows have binary"),
        ("split", "valid", "split is valid, the ranked rows have test"),
        ("images", 500, "images is 500, the ranked rows have 10000"),
        ("conditional", True, "conditional is True, the ranked rows have False"),
    ],
)
def test_unlike_measurements_are_not_ranked(name, value, words):
    odd = cells("odd", [-80.0, -80.1], **{name: value})
    (table,) = tables(framed(odd, cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1])))
    assert {pair for pair in bold(table) if pair[1] in (IWLL, ELBO)} == {("a", IWLL), ("a", ELBO)}
    assert shown(table)["odd"]["marks"] == "[a]"
    assert f"- [a] not ranked: {words}\n" in table.markdown()
    assert [row.ranked for row in table.rows] == [False, True, True]


@pytest.mark.parametrize(("name", "value"), [("importance_samples", 50), ("estimator", "ais")])
def test_another_estimate_leaves_the_elbo_ranked(name, value):
    odd = cells("odd", [-80.0, -80.1], **{name: value})
    (table,) = tables(framed(cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1]), odd))
    assert bold(table) == {("a", IWLL), ("odd", ELBO)}
    wanted = f"- [a] iwll not ranked: {name} is {value}, the ranked rows have {MEASURED[name]}\n"
    assert wanted in table.markdown()


def test_first_of_equal_groups_is_named():
    (table,) = tables(framed(cells("a", [-86.0]), cells("b", [-80.0], importance_samples=50)))
    assert bold(table) == {("b", ELBO)}
    assert "[a] iwll not ranked: importance_samples is 50, a has 1000" in table.notes


def test_seeds_that_disagree_are_not_ranked():
    mixed = cells("mixed", [-80.0, -80.1])
    mixed[1]["importance_samples"] = 50
    (table,) = tables(framed(mixed, cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1])))
    assert "[a] iwll not ranked: importance_samples is 1000 and 50 over its seeds" in table.notes
    assert ("a", IWLL) in bold(table)


def test_pseudo_likelihoods_are_not_ranked():
    pseudo = cells("pseudo", [900.0], pseudo_likelihood=True, train_images_per_second=9e9)
    (table,) = tables(framed(pseudo, cells("a", [-86.0]), cells("b", [-87.0])))
    assert bold(table) == {("a", IWLL), ("a", ELBO), ("pseudo", TRAIN)}
    assert table.notes == ["[a] pseudo-likelihood (a density of other values than these images): not ranked"]
    assert table.frame().pseudo_likelihood.tolist() == [True, False, False]
    (table,) = tables(framed(pseudo, cells("p", [901.0], pseudo_likelihood=True)))
    assert not {IWLL, ELBO} & {heading for _, heading in bold(table)}


def test_speeds_are_ranked_on_one_device():
    fast = cells("fast", [-88.0], device="NVIDIA H200", train_images_per_second=1e6)
    slow = cells("slow", [-87.0], train_images_per_second=1e4)
    (table,) = tables(framed(fast, cells("a", [-86.0]), slow))
    assert bold(table) == {("a", IWLL), ("a", ELBO), ("a", TRAIN)}
    assert table.notes == ["[a] speeds not ranked: device is NVIDIA H200, the ranked rows have cpu"]


def test_fewer_seeds_are_no_reason_to_look_better():
    short = cells("short", [-80.0, -80.1], failed=[("diverged", "loss is NaN at step 812")])
    (table,) = tables(framed(short, cells("a", [-86.0] * 3), cells("b", [-87.0] * 3)))
    row = shown(table)["short"]
    assert row["seeds"] == "2 of 3 (1 diverged)"
    assert row[IWLL] == "-80.10 .. -80.00"
    assert bold(table) == {("a", IWLL), ("a", ELBO)}
    assert table.notes == [
        "[a] seed 2 diverged: loss is NaN at step 812",
        "[b] not ranked: 2 ok seeds where others have 3",
    ]
    assert table.frame()[["seeds", "seeds_planned", "status"]].iloc[0].tolist() == [2, 3, "2 ok, 1 diverged"]


def test_a_number_that_some_seeds_lack_is_not_ranked():
    part = cells("part", [-80.0, math.nan, -80.2])
    (table,) = tables(framed(part, cells("a", [-86.0] * 3), cells("b", [-87.0] * 3)))
    assert bold(table) == {("a", IWLL), ("a", ELBO)}
    assert "[a] iwll not ranked: 2 of 3 seeds have it" in table.notes


def test_numbers_of_cells_that_are_not_ok_do_not_count():
    rows = cells("vae", [-86.0, -86.2, -10.0])
    rows[2] |= {"status": "interrupted", "reason": "stopped by the user"}
    (table,) = tables(framed(rows))
    assert shown(table)["vae"][IWLL] == "-86.20 .. -86.00"


def test_failed_rows_stand_with_status_and_reason():
    reason = "ValueError: log_prior must be\n [L=1]" + " and so on" * 50
    broken = cells("broken", [], failed=[("failed", reason)] * 2)
    waiting = cells("waiting", [], failed=[("missing", math.nan)] * 2)
    (table,) = tables(framed(cells("a", [-86.0] * 2), broken, waiting, cells("b", [-87.0] * 2)))
    assert list(shown(table)) == ["a", "broken", "waiting", "b"]
    assert shown(table)["broken"]["seeds"] == "0 of 2 (2 failed)"
    assert shown(table)["broken"][IWLL] == ""
    assert shown(table)["waiting"]["seeds"] == "0 of 2 (2 missing)"
    (note,) = table.notes
    assert note.startswith("[a] failed: ValueError: log_prior must be [L=1] and so on")
    assert len(note) < 140
    assert table.frame().reason[1] == " ".join(reason.split())


def test_a_matrix_where_all_failed_has_its_table():
    (table,) = tables(
        framed(cells("a", [], failed=[("oom", "CUDA out of memory")]), cells("b", [], failed=[("oom", "")]))
    )
    assert [column.name for column in table.columns] == []
    assert shown(table)["a"] == {"label": "a", "seeds": "0 of 1 (1 oom)", "marks": "[a]"}
    assert r"\begin{tabular}{lll}" in table.latex()


def test_unequal_settings_are_marked():
    several = {"train.epochs": 200, "model.latent": 10}
    frame = framed(
        cells("a", [-86.0], **several),
        cells("b", [-85.0], **several | {"train.epochs": 400, "model.latent": 40}),
        cells("c", [-87.0], **several),
        settings=["train.epochs", "model.latent"],
    )
    (table,) = tables(frame)
    assert table.notes == ["[a] train.epochs = 400 (others 200)"]
    assert shown(table)["b"]["marks"] == "[a]"
    assert ("b", IWLL) in bold(table)
    assert table.frame()["model.latent"].tolist() == [10, 40, 10]


def test_settings_without_their_attribute_or_value():
    frame = framed(cells("a", [-86.0]), cells("b", [-86.0]), cells("c", [-87.0], **{"train.warm_up": [1, 2]}))
    (table,) = tables(frame)
    assert table.notes == ["[a] train.warm_up = [1, 2] (others not given)"]


def test_first_images_only_is_said():
    subset = {"images": 1000, "evaluate.images": 1000}
    (table,) = tables(framed(cells("a", [-86.0], **subset), cells("b", [-87.0], **subset)))
    assert table.notes == ["on the first 1,000 test images"]
    (table,) = tables(framed(cells("a", [-86.0]), cells("b", [-87.0]), cells("c", [-80.0], **subset)))
    assert [note[4:] for note in table.notes] == [
        "not ranked: images is 1000, the ranked rows have 10000",
        "on the first 1,000 test images",
    ]
    frame = framed(cells("a", [-86.0], images=1000))
    frame.attrs["evaluate.images"] = 1000
    assert tables(frame)[0].notes == ["on the first 1,000 test images"]


REFERENCES = [
    {"label": "a paper", "dataset": "mnist-dynamic", "iwll": -70.0, "source": "arXiv:1", "importance_samples": 5000},
    {"label": "elsewhere", "dataset": "omniglot", "iwll": -70.0},
]


def test_references_are_shown_and_never_ranked():
    (table,) = tables(framed(cells("a", [-86.0]), cells("b", [-87.0]), references=REFERENCES))
    assert list(shown(table)) == ["a", "b", "*from elsewhere:*", "a paper (arXiv:1, K = 5,000)"]
    assert shown(table)["a paper (arXiv:1, K = 5,000)"][IWLL] == "-70.00"
    assert bold(table) == {("a", IWLL), ("a", ELBO)}
    assert table.notes == ["references are numbers from elsewhere: shown, not ranked"]
    assert table.latex().count(r"\midrule") == 2
    last = table.frame().iloc[-1]
    assert (last.label, last.reference, last.ranked, last.iwll_mean) == ("a paper", True, False, -70.0)


def test_the_head_says_what_was_measured():
    (table,) = tables(framed(cells("a", [-86.0, -86.1, -86.2]), name="priors"))
    head = table.markdown().splitlines()
    assert head[0] == "# priors: mnist-dynamic"
    assert head[2] == (
        "3 seeds · K = 1,000 · 10,000 test images · binary data · binarisation dynamic · checksum 0123456789ab · cpu"
    )
    assert "95 % Student interval" in head[4]
    assert "nats per image, higher is better" in head[4]


def test_one_table_a_dataset_in_the_frames_order():
    frame = framed(cells("z", [-1.0], dataset="b"), cells("a", [-1.0], dataset="a"), cells("a", [-1.0], dataset="b"))
    assert [(table.dataset, [row.label for row in table.rows]) for table in tables(frame)] == [
        ("b", ["z", "a"]),
        ("a", ["a"]),
    ]
    assert tables(frame.iloc[:0]) == []


def test_csv_comes_back_as_numbers():
    frame = framed(
        cells("a", [-86.0, -86.1, -86.3], **{"train.epochs": 200}),
        cells('odd, "label"', [], failed=[("failed", "a, b\nc")] * 3, **{"train.epochs": 400}),
        references=REFERENCES,
        settings=["train.epochs"],
    )
    (table,) = tables(frame)
    read = pandas.read_csv(io.StringIO(table.csv()))
    wanted = table.frame()
    assert list(read) == list(wanted)
    assert read.label.tolist() == ["a", 'odd, "label"', "a paper"]
    for name in (name for name in read if name.endswith(("_mean", "_low", "_high"))):
        assert read[name].dtype.kind == "f"
        numpy.testing.assert_allclose(read[name], wanted[name], rtol=1e-14)
    for name in ("seeds", "seeds_planned", "importance_samples", "images", "train.epochs"):
        assert read[name].dtype.kind in "if"
    assert all(read[name].dtype == bool for name in ("ranked", "reference", "pseudo_likelihood"))


def test_latex_is_escaped():
    assert formats.escape_latex("a_b & 5% #1 ~ {x} [c] ±") == (r"a\_b \& 5\% \#1 \textasciitilde{} \{x\} {[}c{]} $\pm$")
    assert formats.escape_latex("-86.4 .. -86.1, beta-vae") == "$-$86.4 .. $-$86.1, beta-vae"
    (table,) = tables(framed(cells("[x]_1 & 50%", [-86.0]), cells("b\\c", [-87.0])))
    text = table.latex()
    assert r"{[}x{]}\_1 \& 50\% & \textbf{$-$86.00}" in text
    assert r"b\textbackslash{}c &" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1


def test_markdown_is_in_line():
    (table,) = tables(framed(cells("a", [-86.0]), cells("a longer label", [-87.0]), references=REFERENCES))
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    assert len({tuple(place for place, sign in enumerate(line) if sign == "|") for line in lines}) == 1
    sides = ["left" if heading in ("label", "seeds", "marks") else "right" for heading in table.sheet.headings]
    for rule, side in zip(lines[1].strip("|").split("|"), sides, strict=True):
        assert re.fullmatch(":-{3,}" if side == "left" else "-{3,}:", rule)


def test_markdown_is_escaped():
    (table,) = tables(framed(cells("a|b *c* _d_ e_f", [-86.0]), cells("b", [-87.0])))
    assert r"a\|b \*c\* \_d\_ e_f" in table.markdown()
    assert ("b", "seeds") not in bold(table)
    assert len(shown(table)) == 2


def test_no_mark_is_a_ticked_box():
    parts = [cells(f"v{n}", [], failed=[("failed", f"reason {n}")]) for n in range(60)]
    (table,) = tables(framed(*parts))
    marks = [row.marks[0] for row in table.rows]
    assert "[x]" not in marks
    assert marks[0] == "[a]"
    assert marks[25] == "[aa]"
    assert len(set(marks)) == 60


@pytest.mark.parametrize("width", [60, 100, 250])
def test_terminal_shows_every_number(width):
    (table,) = tables(framed(cells("[b]vae", [-86.0, -86.1, -86.3]), cells("a", [-87.0] * 3), references=REFERENCES))
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(table.terminal())
    text = console.file.getvalue()
    assert "[b]vae" in text
    assert "\x1b[1m-86.13 ± 0.38" in text
    assert "…" not in text
    plain = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= width
    assert all(number in plain for number in ("-87.00", "26.6k", "1,234,567", "-70.00"))


@pytest.mark.parametrize(
    ("values", "style", "text"),
    [
        ([-86.4, -86.1], "nats", "-86.40 .. -86.10"),
        ([-86.4], "nats", "-86.40"),
        ([0.0, 0.0], "nats", "0.00"),
        ([-0.001], "nats", "0.00"),
        ([3.21234, 3.21236, 3.21238], "bits", "3.212360 ± 0.000050"),
        ([20.0, 21.0], "count", "20 .. 21"),
        ([20.0, 21.0, 21.0], "count", "20.7 ± 1.4"),
        ([26600.0, 26650.0, 26700.0], "speed", "26.6k ± 0.1k"),
        ([999.7], "speed", "1.00k"),
        ([812.34], "speed", "812"),
        ([0.123456], "plain", "0.1235"),
        ([1e-9], "plain", "1e-09"),
        ([0.1 + 0.2, 0.3, 0.3], "plain", "0.3000"),
        ([], "nats", ""),
    ],
)
def test_numbers_as_text(values, style, text):
    assert formats.number(summarise(values), style) == text


def test_unit_divides():
    assert formats.number(Summary(2.0**21, 2.0**21, 2.0**21, 1, "single"), "count", 2**20) == "2"


def test_files_have_safe_names_and_are_whole(tmp_path, monkeypatch):
    names = ["linear-gaussian(dimensions=8)", "linear-gaussian[dimensions=8]", "../etc"]
    frame = framed(*(cells("vae", [-1.0], dataset=name) for name in names))
    folder = tmp_path / "new" / "tables"
    paths = write_tables(frame, folder)
    stems = ["linear-gaussian-dimensions-8", "linear-gaussian-dimensions-8-2", "etc"]
    assert paths == [folder / f"{stem}.{ending}" for stem in stems for ending in ("md", "csv", "tex")]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == tables(frame)[0].markdown()

    def no(*_):
        raise OSError("disk full")

    before = paths[0].read_text(encoding="utf-8")
    monkeypatch.setattr(os, "replace", no)
    with pytest.raises(OSError, match="disk full"):
        write_tables(frame, folder)
    assert sorted(folder.iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == before


def test_wrong_frames_are_refused():
    with pytest.raises(VaezooError, match="it lacks label, status"):
        tables(pandas.DataFrame({"dataset": ["a"]}))
    with pytest.raises(VaezooError, match="cell 'a' on 'mnist-dynamic' with seed 0 is there twice"):
        tables(framed(cells("a", [-1.0]), cells("a", [-1.0])))


def test_nullable_columns_are_read():
    frame = framed(cells("a", [-86.0, -86.2]), cells("b", [], failed=[("failed", "why")] * 2)).convert_dtypes()
    assert shown(tables(frame)[0])["a"][IWLL] == "-86.20 .. -86.00"


@pytest.mark.parametrize("labels", [2_000, 10_000])
def test_ten_thousand_cells_take_seconds(labels):
    """Of processor time, as other programs may be at work too."""
    count = 10_000
    draws = numpy.random.default_rng(0)
    frame = pandas.DataFrame(
        {"label": [f"v{n % labels}" for n in range(count)], "seed": [n // labels for n in range(count)]}
    )
    frame = frame.assign(dataset="d", status="ok", **MEASURED)
    for name in ("iwll", "elbo", "kl", "reconstruction", "active_units", *COSTS, "train_seconds"):
        frame[name] = draws.normal(size=count)
    frame["importance_samples"] = 50 + frame.index % 2
    frame["train.learning_rate"] = frame.index % 2000
    start = time.process_time()
    (table,) = tables(frame)
    assert len(table.rows) == labels
    assert len(table.markdown()) + len(table.csv()) + len(table.latex()) > count
    assert time.process_time() - start < 5


def test_reports_need_no_torch():
    code = "import sys, vaezoo.reports.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
