"""The committed results of version 0.1.0 give the committed tables."""

import json
import shutil
from pathlib import Path

from vaezoo.core.columns import table_columns
from vaezoo.runner.results import read_results

STORED = Path(__file__).parents[2] / "results" / "mnist"
OLD = Path(__file__).parents[1] / "runner" / "version_0_1_0"


def test_the_committed_tables_are_made_again_byte_for_byte(shell, tmp_path):
    folder = tmp_path / "mnist"
    shutil.copytree(STORED, folder)
    wanted = {path.name: path.read_bytes() for path in (STORED / "tables").iterdir()}
    assert {Path(name).suffix for name in wanted} == {".md", ".csv", ".tex"}
    shutil.rmtree(folder / "tables")
    done = shell("tables", str(folder))
    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in (folder / "tables").iterdir()} == wanted


def test_a_folder_without_columns_has_the_standard_ones():
    assert "columns" not in json.loads((OLD / "plan.json").read_text(encoding="utf-8"))
    frame = read_results(OLD)
    assert frame.attrs["columns"] == [column.to_json() for column in table_columns()]
    assert {column["name"] for column in frame.attrs["columns"]} <= set(frame)
