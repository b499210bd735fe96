"""The lines and tables that the command line prints: plugins, findings, results, this machine."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from vaezoo.core.errors import VaezooError
from vaezoo.core.overlaps import WORDS, in_words
from vaezoo.core.visible_text import visible
from vaezoo.registry import PARTS, Plugin, Variant, registry

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from vaezoo.conformance.verdict import Finding
    from vaezoo.reports import tables
    from vaezoo.runner.plan.catalogue import Entry
    from vaezoo.runner.throughput import Speed

INDENT = " " * 14


def plain(text: str, style: str = "") -> Text:
    """A text for a rich table, which is no markup. Its control characters are shown and not obeyed."""
    from rich.text import Text

    return Text(visible(text), style=style)


def plugin_lines(plugin: Plugin) -> list[str]:
    """A plugin for `vaezoo show`: its place, paper, docstring, the arguments it asks for, and its hyper-parameters."""
    lines = [f"{plugin.slot}/{plugin.name}    {plugin.place}"]
    lines += [plugin.paper] if plugin.paper else []
    if isinstance(plugin.target, Variant):
        return [*lines, "", *plugin.target.about.splitlines(), "", *_slot_lines(plugin.target)]
    text = inspect.getdoc(plugin.target)
    lines += ["", *text.splitlines(), ""] if text else [""]
    lines += [f"asks for: {', '.join(plugin.builder_arguments)}"] if plugin.builder_arguments else []
    if plugin.slot != "dataset":
        return lines + _hyperparameter_lines(plugin.hyperparameters)
    from vaezoo.datasets import SHARED

    own = any(each.default is Parameter.empty for each in plugin.hyperparameters.values())
    images = ["its images are those of your own file"] if own else _data_lines(plugin.name)
    return lines + _hyperparameter_lines({**SHARED, **plugin.hyperparameters}) + images


def _data_lines(name: str) -> list[str]:
    """The images of a data set, and those that its splits share; why they cannot be read where they are not here."""
    from vaezoo.datasets import load_dataset

    try:
        with mock.patch("socket.getaddrinfo", side_effect=OSError("show downloads nothing")):
            dataset = load_dataset(name)
    except VaezooError as error:
        return [str(error)]
    spec, sizes = dataset.spec, [f"{len(getattr(dataset, split)):,} {word}" for split, word in WORDS.items()]
    kind = spec.measure if spec.levels is None else f"{spec.measure}, {spec.levels} levels"
    shared = in_words(dataset.overlaps)
    return [f"images: {', '.join(sizes)}; {list(spec.shape)}, {kind}", shared or "the splits share no image"]


def _slot_lines(variant: Variant) -> list[str]:
    lines = []
    for slot in PARTS:
        choice = getattr(variant, slot)
        name, values = (choice, {}) if isinstance(choice, str) else choice
        lines.append(f"{slot:11s} {name}")
        if slot == "likelihood" and name == "auto":
            lines.append(f"{INDENT}the natural likelihood of the data set's measure")
        else:
            lines += [INDENT + line for line in _hyperparameter_lines(registry(slot)[name].hyperparameters, values)]
    return lines


def _hyperparameter_lines(known: Mapping[str, Parameter], values: Mapping[str, Any] | None = None) -> list[str]:
    lines = []
    for name, parameter in known.items():
        kind = parameter.annotation
        text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
        default = (values or {}).get(name, parameter.default)
        lines.append(f"{name}: {text} = {'needed' if default is Parameter.empty else repr(default)}")
    return lines


def registry_table(slot: str, plugins: Sequence[Plugin | Entry], data_root: str | None = None) -> Table:
    """The plugins of a slot for `vaezoo list`, by name. Of vaezoo's own data sets also whether their files are here."""
    from rich.table import Table

    from vaezoo.datasets import data_root as place
    from vaezoo.datasets._sources import state_of

    table = Table(title=slot, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    for found in sorted(plugins, key=lambda plugin: plugin.name):
        state = ""
        if slot == "dataset" and isinstance(found, Plugin) and found.module.startswith("vaezoo."):
            state = state_of(found.name, found.hyperparameters, place(data_root))
        shown = [plain(state)] if slot == "dataset" else []
        table.add_row(plain(found.name), *shown, plain(found.summary), plain(found.paper or "", style="dim"))
    return table


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """The findings of `vaezoo check`: proof, verdict, figure, the probability of a false alarm, and what is compared;
    for a failure also the numbers, and why a proof was not run.
    """
    from rich.table import Table

    colours = {"pass": "green", "FAIL": "bold red", "not run": "yellow"}
    table = Table(title=plain(title), title_justify="left", title_style="bold", box=None)
    for heading in ("proof", "verdict", "figure", "false alarm", "what is compared"):
        table.add_column(heading, justify="left", no_wrap=heading != "what is compared")
    for row in findings:
        table.add_row(
            plain(row.proof),
            plain(row.verdict, style=colours[row.verdict]),
            plain(row.figure),
            plain("" if row.verdict == "not run" else row.false_alarm),
            plain(row.detail or row.formula, style="" if row.detail else "dim"),
        )
    return table


def speeds_table(speeds: Sequence[Speed]) -> Table:
    """The speeds that `vaezoo throughput` measured, one a row, under the data set and the device."""
    from rich.table import Table

    first = speeds[0]
    title = plain(f"{first.dataset} on {first.device}")
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    headings = ("variant", "work", "seeds", "batch", "threads", "precision", "items/s", "quartiles")
    for heading in (*headings, "cold start s", "peak MiB", "GFLOP/s", "of peak"):
        table.add_column(heading, justify="left" if heading in ("variant", "work", "precision") else "right")
    for speed in speeds:
        facts = [speed.variant, speed.work, speed.seeds, speed.batch_size, speed.threads, speed.precision]
        shown = [plain(str(fact)) for fact in facts]
        if speed.per_second is None:
            table.add_row(*shown, "-")
            continue
        memory, flops = speed.peak_memory_bytes or 0, speed.flops_per_second or 0.0
        spread = f"{speed.per_second_low:,.0f} to {speed.per_second_high:,.0f}"
        figures = (f"{speed.cold_seconds:.2f}", f"{memory / 2**20:,.0f}", f"{flops / 1e9:,.1f}")
        table.add_row(*shown, f"{speed.per_second:,.0f}", spread, *figures, f"{speed.share_of_peak:.0%}")
    return table


def status_lines(folder: Path) -> list[str]:
    """The number of cells of each status, the cells that are running now, and each failure with its log."""
    from vaezoo.cli.progress import running_now
    from vaezoo.runner.results import read_results
    from vaezoo.runner.store import Store

    frame = read_results(folder)
    store, counts = Store(folder), frame["status"].value_counts()
    lines = [f"{frame.attrs['name']}: " + ", ".join(f"{n} {state}" for state, n in counts.items())]
    for stem, progress in running_now(folder).items():
        value = "" if progress.objective is None else f", objective {progress.objective:.2f}"
        lines.append(f"running: {stem}: epoch {progress.epoch}/{progress.epochs}{value}")
    for cell, row in zip(store.plan().cells, frame.itertuples(), strict=True):
        if row.status not in ("ok", "missing"):
            record = store.record("cells", cell.stem, cell)
            log = "" if record is None or record.log is None else f"; log: {folder / record.log}"
            lines.append(f"{row.status}: {row.label} on {row.dataset}, seed {row.seed}: {row.reason}{log}")
    return lines


def proof_lines(frame: pd.DataFrame) -> list[str]:
    """Which proofs fail and which plugins of the results have no passing check, each with the command that shows it."""
    found = frame.loc[frame["status"] == "ok", ["disproved", "unproved"]]
    return list(dict.fromkeys(text for name in found for text in found[name].dropna()))


def best_lines(made: Sequence[tables.Table]) -> list[str]:
    """The best ranked row of each table with its interval, or its range, and how many rows cannot be told from it."""
    lines = []
    for table in made:
        if (row := table.ranking.best.get("iwll")) is None:
            continue
        best = row.cells["iwll"]
        span = f" ({best.low:.2f} to {best.high:.2f})" if best.count > 1 else ""
        alike = sum(name == "iwll" for _, name in table.ranking.bold) - 1
        more = f"; {alike} row{'s' * (alike > 1)} cannot be told from it" if alike else ""
        lines.append(f"best on {table.dataset}: {row.label}, iwll {best.mean:.2f} nats{span}{more}")
    return lines


def environment_lines(data_root: str | None) -> list[str]:
    """Versions, devices, and the folder of the data sets."""
    import torch

    from vaezoo.datasets import data_root as place
    from vaezoo.runner.machine.device import cores, describe, memory

    found: dict[str, str] = {"torch": str(torch.__version__)}
    for package in ("vaezoo", "torchvision", "numpy", "pandas", "scipy", "pydantic"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["python"] = f"{platform.python_version()} on {platform.platform()}"
    for device in ("cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))):
        share = f", {cores()} cores" if device == "cpu" else ""
        found[device] = f"{describe(device)}, {memory(device) / 2**30:.0f} GiB{share}"
    found["data"] = str(place(data_root))
    return [f"{name:12s} {value}" for name, value in found.items()]
