"""Imports go downwards only: no module imports one of a layer above its own, or another one beside it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaezoo

HOUSE = Path(vaezoo.__file__).parent
SLOTS = ("encoders", "posteriors", "priors", "decoders", "likelihoods", "objectives")
LAYERS: tuple[tuple[set[str], ...], ...] = (
    ({"core", "plugin_files", "registry", ""},),  # "" is vaezoo/__init__.py: its lazy names are followed home
    ({"nets"},),
    ({"flows"},),
    (*({slot} for slot in SLOTS), {"datasets"}),
    ({"variants"}, {"builder"}),
    ({"evaluation"},),
    ({"training"},),
    ({"metrics"},),
    ({"runner"},),
    ({"reports"}, {"conformance"}),
    ({"cli", "api", "figures"},),
)
"""From below: each layer's groups. A module imports its own group and whatever lies in a lower layer."""
PLACE = {
    name: (height, group) for height, layer in enumerate(LAYERS) for group, names in enumerate(layer) for name in names
}


def modules(root: Path) -> dict[str, Path]:
    """Every module below a package's folder, by its dotted name within the package: "" is the package itself."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def lazy_names(root: Path) -> dict[str, str]:
    """Where the lazy names of the package live: those imported `if TYPE_CHECKING` in its __init__.py."""
    found = {}
    for node in ast.parse((root / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for each in node.body:
                assert isinstance(each, ast.ImportFrom), "lazy names are imported by `from vaezoo... import ...`"
                found |= {alias.name: f"{each.module}.{alias.name}".partition(".")[2] for alias in each.names}
    return found


def imports(name: str, path: Path, known: dict[str, Path], lazy: dict[str, str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name within the package) of all that a module takes from the package, anywhere in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exempt = set()
    if name == "":
        for node in tree.body:
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
                exempt = set(map(id, ast.walk(node)))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if id(node) in exempt:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("vaezoo."):
                    yield node.lineno, alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join(["vaezoo", *filter(None, kept), *filter(None, [node.module])])
            if source.split(".")[0] == "vaezoo":
                below = source.partition(".")[2]
                for alias in node.names:
                    whole = f"{below}.{alias.name}".removeprefix(".")
                    yield node.lineno, whole if whole in known else below or lazy.get(alias.name, "")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vaezoo":
            yield node.lineno, lazy.get(node.attr, node.attr if node.attr in known else "")


def climbs(root: Path) -> list[str]:
    """A line for each import that climbs or goes sideways, and for each module that has no layer."""
    known, lazy, found = modules(root), lazy_names(root), []
    for name, path in known.items():
        top = name.partition(".")[0]
        if top not in PLACE:
            found.append(f"{path.relative_to(root)} has no layer: say in LAYERS where it belongs")
            continue
        height, group = PLACE[top]
        for line, other in imports(name, path, known, lazy):
            above, beside = PLACE.get(other.partition(".")[0], (len(LAYERS), 0))
            if above > height or (above == height and beside != group):
                way = "climbs to" if above > height else "goes sideways to"
                found.append(f"{path.relative_to(root)}:{line} {way} {other}")
    return found


def test_no_import_climbs_or_goes_sideways():
    assert climbs(HOUSE) == []


def test_every_module_is_looked_at():
    """The walk finds what is imported in fact: the checker is not silent for want of files."""
    known, lazy = modules(HOUSE), lazy_names(HOUSE)
    taken = {other for name, path in known.items() for _, other in imports(name, path, known, lazy)}
    assert {"core.contracts", "core.gaussian", "runner.store", "reports.tables", "registry"} <= taken
    assert lazy["build"] == "builder.build"
    assert len(known) > 60


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("core/model.py", "import vaezoo.builder", "core/model.py:1 climbs to builder"),
        (
            "core/model.py",
            "def f():\n    from vaezoo.runner.store import Store",
            "core/model.py:2 climbs to runner.store",
        ),
        ("core/model.py", "from vaezoo import builder", "core/model.py:1 climbs to builder"),
        ("core/model.py", "from .. import builder", "core/model.py:1 climbs to builder"),
        ("core/model.py", "from ..runner import store", "core/model.py:1 climbs to runner.store"),
        (
            "priors/flow.py",
            "from vaezoo.posteriors import gaussian",
            "priors/flow.py:1 goes sideways to posteriors.gaussian",
        ),
        (
            "priors/flow.py",
            "from vaezoo.posteriors.gaussian import G",
            "priors/flow.py:1 goes sideways to posteriors.gaussian",
        ),
        ("priors/flow.py", "from vaezoo.datasets import load_dataset", "priors/flow.py:1 goes sideways to datasets"),
        ("priors/flow.py", "import vaezoo\nvaezoo.build()", "priors/flow.py:2 climbs to builder.build"),
        ("priors/flow.py", "from vaezoo import run", "priors/flow.py:1 climbs to api.run"),
        ("training/step.py", "from vaezoo.metrics import fid", "training/step.py:1 climbs to metrics"),
        ("runner/store.py", "from vaezoo.reports.tables import tables", "runner/store.py:1 climbs to reports.tables"),
        ("reports/tables.py", "import vaezoo.cli", "reports/tables.py:1 climbs to cli"),
        ("zoo.py", "", "zoo.py has no layer: say in LAYERS where it belongs"),
        ("core/model.py", "from vaezoo.registry import register\nfrom vaezoo.core.errors import Skip", None),
        ("priors/flow.py", "from vaezoo.core import noise\nfrom vaezoo.priors import normal\nimport torch", None),
        ("cli/commands.py", "from vaezoo.api import run\nimport vaezoo.reports.tables", None),
        ("runner/store.py", "import vaezoo\nvaezoo.__version__", None),
    ],
)
def test_the_checker_can_fail(tmp_path, file, source, said):
    house = {
        "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from vaezoo.api import run\n    from vaezoo.builder import build\n",
        **{f"{name}.py": "" for name in ("registry", "builder", "cli", "api")},
        **{
            f"{folder}/__init__.py": "" for folder in ("core", "priors", "posteriors", "datasets", "training", "runner")
        },
        "reports/tables.py": "",
        "runner/store.py": "",
        "posteriors/gaussian.py": "",
        file: source,
    }
    for name, text in house.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert climbs(tmp_path) == ([] if said is None else [said])


def test_reports_need_no_torch():
    """Neither by their own imports, followed through vaezoo, nor in fact."""
    known, lazy = modules(HOUSE), lazy_names(HOUSE)
    waiting, seen = [name for name in known if name.partition(".")[0] == "reports"], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        text = known[name].read_text(encoding="utf-8")
        outside = {
            getattr(node, "module", None) or node.names[0].name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert not {each for each in outside if each.split(".")[0] == "torch"}, name
        waiting += [other for _, other in imports(name, known[name], known, lazy)]
    names = ", ".join(f"vaezoo.{name}" for name in known if name.startswith("reports."))
    code = f"import sys, {names}, vaezoo.runner.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_typer_is_for_the_command_line_alone_and_pydantic_for_the_matrix():
    """Parsing arguments stays in its files."""
    for name, path in modules(HOUSE).items():
        roots = {
            (getattr(node, "module", None) or node.names[0].name).split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert "typer" not in roots or name.split(".")[0] == "cli", name
        assert "pydantic" not in roots or name.startswith("runner.matrix"), name
