"""The frame of all epochs of a results folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from vaezoo.runner.store import Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("label", "variant", "dataset", "seed", "epoch", "objective", "validation_iwll", "seconds")


def read_history(path: str | Path) -> "pd.DataFrame":
    """The training of a folder that `vaezoo run` wrote: one row for each epoch of each cell, in its order.

    objective: its mean over the training images; validation_iwll: NaN after an epoch without validation; both in nats
    an image. seconds: of training since its start. A cell without a record has no row, and so has one whose record is
    damaged, which a VaezooWarning names. Raises VaezooError where the folder holds no results.
    """
    import pandas as pd

    store = Store(path)
    rows = []
    for cell in store.plan().cells:
        record = store.record("cells", cell.stem, cell)
        history = {} if record is None else record.history
        own = [history.get(name, []) for name in COLUMNS[5:]]
        for epoch, values in enumerate(zip(*own, strict=False), start=1):
            rows.append((cell.label, cell.variant, cell.dataset, cell.seed, epoch, *values))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(COLUMNS[5:], float))
