"""Verifies a results folder: records against plan, digests, per-image values, code, data, and models evaluated anew."""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.data import DataSpec
from vaezoo.metrics.likelihood import bits_per_dimension
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.files import LARGEST_WEIGHTS, DamagedFile
from vaezoo.runner.json_values import canonical
from vaezoo.runner.limits import STALL
from vaezoo.runner.plan.cell import Kind
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.plan.specification import PROTOCOL, Specification
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store
from vaezoo.runner.stored_plugins import plugin_names, plugin_sources

AUDITED = 4
"""The first protocol whose records hold an audit."""
STORED = 1e-5
"""The most that a mean of per-image values, which are stored as float32, differs from the record's, relatively."""
REEVALUATE = "vaezoo.runner.work.reevaluate:reevaluate"


@dataclass(frozen=True)
class VerifyOptions:
    """sample: how many cells are evaluated anew, None for every one. seed: of their choice and of the new noise.

    files: plugin files, beside those that the plan names.
    """

    sample: int | None = 5
    seed: int = 0
    files: tuple[Path, ...] = ()
    data_root: str | None = None
    device: str = "cpu"


@dataclass
class Verification:
    """What was found.

    findings: a line each. evaluated: a line for each cell that was evaluated anew. not_evaluated: why cells with a
    result could not be, and how many. counts: of `cells` (without skipped ones), `records`, `timings`, and cells that
    are `ok`.
    """

    findings: list[str] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)
    not_evaluated: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """The counts in one line."""
        counts, without = self.counts, sum(self.not_evaluated.values())
        read = f"{counts['records']} of {counts['cells']} cells and {counts['timings']} timings have a sound record"
        anew = f"{len(self.evaluated)} of {counts['ok']} with a result were evaluated anew, {without} could not be"
        return f"{read}; {anew}; {len(self.findings)} found"


@dataclass(frozen=True)
class _Checked:
    """A cell of the plan with its record, which is sound."""

    cell: StoredCell
    record: Record

    @property
    def title(self) -> str:
        return f"{self.cell.label} on {self.cell.dataset}, seed {self.cell.seed}"


def verify(
    folder: str | Path, children: Children, options: VerifyOptions, tell: Callable[[str], None] = lambda line: None
) -> Verification:
    """Verify a results folder. tell: gets each line as it is found, before the summary.

    Nothing in the folder is changed. Raises VaezooError where it holds no results, or its plan.json cannot be read.
    """
    store, found = Store(folder), Verification()

    def say(line: str) -> None:
        """Add a finding."""
        found.findings.append(line)
        tell(line)

    plan = store.plan()
    checked = _records(store, plan, found, say)
    with_result = [each for each in checked if each.record.status == "ok"]
    found.counts["ok"] = len(with_result)
    able = [each for each in with_result if _has_sound_files(store, each, found, say)]
    _old(plan, checked, say)
    groups = _groups(plan, with_result, able, children, options, found)
    chosen = _chosen([each for each in able if any(each in group.able for group in groups)], options)
    for group in groups:
        _evaluate(group, [each for each in chosen if each in group.able], store, children, options, found, say, tell)
    for reason, count in (+found.not_evaluated).items():
        tell(f"not evaluated anew, {count} {'cell' if count == 1 else 'cells'}: {reason}")
    return found


def _records(store: Store, plan: StoredPlan, found: Verification, say: Callable[[str], None]) -> list[_Checked]:
    """The cells whose record is sound: it can be read, and it is the plan's."""
    checked = []
    for cell in plan.cells:
        record = None if cell.skip else _record(store, "cells", cell.stem, cell, say)
        found.counts["cells"] += cell.skip is None
        if record is None:
            continue
        found.counts["records"] += 1
        each = _Checked(cell, record)
        checked.append(each)
        for name in ("label", "dataset", "comparability"):
            if getattr(record, name) != getattr(cell, name):
                say(f"{each.title}: the {name} of its record is not that of the plan")
        if record.status == "ok" and record.audit is None and record.specification.protocol >= AUDITED:
            say(f"{each.title}: its record has no audit")
    for stem in dict.fromkeys(cell.timing for cell in plan.cells if cell.timing):
        found.counts["timings"] += _record(store, "timings", stem, None, say) is not None
    return checked


