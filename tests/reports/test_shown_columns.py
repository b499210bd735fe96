"""A terminal shows the columns that fit, the important ones first, and says which it left out."""

import io
import re

import pytest
from folders import a_record, timing, write
from frames import cells, framed
from rich.console import Console

from vaezoo.core.errors import VaezooError
from vaezoo.reports.tables import tables

LABELS = ["vae", "a label that is much longer than the others, with its settings beta=4"]
NAMES = {
    "iwll": "iwll (nats)",
    "elbo": "elbo (nats)",
    "kl": "kl (nats)",
    "train_images_per_second": "train images/s",
    "parameters": "parameters",
}


def printed(table, width, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table.terminal(**options))
    return console.file.getvalue()


def headings(text):
    """The headings of a printed table, whose lines are folded."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("┏"))
    end = next(n for n, line in enumerate(lines) if line.startswith("┡"))
    folded = [[cell.strip() for cell in line.strip("┃").split("┃")] for line in lines[start + 1 : end]]
    return [" ".join(filter(None, parts)).removesuffix(" ↑") for parts in zip(*folded, strict=True)]


@pytest.fixture(scope="module")
def table():
    marked = {"warnings": "a warning", "command": None}
    rows = (cells(label, [-86.0, -86.1, -86.3], **marked) for label in LABELS)
    return tables(framed(*rows))[0]


@pytest.mark.parametrize("width", [30, 50, 80, 120, 400])
def test_each_column_is_shown_or_named(table, width):
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    below = " ".join(text.split("┘")[1].split())
    (left,) = re.findall(rf"left out, for {width} characters a line: (.*) 3 seeds", below) or [""]
    left = left.replace(" ", "").split(",") if left else []
    found = headings(text)
    assert found[:2] == ["label", "rank"]
    for name, heading in NAMES.items():
        assert (name in left) is (heading not in found), name
    assert ("marks" in left) is ("marks" not in found)
    assert bool(left) is (width < 400)
    assert re.sub(r"[\s│]", "", LABELS[1]) in re.sub(r"\s", "", "".join(re.findall(r"^│([^│]*)│", text, re.MULTILINE)))


def test_the_important_columns_come_first(table):
    shown = [headings(printed(table, width)) for width in (45, 75, 110)]
    assert shown[0] == ["label", "rank", "iwll (nats)"]
    assert {"elbo (nats)"} <= set(shown[1])
    assert {"elbo (nats)", "train images/s", "iwll samples/s"} <= set(shown[2])


def test_chosen_columns_stand_alone_in_their_order_in_each_form_but_csv(table):
    chosen = table.with_columns(["kl", "seeds", "iwll"])
    assert headings(printed(chosen, 200)) == ["label", "kl (nats)", "seeds", "iwll (nats)", "marks"]
    assert chosen.sheets[0].headings == ["label", "kl (nats)", "seeds", "iwll (nats) ↑", "marks"]
    assert "elbo" not in chosen.markdown().split("## Details")[0]
    assert chosen.csv() == table.csv()
    assert headings(printed(chosen, 45))[:2] == ["label", "kl (nats)"]


def test_an_unknown_column_is_one_line_with_what_is_near(shell, tmp_path):
    folder = write(tmp_path / "r", [a_record("vae", 0, {"iwll": -1.0, "elbo": -2.0}), timing("vae", 100.0)])
    said = shell.wrong("tables", folder, "--columns", "iwll,train_image_per_second")
    assert "column 'train_image_per_second' is unknown; did you mean 'train_images_per_second'" in said
    done = shell("tables", folder, "--columns", "elbo, seeds")
    assert (done.code, headings(done.out)) == (0, ["label", "elbo (nats)", "seeds"])
    with pytest.raises(VaezooError, match="'marks' is unknown"):
        tables(framed(cells("a", [-1.0])), ["marks"])


def test_the_line_says_how_and_the_details_are_on_demand(table):
    text, full = printed(table, 400), printed(table, 400, details=True)
    line = "3 seeds · K = 1,000 · 10,000 test images · bold: not told from the best · cpu · command not recorded"
    assert text.splitlines()[-2:] == [line, "[a] a warning"]
    assert full.startswith(text)
    assert "95 % Student interval" in full.removeprefix(text)
