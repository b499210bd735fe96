"""The numbers of a table are those of scipy, and each form shows all: Markdown, CSV, LaTeX, terminal, files."""

import io
import os
import re
import subprocess
import sys

import numpy
import pandas
import pytest
from frames import IWLL, REFERENCES, TRAIN, bold, cells, framed, shown
from linear_model import linear_model
from rich.console import Console
from scipy import stats

from vaezoo.core.columns import table_columns
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.reports import formats
from vaezoo.reports.number_text import number_text
from vaezoo.reports.rows import LOWER_BOUND
from vaezoo.reports.statistics import Summary, summarise
from vaezoo.reports.tables import tables, write_tables


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
    columns = [column.to_json() for column in table_columns(found=["fid"])]
    (table,) = tables(framed(cells("vae", [-86.0]), columns=columns, settings=[]))
    assert not {"bits/dim ↓", "fid", "reconstruction (nats)", "marks"} & set(shown(table)["vae"])
    (table,) = tables(framed(cells("vae", [-86.0], fid=12.345678), columns=columns))
    assert shown(table)["vae"]["fid"] == "12.35"


def test_the_head_says_what_was_measured():
    (table,) = tables(framed(cells("a", [-86.0, -86.1, -86.2]), name="priors"))
    head = table.markdown().splitlines()
    assert head[0] == "# priors: mnist-dynamic"
    assert head[2] == "3 seeds · K = 1,000 · 10,000 test images · cpu"
    legend, data = head[head.index("## Details") + 2 :: 2]
    assert "95 % Student interval" in legend
    assert "nats per image, higher is better" in legend
    assert data == "Data: binary, binarisation dynamic, checksum 0123456789ab."


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
    assert r"{[}x{]}\_1 \& 50\% & 1 & \textbf{$-$86.00}" in text
    assert r"b\textbackslash{}c &" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1


def test_markdown_is_in_line():
    (table,) = tables(framed(cells("a", [-86.0]), cells("a longer label", [-87.0]), references=REFERENCES))
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    assert len({tuple(place for place, sign in enumerate(line) if sign == "|") for line in lines}) == 1
    sides = ["left" if heading in ("label", "seeds", "marks") else "right" for heading in table.sheets[0].headings]
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
    marks = [table.marks(row)[0] for row in table.rows]
    assert "[x]" not in marks
    assert marks[0] == "[a]"
    assert marks[25] == "[aa]"
    assert len(set(marks)) == 60


@pytest.mark.parametrize("width", [60, 100, 250])
def test_terminal_cuts_no_number(width):
    (table,) = tables(framed(cells("[b]vae", [-86.0, -86.1, -86.3]), cells("a", [-87.0] * 3), references=REFERENCES))
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(table.terminal())
    text = console.file.getvalue()
    assert "[b]vae" in text
    assert "\x1b[1m-86.13 ± 0.38" in text
    assert "…" not in text
    plain = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= width
    assert all(number in plain for number in ("-87.00", "-70.00", *["26.6k", "1,234,567"] * (width == 250)))


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
    assert number_text(summarise(values), style) == text


def test_unit_divides():
    assert number_text(Summary(2.0**21, 2.0**21, 2.0**21, 1, "single"), "count", 2**20) == "2"


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


def test_reports_need_no_torch():
    code = "import sys, vaezoo.reports.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_legend_says_what_pareto_k_is_where_it_was_measured():
    said = {}
    for name in ("pareto_k", "active_units"):
        (table,) = tables(framed(cells("a", [-9.0, -8.0], **{name: 0.8})))
        said[name] = "where it is above 0.7 the iwll is a lower bound" in " ".join(table.details)
    assert said == {"pareto_k": True, "active_units": False}


def test_the_estimators_warnings_are_one_line_under_the_table():
    known = linear_model(6, shift=3.5, images=40)
    with pytest.warns(VaezooWarning) as said:
        log_likelihood(known.model, known.x, 1000)
    old = "log_likelihood: the mean over 9 images still rises with K, by 0.3 nats from 2 to 4 and by 0.2"
    rows = cells("a", [-9.0, -8.0], warnings=f"{said[0].message}\nanother warning")
    frame = framed(rows, cells("b", [-9.0, -7.0], warnings=old), cells("c", [-7.0, -6.0], warnings=None))
    (table,) = tables(frame)
    assert table.notes == [f"[a] {LOWER_BOUND}", "[b] another warning"]
    assert [shown(table)[label]["marks"] for label in "abc"] == ["[a] [b]", "[a]", ""]
