"""A metric's columns reach the table as it declares them, and a metric that declares none works."""

import dataclasses
import io
import json
import re

import numpy
import pandas
import pytest
from frames import bold, cells, framed, shown

import vaezoo
from vaezoo.api import plan_of
from vaezoo.core.columns import COSTS, QUALITY, TIMED, Column, declared_columns, measured_columns, table_columns
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register, registry
from vaezoo.reports.ranking import rank
from vaezoo.reports.rows import dataset_rows
from vaezoo.reports.tables import tables
from vaezoo.runner.records import Record
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store

PLUGIN = """
import vaezoo

@vaezoo.register.metric("sharpness", columns=(
    vaezoo.Column("sharpness", "sharpness (dB)", "bits", better=-1, ranked_by="data", unit=10),
    vaezoo.Column("sharpness_at_*", "at *", better=1),
    vaezoo.Column("sharpness_never"),
))
def sharpness(model, images, context):
    return {"sharpness_at_2": 2.0, "sharpness_at_1": 1.0, "sharpness": 25.0, "sharpness_never": None}

@vaezoo.register.metric("bare")
def bare(model, images, context):
    return {"bare_number": 7}
"""


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The results folder of one cell with the metrics of PLUGIN: its plan, and a record of its numbers."""
    monkeypatch.setattr(registry("metric"), "_plugins", dict(registry("metric")))
    (tmp_path / "mine.py").write_text(PLUGIN)
    register.load_file(tmp_path / "mine.py")
    matrix = {"datasets": ["digits-binary"], "seeds": 1, "variants": [{"name": "vae"}]}
    matrix |= {"plugins": [str(tmp_path / "mine.py")], "evaluate": {"metrics": ["bare", "sharpness"]}}
    plan, _ = plan_of(matrix, device="cpu")
    store = Store(tmp_path / "results")
    store.prepare()
    store.write_plan(plan.stored())
    results = {"iwll": -9.0, "bits_per_dim": 1.0, "parameters": 3}
    for name in ("bare", "sharpness"):
        found = registry("metric")[name].target(None, None, None)
        results |= {column: value for column, value in found.items() if value is not None}
    store.write(plan.cells[0], dataclasses.replace(Record.of(plan.cells[0], "ok"), results=results))
    return store.folder


def test_declared_columns_are_stored_and_shown(measured):
    frame = read_results(measured)
    assert frame.sharpness_never.isna().all()
    (table,) = tables(frame)
    row = shown(table)["vae"]
    assert (row["sharpness (dB) ↓"], row["at 1 ↑"], row["at 2 ↑"], row["bare_number"]) == ("2.500", "1", "2", "7")
    names = [column.name for column in table.columns]
    assert names.index("bits_per_dim") < names.index("sharpness") < names.index("sharpness_at_2")
    assert names.index("sharpness_at_2") < names.index("bare_number") < names.index("parameters")
    assert table.frame().sharpness_mean[0] == 25
    stored = json.loads((measured / "plan.json").read_text())["columns"]
    assert {*stored[-1], "name"} == {field.name for field in dataclasses.fields(Column)}
    assert all(Column.from_json(column).to_json() == column for column in stored)


def test_a_declared_column_ranks():
    columns = [column.to_json() for column in table_columns([Column("fid", "FID", better=-1, ranked_by="data")])]
    far = cells("far", [-85.0], fid=1.0, checksum="f" * 64)
    frame = framed(cells("a", [-86.0], fid=9.0), cells("b", [-87.0], fid=8.0), far, columns=columns)
    assert ("b", "FID ↓") in bold(tables(frame)[0])
    assert ("far", "FID ↓") not in bold(tables(frame)[0])


def test_the_columns_of_a_frame_go_with_it_into_a_file(measured):
    """The attributes of a frame are plain JSON."""
    frame = read_results(measured)
    again = pandas.read_csv(io.StringIO(frame.to_csv(index=False)))
    again.attrs = json.loads(json.dumps(frame.attrs))
    assert [table.csv() for table in tables(again)] == [table.csv() for table in tables(frame)]


@pytest.mark.parametrize("name", registry("metric"))
def test_built_in_metrics_declare_columns_of_their_own(name):
    columns = registry("metric")[name].columns
    assert columns or name == "iwll-curve"  # which stores vectors alone
    headings = [column.heading for metric in registry("metric").values() for column in metric.columns]
    assert all(headings.count(column.heading) == 1 for column in columns)


def test_every_standard_column_is_one_of_the_metrics_that_every_cell_has():
    standard = [*registry("metric")["likelihood"].columns, *registry("metric")["active-units"].columns]
    assert sorted(standard, key=repr) == sorted(QUALITY, key=repr)


def test_the_arrow_says_which_direction_is_better():
    assert Column("x", "X", better=1).title == "X ↑"
    assert Column("x", better=-1).title == "x ↓"
    assert Column("x").title == "x"


def test_columns_are_in_order_and_families_have_their_members():
    family, other = Column("kl_*_nats", "kl of *"), Column("z", "Z")
    found = table_columns([other, family, QUALITY[0]], ["new", "kl_2_nats", "kl__nats", "iwll", "kl_1_nats"])
    further = found[len(QUALITY) : -len(TIMED) - len(COSTS)]
    assert found == [*QUALITY, *further, *TIMED, *COSTS]
    members = [Column("kl_2_nats", "kl of 2"), Column("kl_1_nats", "kl of 1")]
    assert further == [other, *members, Column("new"), Column("kl__nats")]
    assert (other.member("z"), other.member("zz")) == (other, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": ""}, "a column's name must be a word with at most one *, got ''"),
        ({"name": "a*b*"}, "at most one *, got 'a*b*'"),
        ({"name": 3}, "got 3"),
        ({"name": "x", "heading": 3}, "column 'x': heading must be a text, got 3"),
        ({"name": "x", "style": "nat"}, "column 'x': style 'nat' is unknown; did you mean 'nats'?"),
        (
            {"name": "x", "better": 2},
            "column 'x': better must be 1 (higher is better), -1 (lower is better) or 0, got 2",
        ),
        ({"name": "x", "better": 1, "ranked_by": "dat"}, "ranked_by 'dat' is unknown; did you mean 'data'?"),
        ({"name": "x", "ranked_by": "data"}, "column 'x' has ranked_by='data': add better=1 or better=-1"),
        ({"name": "x", "unit": 0}, "column 'x': unit must be a positive number, got 0"),
        ({"heading": "X"}, "a column must be an object with a name, got {'heading': 'X'}"),
        (["x"], "a column must be an object with a name, got ['x']"),
    ],
)
def test_a_wrong_column_is_refused_in_one_line(values, words):
    with pytest.raises(VaezooError, match=re.escape(words)):
        Column.from_json(values)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Column("x"), "metric 'm': columns must be a tuple of vaezoo.Column, got Column(name='x'"),
        (("x",), "got 'x'; write columns=(vaezoo.Column(\"NAME\"),)"),
        ("x", "got 'x'; write columns="),
        ((Column("x"), Column("x")), "metric 'm' declares the column 'x' twice"),
        ((Column("train_seconds"),), "metric 'm' declares the column 'train_seconds', which every cell has"),
    ],
)
def test_wrong_declarations_are_refused(columns, words):
    with pytest.raises(VaezooError, match=re.escape(words)):
        vaezoo.register.metric("m", columns=columns)


def test_two_metrics_cannot_measure_one_column():
    with pytest.raises(VaezooError, match="metrics 'a' and 'b' both measure the column 'x'"):
        declared_columns({"a": [Column("x"), Column("y")], "b": [Column("x")]})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("text", "metric 'm': expected a dict of column -> number or None, got str 'text'"),
        ({"a": "x"}, "metric 'm': expected a dict of column -> number or None, got str 'x' for 'a'"),
        ({"a": [1.0]}, "got list [1.0] for 'a'"),
        ({1: 1.0}, "got int 1 as the name of a column"),
        ({"iwll": 1.0}, "metrics 'likelihood' and 'm' both measure the column 'iwll'"),
        ({"train_seconds": None}, "metric 'm' returned the column 'train_seconds', which every cell has; rename it"),
        ({"own_memory_bytes": 1}, "'own_memory_bytes', which every cell has"),
        ({"status": 1}, "'status', which every cell has"),
        ({"images": 1}, "'images', which every cell has"),
        (dict.fromkeys(map(str, range(1001)), 1.0), "metric 'm' returned more than 1000 columns; store many numbers"),
    ],
)
def test_what_a_metric_must_not_return(found, words):
    with pytest.raises(VaezooError, match=re.escape(words)):
        measured_columns("m", found, {"iwll": "likelihood"})


def test_the_numbers_of_a_metric_are_plain():
    found = measured_columns("m", {"a": numpy.float32(0.5), "b": numpy.int64(2), "c": None, "d": True}, {"a": "m"})
    assert found == {"a": 0.5, "b": 2, "d": 1}
    assert [type(value) for value in found.values()] == [float, int, int]


def test_rank_changes_no_row():
    rest = [cells("b", [-87.0] * 2, images=5, **{"train.epochs": 3}), cells("c", [-85.0] * 2)]
    frame = framed(cells("a", [-86.0] * 2), *rest)
    ((_, rows),) = dataset_rows(frame, table_columns())
    before = [repr(row) for row in rows]
    ranking = rank(rows, table_columns())
    assert ranking == rank(rows, table_columns())
    assert [repr(row) for row in rows] == before
    assert {(row.label, name) for row, name in ranking.bold} == {("c", "iwll"), ("c", "elbo")}
    assert {row.label for row in ranking.ranked} == {"a", "c"}
    assert (list(ranking.remarks), ranking.unlike, ranking.chosen) == ([rows[1]], {rows[1]: {"images"}}, rows[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows[0].label = "x"
