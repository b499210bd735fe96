"""The plugins that the models of stored records need, and where they come from."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from vaezoo.registry import PARTS, package_names, register
from vaezoo.runner.children.client import Children
from vaezoo.runner.limits import PLANNING
from vaezoo.runner.plan.catalogue import Catalogue, Name, catalogue
from vaezoo.runner.plan.specification import Specification
from vaezoo.runner.plan.stored import StoredPlan


def plugin_names(specification: Specification) -> list[Name]:
    """The slot and name of each plugin that a cell needs."""
    parts = [(slot, specification.slots[slot][0]) for slot in PARTS if slot in specification.slots]
    metrics = [("metric", name) for name, _ in specification.metrics or ()]
    return list(dict.fromkeys([*parts, ("dataset", specification.dataset.name), *metrics]))


def plugin_sources(plan: StoredPlan, names: Iterable[Name], children: Children, files: Sequence[Path]) -> Catalogue:
    """What the plan's plugin files that are still there, the given ones and, where needed, packages register."""
    wanted = list(names)
    written = [Path(str(each)) for each in plan.matrix.get("plugins") or ()]
    found = list(dict.fromkeys(str(path) for path in (*files, *written) if path.is_file()))
    with register.without_packages():
        needed = not all(Catalogue().knows(name) for name in wanted)
        known = catalogue(children, found if needed else [], (), PLANNING)
        if all(known.knows(name) for name in wanted):
            return known
        return catalogue(children, found, package_names(), PLANNING)
