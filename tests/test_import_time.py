"""The command line answers at once: nothing heavy is imported before it is needed."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "scipy", "sklearn", "pydantic", "matplotlib", "plotly")


def test_help_imports_nothing_heavy():
    """How long it takes is measured by `tox -e bench`."""
    code = f"""
import sys
from vaezoo.cli import main
sys.argv = ["vaezoo", "--help"]
try:
    main()
except SystemExit as ending:
    print([name for name in {HEAVY} if name in sys.modules], ending.code)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Usage" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize("module", ["vaezoo", "vaezoo.cli", "vaezoo.registry"])
def test_nothing_heavy_is_imported(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"


def test_the_names_of_the_package_are_there_without_torch():
    code = "import sys, vaezoo; assert {'build', 'run', 'Prior'} <= set(dir(vaezoo)); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == "False"


def test_every_public_name_is_found(shell):
    assert shell.python("import vaezoo; print([n for n in vaezoo.__all__ if getattr(vaezoo, n) is None])") == "[]\n"


def test_an_unknown_name_is_an_attribute_error():
    import vaezoo

    with pytest.raises(AttributeError, match="module 'vaezoo' has no attribute 'Priors'"):
        _ = vaezoo.Priors


def test_results_are_read_and_shown_without_torch(finished):
    """`tables` and `status` are the commands to call again and again."""
    code = f"""
import sys
from vaezoo.cli import main
sys.argv = ["vaezoo", "tables", {str(finished.folder)!r}]
main()
import vaezoo.reports.formats, vaezoo.reports.statistics
print("torch" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code.replace("main()\n", "try:\n    main()\nexcept SystemExit:\n    pass\n", 1)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.splitlines()[-1] == "False"


def test_the_server_of_the_cells_imports_what_every_cell_needs_and_nothing_else_that_is_heavy():
    code = f"""
import sys
from vaezoo.runner.children.server import preload
preload()
heavy = (*{HEAVY}, "torch._dynamo", "scipy.stats", "sklearn.datasets")
print([name for name in heavy if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(ended.stdout.strip("[]\n").replace("'", "").split(", ")) <= {
        "torch",
        "numpy",
        "scipy",
        "pydantic",
        "pandas",
    }
