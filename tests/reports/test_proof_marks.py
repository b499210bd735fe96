"""Rows without a passing check are marked in every form of a table; one with a proof that fails is not ranked."""

from io import StringIO

import pandas
import pytest
from folders import rows, write
from frames import cells, framed
from rich.console import Console

from vaezoo.cli.display import best_lines, proof_lines
from vaezoo.reports.compare import compare
from vaezoo.reports.tables import tables

NOTHING = {"unproved": None, "disproved": None}
UNPROVED = {"unproved": "not proved: vaezoo check prior/mine --plugin mine.py", "disproved": None}
FAILS = 'not ranked: prior/mine fails "density integrates to 1": 0.61; vaezoo check prior/mine --plugin mine.py'
DISPROVED = {"unproved": None, "disproved": FAILS}


def table(**last):
    """Three rows; the last one is the best of them."""
    others = [cells("vae", [-90.0, -90.2], **NOTHING), cells("iwae", [-89.0, -89.2], **NOTHING)]
    speeds = {"train_images_per_second": 1e9}
    frame = framed(*others, cells("mine", [-80.0, -80.2], **speeds, **last), name="m")
    [made] = tables(frame)
    return made, frame


def terminal_text(made):
    console = Console(width=200, record=True, file=StringIO())
    console.print(made.terminal())
    return console.export_text()


@pytest.mark.parametrize("facts", [UNPROVED, DISPROVED])
def test_a_mark_stands_in_every_form_of_the_table(facts):
    made, frame = table(**facts)
    [remark] = filter(None, facts.values())
    assert made.marks(made.rows[2]) == ["[a]"]
    assert f"- [a] {remark}" in made.markdown()
    assert remark in made.latex().replace("{[}", "[").replace("{]}", "]").replace("-{}-", "--")
    assert f"[a] {remark}" in terminal_text(made)
    assert made.frame().proved.tolist() == [True, True, False]
    assert pandas.read_csv(StringIO(made.csv())).proved.tolist() == [True, True, False]
    assert proof_lines(frame) == [remark]


def test_a_row_that_is_not_proved_is_ranked():
    made, _ = table(**UNPROVED)
    assert made.frame().ranked.tolist() == [True, True, True]
    assert (made.rows[2], "iwll") in made.ranking.bold
    assert "mine" in best_lines([made])[0]


def test_a_row_with_a_proof_that_fails_is_not_ranked_in_anything():
    made, _ = table(**DISPROVED)
    assert made.frame().ranked.tolist() == [True, True, False]
    assert not [name for row, name in made.ranking.bold if row is made.rows[2]]
    assert (made.rows[1], "iwll") in made.ranking.bold
    assert "iwae" in best_lines([made])[0]


def test_a_row_without_numbers_and_a_frame_without_the_columns_are_not_called_proved():
    failed = cells("broken", [], failed=[("failed", "why")], **NOTHING)
    [made] = tables(framed(cells("vae", [-90.0], **NOTHING), failed))
    assert made.frame().proved.tolist() == [True, False]
    [made] = tables(framed(cells("vae", [-90.0])))
    assert made.frame().proved.tolist() == [False]
    assert made.notes == []


def test_a_comparison_says_which_folder_has_rows_without_a_passing_check(tmp_path):
    first = write(tmp_path / "A", rows("vae", [-90.0, -91.0]))
    second = write(tmp_path / "B", rows("vae", [-90.0, -91.0]), failure='"modes": 2')
    prior = 'in B: not ranked: prior/mixture fails "modes": 2; vaezoo check prior/mixture'
    metric = 'in B: not proved: metric/likelihood fails "modes": 2; vaezoo check metric/likelihood'
    assert sorted(compare(first, second).notes) == [metric, prior]
