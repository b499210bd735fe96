"""The frame of all results of a folder."""

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.core.columns import (
    COSTS,
    DESCRIBING,
    IDENTITY,
    ORIGIN,
    PROVENANCE,
    QUALITY,
    SAME_DATA,
    SAME_ESTIMATE,
    TIMED,
    table_columns,
)
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.overlaps import in_words
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store
from vaezoo.runner.verdicts import Verdict, adopt, provable, remarks

if TYPE_CHECKING:
    import pandas as pd


def read_results(path: str | Path) -> "pd.DataFrame":
    """The results of a folder that `vaezoo run` wrote: one row a cell in the order of the matrix, failures included.

    Log-likelihoods are in nats an image, higher is better. The column validation_iwll is that of the chosen epoch;
    search says which rows belong to one sweep with `select`, None elsewhere; warnings holds vaezoo's warnings, a line
    each; command is the command line of its run (without `--out DIR`); commit is that of vaezoo's code, with `+dirty`
    where files of it had been changed, or `vaezoo VERSION` where it ran from no checkout. unproved names the plugins of
    the cell that have no passing check, disproved those with a proof that fails.
    frame.attrs holds the matrix's name, the settings that differ between rows, the references, the folder, where tables
    find the values of each test image, `columns`: the measured columns in the order of a table, each as
    `vaezoo.Column.to_json` gives it; and `overlaps`: for each data set whose splits share images, how many. A record
    that is damaged, or is not its plan's, is left out with a VaezooWarning that names it: its cell is `missing`. Raises
    VaezooError where the folder holds no results, or its plan has no cells.
    """
    import pandas as pd

    store = Store(path)
    plan = store.plan()
    if not plan.cells:
        raise VaezooError(f"{path} holds no cells: its plan has no rows; give the folder of another run")
    timed = dict.fromkeys(cell.timing for cell in plan.cells if cell.timing)
    timings = {stem: record for stem in timed if (record := store.record("timings", stem)) is not None}
    standard = [column.name for column in (*QUALITY, *TIMED, *COSTS)]
    further = dict.fromkeys(column.name for column in plan.columns if column.name not in standard and column.is_one)
    quartiles = [f"{column.name}_{end}" for column in TIMED if column.ranked_by for end in ("low", "high")]
    rows, shared = [], {}
    verdicts: dict[tuple[str, str], Verdict | None] = {}
    for cell in plan.cells:
        record = store.record("cells", cell.stem, cell)  # one at a time: they may be large
        timing = timings.get(cell.timing or "")
        results, warned = _numbers(record)
        speeds, disturbed = _numbers(timing)
        facts = cell.comparability if record is None else record.comparability
        if record is not None and record.data is not None and record.data.overlaps:
            shared[cell.dataset] = in_words(record.data.overlaps)
        further |= dict.fromkeys(name for name in results if name not in standard)
        row: dict[str, Any] = {name: getattr(cell, name) for name in IDENTITY}
        row["status"] = "skipped" if cell.skip else "missing" if record is None else record.status
        row["reason"] = cell.skip or (None if record is None else record.reason)
        measured = results | {column.name: speeds[column.name] for column in TIMED if column.name in speeds}
        row |= {name: measured.get(name) for name in standard}
        row |= {name: getattr(facts, name) for name in (*SAME_DATA, *SAME_ESTIMATE)}
        row |= {name: getattr(record or cell.comparability, name, None) for name in PROVENANCE}
        row |= dict(zip(ORIGIN, _origin(record), strict=True))
        row |= {name: speeds.get(name) for name in quartiles}
        row |= {"validation_iwll": None if record is None else record.validation_iwll, "search": cell.search}
        row["warnings"] = "\n".join([*warned, *disturbed]) or None
        row["unproved"], row["disproved"] = (None, None) if record is None else _proofs(record, store, verdicts)
        rows.append(row | {name: results.get(name) for name in further} | cell.settings)
    frame = pd.DataFrame(rows)
    for name in (*standard, *further, *quartiles, "validation_iwll"):
        if name in frame:
            frame[name] = pd.to_numeric(frame[name])
    frame.attrs |= {
        "name": plan.name,
        "settings": list(plan.settings),
        "columns": [column.to_json() for column in table_columns(plan.columns, further)],
        "references": list(plan.references),
        "overlaps": shared,
        "folder": str(Path(path).absolute()),
    }
    return frame


def _origin(record: Record | None) -> tuple[str | None, str | None]:
    """The command and the commit of a record, as far as it has them."""
    made = None if record is None else record.provenance
    if made is None:
        return None, None
    words = [word for word in made.command if not word.startswith("--out=")]
    while "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    return shlex.join(words) or None, made.git or f"vaezoo {made.vaezoo}"


def adopt_verdicts(path: str | Path) -> None:
    """Write to a results folder what this machine knows of the plugins of its records. OSError where it cannot be."""
    store = Store(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # `read_results` warns of damaged records
        records = (store.record("cells", cell.stem, cell) for cell in store.plan().cells)
        adopt(store.folder, [record.specification.code for record in records if record is not None])


def _proofs(
    record: Record, store: Store, verdicts: dict[tuple[str, str], Verdict | None]
) -> tuple[str | None, str | None]:
    """What is to be said of the proofs of a record's plugins. verdicts: those that have been read already."""
    code = record.specification.code
    verdicts |= {pair: store.verdict(*pair) for pair in provable([code]) if pair not in verdicts}
    return remarks(code, verdicts, () if record.provenance is None else record.provenance.plugins)


def _numbers(record: Record | None) -> tuple[dict[str, float | None], list[str]]:
    """The columns of a record, the record's warnings, and a remark where its KL warm-up did not end. A column that has
    the name of one of the frame's DESCRIBING columns is left out, and a warning says so.
    """
    if record is None:
        return {}, []
    taken = [name for name in record.results if name in DESCRIBING]
    lines = [f"the column {name!r} of the record has the name of another column, so it is missing" for name in taken]
    numbers = {name: value for name, value in record.results.items() if name not in DESCRIBING}
    remark = record.specification.train.unfinished_warmup
    return numbers, [*record.warnings, *lines, *([] if remark is None else [remark])]
