"""The fingerprint of a plugin's code: a sha256 of its syntax tree without comments and docstrings."""

import ast
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from vaezoo.core.errors import VaezooError
from vaezoo.registry import Plugin


class _DocstringRemover(ast.NodeTransformer):
    """Removes every statement that is only a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


@lru_cache(maxsize=1024)
def _code_of_file(path: Path, size: int, modified: int) -> str:
    """The code in one form for all Python versions. size, modified: so that a file that has changed is read again."""
    return ast.unparse(_DocstringRemover().visit(ast.parse(path.read_text(encoding="utf-8"))))


def of_files(paths: list[Path]) -> str:
    """One sha256 over the code of Python files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        digest.update(_code_of_file(path, stat.st_size, stat.st_mtime_ns).encode() + b"\0")
    return digest.hexdigest()


def _own_imports(path: Path, package: str) -> list[Path]:
    """The files of the same folder that a built-in plugin imports, and those that these import in turn."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package + "."):
                other = path.parent / f"{node.module.removeprefix(package + '.').split('.')[0]}.py"
                if other not in found | {path}:
                    found.add(other)
                    waiting.append(other)
    return sorted(found)


def fingerprint(plugin: Plugin) -> str:
    """sha256 of a plugin's code: of a built-in, its file and those of its folder that it imports; of a plugin file, the
    file; of an installed package, every Python file of the package. Comments and docstrings do not change it.
    VaezooError for a plugin that was not registered in a file.
    """
    path = Path(plugin.file)
    if not path.is_file():
        raise VaezooError(
            f"{plugin.slot} {plugin.name!r} was registered in a notebook or at a prompt ({plugin.file}), where the "
            'child processes of a run cannot find it; put it into a file and name that under plugins = ["..."]'
        )
    top = plugin.module.split(".")[0]
    if top == "vaezoo":
        return of_files([path, *_own_imports(path, plugin.module.rpartition(".")[0])])
    spec = None if plugin.module.startswith(("vaezoo_plugin_", "__main__")) else importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return of_files([path])
    return of_files(sorted(p for folder in spec.submodule_search_locations for p in Path(folder).rglob("*.py")))
