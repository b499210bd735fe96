"""Every form of a table names the command, the commit, the device and K of its cells."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from folders import a_record, write
from frames import cells, framed

from vaezoo.reports.origin import measured_line
from vaezoo.reports.tables import tables
from vaezoo.runner.results import read_results

SHA, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40


def recorded(label, seed, command, git, **facts):
    cell, record = a_record(label, seed, {"iwll": -1.0 - seed}, **facts)
    return cell, dataclasses.replace(
        record, provenance=dataclasses.replace(record.provenance, command=command, git=git)
    )


@pytest.fixture
def folder(tmp_path):
    first = ("vaezoo", "run", "a b.toml", "--out", "/somewhere", "--jobs", "2")
    records = [recorded("vae", seed, first, SHA) for seed in range(3)]
    records.append(recorded("iwae", 0, ("vaezoo", "run", "m.toml", "--out=x"), f"{OTHER}+dirty", device="a GPU"))
    records.append(recorded("iwae", 1, (), None, device="a GPU", importance_samples=50))
    return write(tmp_path / "results", records)


WANTED = [
    "K = 10 (4 cells), K = 50 (1 cell)",
    "a processor (3 cells), a GPU (2 cells)",
    "commit 0123456789ab (3 cells), commit ffffffffffff+dirty (1 cell), vaezoo 0.1.0 (1 cell)",
    "vaezoo run 'a b.toml' --jobs 2 (3 cells), vaezoo run m.toml (1 cell), command not recorded (1 cell)",
]


def test_where_cells_differ_each_value_has_its_count(folder):
    (table,) = tables(read_results(folder))
    for text in WANTED:
        assert text in table.lead
    assert table.lead.replace("'", r"'") in table.markdown()
    assert r"$\cdot$ a processor (3 cells), a GPU (2 cells)" in table.latex()
    assert "-{}-jobs 2" in table.latex()
    found = pandas.read_csv(folder / "tables.csv") if (folder / "tables.csv").exists() else table.frame()
    assert found.command.tolist()[0] == "vaezoo run 'a b.toml' --jobs 2"
    assert found.commit.tolist()[0] == SHA


def test_many_commands_are_counted_and_the_details_have_each():
    frame = framed(*(cells(f"v{n}", [-1.0], command=f"vaezoo run m.toml --shard {n}/6") for n in range(6)))
    (table,) = tables(frame)
    assert table.lead.endswith("--shard 2/6 (1 cell), 3 other commands (see details)")
    (every,) = (text for text in table.details if text.startswith("Every command"))
    assert every.count("--shard") == 6


def test_a_frame_without_provenance_says_nothing_of_it():
    (table,) = tables(framed(cells("vae", [-1.0])))
    assert measured_line(table.rows, None, bold=False) == "1 seed · K = 1,000 · 10,000 test images · cpu"


def test_the_same_records_give_the_same_bytes(shell, folder, tmp_path):
    """In another process, with another hash seed, from a copy in another folder."""
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert shell("tables", folder).code == 0
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [Path(sys.executable).with_name("vaezoo"), "tables", copied]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    first, second = ({path.name: path.read_bytes() for path in (f / "tables").iterdir()} for f in (folder, copied))
    assert first == second
    assert set(first) == {"digits.md", "digits.csv", "digits.tex"}
    before = first["digits.md"]
    assert shell("tables", folder, "--details").code == 0
    assert (folder / "tables" / "digits.md").read_bytes() == before
