"""The cells of the derivation run and their checks hold; the pages about plugins and the guides' code are complete."""

from pathlib import Path

import cells
import pytest

ROOT = Path(__file__).parents[2]

PAGE = (ROOT / "docs" / "variational-inference.md").read_text(encoding="utf-8")


def test_the_cells_of_the_derivation_run_and_check_themselves():
    done = list(cells.run(PAGE))
    assert len(done) == 11
    assert sum("assert" in cell.source for cell in done) >= 9
    drawn = [picture for cell in done for picture in cell.pictures]
    assert len(drawn) == 7
    assert all(svg.startswith("<svg") and titles for svg, titles in drawn)
    assert "ELBO" in done[0].printed


def test_a_cell_that_fails_fails_the_page():
    with pytest.raises(AssertionError):
        list(cells.run("```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n"))


def test_output_and_pictures_stand_below_their_cell():
    page = cells.with_output("before\n\n```python\nprint('2 < 3')\n```\n\nafter\n")
    assert page == "before\n\n```python\nprint('2 < 3')\n```\n\n```{ .text .printed }\n2 < 3\n```\n\nafter\n"
    drawing = "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.title('a & b')\n"
    drawn = cells.with_output(f"```python\n{drawing}```\n")
    assert 'role="img" aria-label="a &amp; b"' in drawn
    assert "currentColor" in drawn
    assert cells.INK not in drawn
    assert drawn == cells.with_output(f"```python\n{drawing}```\n")
