"""Published values stand beside the measured numbers of the row that they are about, with the difference."""

import io

import pandas
import pytest
from frames import IWLL, cells, framed, shown
from rich.console import Console

from vaezoo.core.errors import VaezooError
from vaezoo.reports.tables import tables
from vaezoo.runner.matrix.file import load

PAPER = {"label": "a paper", "dataset": "mnist-dynamic", "iwll": -85.0, "row": "vae", "source": "arXiv:1"}
MATRIX = {"datasets": ["digits-binary", "digits"], "variants": [{"name": "vae"}, {"name": "iwae"}]}


def compared(table):
    """The lines of the second sheet: label -> heading -> text."""
    _, sheet = table.sheets
    return {line.texts[0]: dict(zip(sheet.headings, line.texts, strict=True)) for line in sheet.lines}


def test_the_difference_has_the_interval_of_the_measured_number():
    values = [-86.51, -86.30, -86.15]
    frame = framed(cells("vae", values), references=[PAPER | {"importance_samples": 5000}])
    (table,) = tables(frame)
    (line,) = compared(table).values()
    assert line["measured here"] == shown(table)["vae"][IWLL] == "-86.32 ± 0.45"
    assert (line["published"], line["difference"]) == ("-85.00", "-1.32 ± 0.45")
    assert (line["K here"], line["published K"], line["source"]) == ("1,000", "5,000", "a paper (arXiv:1)")
    row = table.frame().iloc[-1]
    own = table.frame().iloc[0]
    assert (row.label, row.about, row.reference) == ("a paper", "vae", True)
    assert row.iwll_beyond == pytest.approx(own.iwll_mean + 85)
    assert row.iwll_beyond_low == pytest.approx(own.iwll_low + 85)
    assert row.iwll_beyond_high == pytest.approx(own.iwll_high + 85)
    assert pandas.isna(own.iwll_beyond)


def test_every_form_has_both_tables_and_the_reference_has_no_row_of_its_own():
    (table,) = tables(framed(cells("vae", [-86.0]), cells("iwae", [-85.0]), references=[PAPER]))
    assert list(shown(table))[:2] == ["vae", "iwae"]
    assert "from elsewhere" not in table.markdown()
    assert "## measured and published" in table.markdown()
    assert table.latex().count(r"\begin{tabular}") == table.latex().count(r"\end{tabular}") == 2
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(table.terminal())
    assert "-1.00" in console.file.getvalue()
    assert {"K here", "published K"}.isdisjoint(compared(table)["vae"])  # where no reference has its K


def test_a_reference_without_its_row_and_a_row_without_numbers_are_shown():
    failed = cells("vae", [], failed=[("failed", "why")])
    other = PAPER | {"row": "gone", "label": "of a row that is not here"}
    (table,) = tables(framed(failed, cells("b", [-80.0]), references=[PAPER, other]))
    assert compared(table)["vae"]["published"] == "-85.00"
    assert compared(table)["vae"]["difference"] == compared(table)["vae"]["measured here"] == ""
    assert shown(table)["of a row that is not here"][IWLL] == "-85.00"
    assert "from elsewhere, not ranked: arXiv:1, about the row 'gone', which is not in this table" in table.notes[-1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"row": "ivae"},
            "references[1].row: expected the label of one of this matrix's rows, got 'ivae'; did you mean",
        ),
        ({"row": "iwae", "dataset": "digits"}, "row: row 'iwae' does not run on 'digits', but on digits-binary"),
    ],
)
def test_a_row_that_is_not_there_is_one_line(row, said):
    variants = [{"name": "vae"}, {"name": "iwae", "datasets": ["digits-binary"]}]
    reference = {"label": "a paper", "dataset": "digits-binary", "iwll": -1.0, **row}
    with pytest.raises(VaezooError) as error:
        load({**MATRIX, "variants": variants, "references": [reference]})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_row_that_is_there_is_kept():
    reference = {"label": "a paper", "dataset": "digits", "iwll": -1.0, "row": "iwae"}
    assert load({**MATRIX, "references": [reference]}).references[0].row == "iwae"
