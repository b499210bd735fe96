"""Which files a plugin's code depends on: follows imports through the source, without running it.

It follows imports into a plugin's own folder, `vaezoo.nets`, `vaezoo.flows` and the shared mathematics of core. The
protocol version of a specification covers the rest of vaezoo.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import vaezoo
from vaezoo.plugin_files import neighbour
from vaezoo.registry import FOLDERS

VAEZOO = Path(vaezoo.__file__).parent
PACKAGES = (*FOLDERS.values(), "nets", "flows")
"""The packages of vaezoo whose files count, for a plugin that uses them."""
MATHEMATICS = ("gaussian", "bounds", "noise", "objective_terms")
"""The modules of vaezoo.core that count."""


@dataclass(frozen=True)
class _References:
    """What a file imports and uses, as absolute dotted names.

    imported: modules that its import statements run, and the names that they bind; used: names that its code uses, with
    their attributes (`vaezoo.nets.dense_stack`); bound: the local names of its imports.
    """

    imported: frozenset[str]
    used: frozenset[str]
    bound: dict[str, str]


class _Reader(ast.NodeVisitor):
    """Collects the references of one file. package: the dotted name of the package that the file is in."""

    def __init__(self, package: str, tree: ast.AST, typing_too: bool):
        self.package, self.typing_too = package, typing_too
        self.imported: set[str] = set()
        self.used: set[str] = set()
        self.stars: set[str] = set()
        self.bound: dict[str, str] = {}
        self.visit(tree)  # imports, anywhere in the file
        self._reading_uses = True
        self.visit(tree)

    _reading_uses = False

    def visit_If(self, node: ast.If) -> None:
        """Skip what only type checkers read."""
        if self.typing_too or not ast.unparse(node.test).endswith("TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b` binds a; `import a.b as c` binds c."""
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.bound[alias.asname or top] = alias.name if alias.asname else top
            self.imported.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from a import b` binds b, a module or a name of one."""
        above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
        source = ".".join(filter(None, [*above, node.module]))
        self.imported.add(source)
        for alias in node.names:
            if alias.name == "*":
                self.stars.add(source)
            else:
                self.bound[alias.asname or alias.name] = f"{source}.{alias.name}"
                self.imported.add(f"{source}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`nets.dense_stack` is one name where `nets` is imported."""
        names, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in self.bound:
            self._use(".".join([self.bound[inner.id], *reversed(names)]))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is imported."""
        if isinstance(node.ctx, ast.Load):
            self._use(self.bound.get(node.id))

    def _use(self, name: str | None) -> None:
        if self._reading_uses and name is not None:
            self.used.add(name)


def _references(path: Path, package: str, typing_too: bool = False) -> _References:
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns, package, typing_too)


@lru_cache(maxsize=1024)
def _read(path: Path, size: int, modified: int, package: str, typing_too: bool) -> _References:
    """The references of a file. size, modified: so that a file that has changed is read again."""
    reader = _Reader(package, ast.parse(path.read_text(encoding="utf-8")), typing_too)
    stars = {f"{source}.*" for source in reader.stars}
    return _References(frozenset(reader.imported), frozenset(reader.used | stars), reader.bound)


class Dependencies:
    """The files that plugins depend on. house: the folder of the package vaezoo."""

    def __init__(self, house: Path = VAEZOO):
        self.house = house

    def of(self, paths: Iterable[Path], beside: Path | None = None) -> set[Path]:
        """The given files and all that they depend on. beside: the folder whose modules a plugin file may import."""
        found: set[Path] = set()
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._direct(path, beside)
        return found

    def _direct(self, path: Path, beside: Path | None) -> Iterator[Path]:
        """The files that one file depends on itself."""
        root = self.house.parent if path.is_relative_to(self.house) else beside
        package = "" if root is None else ".".join(path.relative_to(root).parts[:-1])
        references = _references(path, package)
        for name in references.imported:
            yield from self._of_name(name, False) if _is_own(name) else _of_neighbours(name, beside)
        for name in references.used:
            if _is_own(name):
                yield from self._of_name(name, True)

    def _of_name(self, name: str, whole: bool) -> Iterator[Path]:
        """The files behind a dotted name of vaezoo: of the module that defines it. whole: whether a package
        stands for all of its files, because code passes it on as an object or imports * from it.
        """
        folder, parts = self.house, name.split(".")[1:]
        for number, part in enumerate(parts):
            if (folder / part / "__init__.py").is_file():
                folder = folder / part
            elif (module := folder / f"{part}.py").is_file():
                yield from [module] if self._counts(module) else []
                return
            else:
                package = ".".join(folder.relative_to(self.house.parent).parts)
                exported = _references(folder / "__init__.py", package, typing_too=True).bound
                if part in exported and exported[part] != f"{package}.{part}":
                    yield from self._of_name(".".join([exported[part], *parts[number + 1 :]]), whole)
                    return
                whole = whole and (folder != self.house or part == "*")  # vaezoo.__version__ stands for nothing
                break
        if whole:
            yield from filter(self._counts, folder.rglob("*.py"))

    def _counts(self, module: Path) -> bool:
        inside = module.relative_to(self.house).with_suffix("").parts
        return inside[0] in PACKAGES or (inside[0] == "core" and inside[1] in MATHEMATICS)


def _is_own(name: str) -> bool:
    return name.partition(".")[0] == "vaezoo"


def _of_neighbours(name: str, beside: Path | None) -> Iterator[Path]:
    """The files that importing a dotted name runs, where it is a module beside the plugin file."""
    top, *inner = name.split(".")
    path = None if beside is None else neighbour(beside, top)
    while path is not None:
        yield path
        path = neighbour(path.parent, inner.pop(0)) if inner and path.name == "__init__.py" else None