def _record(store: Store, kind: Kind, stem: str, cell: StoredCell | None, say: Callable[[str], None]) -> Record | None:
    try:
        return store.read(kind, stem, cell)
    except DamagedFile as error:
        say(str(error))
        return None


def _old(plan: StoredPlan, checked: Sequence[_Checked], say: Callable[[str], None]) -> None:
    """Say which records an older vaezoo wrote."""
    protocols = Counter(each.record.specification.protocol for each in checked)
    for protocol, count in sorted(protocols.items()):
        if protocol != PROTOCOL:
            say(
                f"{count} of {len(checked)} records were measured by protocol {protocol}, and this vaezoo measures by "
                f"{PROTOCOL}: `vaezoo run` runs these cells again"
            )
    if plan.protocol not in {PROTOCOL, *protocols}:
        say(f"plan.json is of protocol {plan.protocol}, and no record is")
    unsealed = sum(not each.record.is_verified for each in checked)
    if unsealed:
        say(f"{unsealed} of {len(checked)} records have no digest (version 0.1.0 wrote none): an edit would not show")


def _has_sound_files(store: Store, each: _Checked, found: Verification, say: Callable[[str], None]) -> bool:
    """Whether a cell's weights and per-image values are there and are those of its record, and its numbers their means.

    What is wrong is said; weights that are not there are counted.
    """
    sound, record, stem = True, each.record, each.cell.stem
    try:
        values = store.images(stem, record)
        differing = ["its per-image values are not there"] if not values else differing_means(record, values)
    except DamagedFile as error:
        differing = [str(error)]
    for line in differing:
        say(f"{each.title}: {line}")
        sound = False
    try:
        blocks = store.blocks("checkpoints", stem, record, LARGEST_WEIGHTS)
        if blocks is None:
            found.not_evaluated["their weights are not there"] += 1
            return False
        for _ in blocks:
            pass
    except DamagedFile as error:
        say(f"{each.title}: {error}")
        return False
    return sound


def differing_means(record: Record, values: Mapping[str, np.ndarray]) -> list[str]:
    """A line for each number of a record that is not the mean of the values of its images."""
    count = record.comparability.images
    if wrong := [name for name, value in values.items() if len(value) != count]:
        return [f"its per-image values {', '.join(wrong)} are not those of {count} images"]
    exact = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    means: dict[str, float] = {
        name: float(exact[name].mean())
        for name in ("iwll", "elbo", "reconstruction", "effective_samples")
        if name in exact
    }
    if {"elbo", "reconstruction"} <= set(means):
        means["kl"] = means["reconstruction"] - means["elbo"]
    if "iwll_standard_error" in exact:
        means["iwll_standard_error"] = math.sqrt(float(np.square(exact["iwll_standard_error"]).sum())) / count
    facts = record.data
    if facts is not None and "iwll" in means:
        spec = DataSpec(facts.shape, facts.measure, facts.levels, facts.binarisation, facts.context)
        bits = bits_per_dimension(means["iwll"], spec)
        means |= {} if bits is None else {"bits_per_dim": bits}
    lines = []
    for name, mean in means.items():
        said = record.results.get(name)
        size = 1 + abs(mean) + abs(means.get("reconstruction", 0.0))
        if (said is None) != (not math.isfinite(mean)) or (said is not None and abs(said - mean) > STORED * size):
            lines.append(f"its {name} is {said}, and {mean:.8g} by the values of its images")
    return lines


@dataclass(frozen=True)
class _Group:
    """The cells on one data set whose plugins come from the same sources. able: those that can be evaluated anew."""

    specification: Specification
    sources: Sources
    members: tuple[_Checked, ...]
    able: tuple[_Checked, ...]

    @property
    def code(self) -> list[tuple[str, str]]:
        """Each plugin's title and fingerprint, once."""
        return list(dict.fromkeys(pair for each in self.members for pair in each.record.specification.code.items()))


