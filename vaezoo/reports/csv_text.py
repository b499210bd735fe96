"""A frame as CSV."""

import pandas

from vaezoo.reports.formats import escape_csv


def csv_text(frame: pandas.DataFrame) -> str:
    """The frame as CSV, whose texts no spreadsheet computes."""
    frame = frame.copy()
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        frame[name] = pandas.Series(list(map(escape_csv, frame[name])), dtype=object)
    text: str = frame.rename(columns=escape_csv).to_csv(index=False, lineterminator="\n")
    return text
