"""The fingerprint of a plugin: a sha256 of its code and of all the code that it depends on."""

import ast
import hashlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from vaezoo.core.errors import VaezooError
from vaezoo.plugin_files import PREFIX, folder_beside
from vaezoo.registry import Plugin
from vaezoo.runner.plan.imports import VAEZOO, Dependencies


class _CodeOnly(ast.NodeTransformer):
    """Removes what changes no number: docstrings, how a table shows the columns of a metric, and whether it reads
    labels.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Remove a statement that is only a string."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Remove `columns=` and `labels=` from `register.metric(...)`."""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "metric":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("columns", "labels")]
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Remove the import that only `columns=` needs."""
        return None if node.module == "vaezoo.core.columns" else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Remove the empty texts that some Python versions see in an f-string."""
        node.values = [each for each in node.values if not (isinstance(each, ast.Constant) and each.value == "")]
        return self.generic_visit(node)


@lru_cache(maxsize=1024)
def _code_of_file(path: Path, size: int, modified: int) -> str:
    """The code in one form for all Python versions. size, modified: so that a file that has changed is read again."""
    return _form(_CodeOnly().visit(ast.parse(path.read_text(encoding="utf-8"))))


def _form(node: object) -> str:
    """A syntax tree as text, without what is empty: versions of Python differ in that, and `ast.unparse` in quotes."""
    if isinstance(node, list):
        return f"[{','.join(map(_form, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    named = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, ast.Constant):
        named = [("value", node.value)]
    return f"{type(node).__name__}({','.join(f'{name}={_form(value)}' for name, value in named)})"


def _code(path: Path) -> str:
    stat = path.stat()
    return _code_of_file(path, stat.st_size, stat.st_mtime_ns)


def of_files(paths: Sequence[Path]) -> str:
    """One sha256 over the code of Python files. It depends neither on their order nor on where they are."""
    digest = hashlib.sha256()
    for code in sorted(map(_code, paths)):
        digest.update(code.encode() + b"\0")
    return digest.hexdigest()


def fingerprint(plugin: Plugin, house: Path = VAEZOO) -> str:
    """sha256 of a plugin's code and all that it depends on: of a built-in or a plugin file, its file; of an installed
    package, every Python file of it; and of each, the files that these import from the folder of the plugin,
    `vaezoo.nets`, `vaezoo.flows` and the mathematics of core (`runner/plan/imports.py`).

    Comments, docstrings and the `columns=` and `labels=` of a metric do not change it. house: the folder of the package
    vaezoo. VaezooError for a plugin that was not registered in a file.
    """
    path = Path(plugin.file)
    if not path.is_file():
        raise VaezooError(
            f"{plugin.slot} {plugin.name!r} was registered in a notebook or at a prompt ({plugin.file}), where the "
            'child processes of a run cannot find it; put it into a file and name that under plugins = ["..."]'
        )
    dependencies, top = Dependencies(house), plugin.module.partition(".")[0]
    if top == "vaezoo":
        return of_files([*dependencies.of([path])])
    spec = None if plugin.module.startswith((PREFIX, "__main__")) else importlib.util.find_spec(top)
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return of_files([*dependencies.of(file for folder in folders for file in folder.rglob("*.py"))])
    return of_files([*dependencies.of([path], beside=folder_beside(plugin.module, path))])