def _groups(
    plan: StoredPlan,
    members: Sequence[_Checked],
    able: Sequence[_Checked],
    children: Children,
    options: VerifyOptions,
    found: Verification,
) -> list[_Group]:
    """The cells by data set and sources. Cells with a plugin that nothing here registers are counted and left out."""
    named = {each.cell.stem: plugin_names(each.record.specification) for each in members}
    known = plugin_sources(plan, {name for names in named.values() for name in names}, children, options.files)
    together: dict[tuple[str, Sources], list[_Checked]] = {}
    for each in members:
        if lost := [name for name in named[each.cell.stem] if not known.knows(name)]:
            slot, name = lost[0]
            found.not_evaluated[f"{slot} {name!r} is not registered here; give its file with --plugin"] += each in able
            continue
        choice = canonical(each.record.specification.dataset.to_json())
        together.setdefault((choice, known.sources(named[each.cell.stem])), []).append(each)
    return [
        _Group(group[0].record.specification, sources, tuple(group), tuple(each for each in group if each in able))
        for (_, sources), group in together.items()
    ]


def _chosen(able: Sequence[_Checked], options: VerifyOptions) -> list[_Checked]:
    """The cells to evaluate anew, in the order of the plan."""
    once = list({each.cell.stem: each for each in able}.values())
    if options.sample is None or options.sample >= len(once):
        return once
    stems = {each.cell.stem for each in random.Random(options.seed).sample(once, options.sample)}
    return [each for each in once if each.cell.stem in stems]


def _evaluate(
    group: _Group,
    chosen: Sequence[_Checked],
    store: Store,
    children: Children,
    options: VerifyOptions,
    found: Verification,
    say: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Compare code and data of a group's cells, and evaluate the chosen ones anew, in a child."""
    dataset = group.specification.dataset
    arguments = {
        "folder": str(store.folder.resolve()),
        "sources": vars(group.sources),
        "dataset": dataset.to_json(),
        "code": group.code,
        "stems": [each.cell.stem for each in chosen],
        "device": options.device,
        "data_root": options.data_root,
        "seed": options.seed,
    }
    [(_, outcome)] = outcomes(children, [children.start(REEVALUATE, arguments)], STALL)
    told = {name: value for message in outcome.messages for name, value in message.items()}
    if "changed" not in told:
        say(f"{len(group.members)} of the records: a child {outcome.reason('before their code was compared')}")
        return
    title, count = f"data set {group.members[0].cell.dataset!r}", len(group.able)
    for plugin in told.get("changed", ()):
        slot, _, name = plugin.partition("/")
        affected = sum(plugin in each.record.specification.code for each in group.members)
        say(f"{slot} {name!r} has changed since {affected} of the records were measured")
    if "unloaded" in told:
        say(f"{title} cannot be loaded: {told['unloaded']}")
        found.not_evaluated[f"{title} cannot be loaded"] += count
        return
    context = told.get("context_checksum")
    other = dataset.context_checksum is not None and context != dataset.context_checksum
    if "checksum" in told and (told["checksum"] != dataset.checksum or other):
        what = "contexts have" if told["checksum"] == dataset.checksum else "images have"
        say(f"{title}: its {what} changed since {len(group.members)} of the records were measured")
        found.not_evaluated[f"{title} has changed"] += count
        return
    messages = {message["stem"]: message for message in outcome.messages if "stem" in message}
    for each in chosen:
        message = messages.get(each.cell.stem)
        if message is None:
            say(f"{each.title}: the child {outcome.reason('before it was evaluated anew')}")
        elif "failed" in message:
            say(f"{each.title}: it cannot be evaluated anew: {message['failed']}")
        else:
            for line in message["found"]["differs"]:
                say(f"{each.title}: {line}")
            found.evaluated.append(_line(each, message["found"]))
            tell(found.evaluated[-1])


def _line(each: _Checked, found: Mapping[str, Any]) -> str:
    """What the evaluation of a cell anew gave."""
    said = each.record.results.get("iwll")
    start = f"evaluated anew: {each.title}: iwll {said:.4f} in the record, {found['iwll']:.4f}"
    error = f" +- {found['error']:.2g}" if "error" in found else ""
    if "z" in found:
        return f"{start}{error} anew, z = {found['z']:.2f}"
    return f"{start}{error} anew, not decided: {found.get('undecided', 'other images')}"
