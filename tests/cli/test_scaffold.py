"""`vaezoo new`: its files pass every proof unchanged; its package installs, runs, and affects no other if broken."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaezoo
from vaezoo.cli.scaffold import new_package, new_plugin
from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.verdict import FAIL, PASS
from vaezoo.core.errors import VaezooError
from vaezoo.registry import SLOTS, registry

SCRIPT = Path(sys.executable).with_name("vaezoo")


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    """Files go to a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_new_file_passes_every_proof_as_it_stands(own_registry, slot):
    path = new_plugin(slot, "my-own")
    assert path == Path("my_own.py")
    before = list(own_registry.unavailable)
    own_registry.load_file(path)
    assert own_registry.unavailable == before
    plugin = registry(slot)["my-own"]
    assert plugin.summary
    verdicts = []
    for proof in proofs_of(slot):
        found = prove(plugin, proof, quick=True)
        assert found.verdict != FAIL, found
        verdicts.append(found.verdict)
    assert verdicts.count(PASS) >= 0.5 * len(verdicts)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_new_file_is_tidy(own_registry, slot):
    path = new_plugin(f"{slot}s", "tidy", Path("elsewhere.py"))
    assert path.name == "elsewhere.py"
    text = path.read_text(encoding="utf-8")
    assert "$" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert text.count('"""') % 2 == 0
    assert text.startswith(f'"""The {"data set" if slot == "dataset" else slot} tidy."""')


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports, `""` for its own package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("slot", SLOTS)
def test_a_new_file_is_typed_and_uses_public_names_alone(own_registry, slot):
    tree = ast.parse(new_plugin(slot, "tidy", Path("elsewhere.py")).read_text(encoding="utf-8"))
    assert not [name for name in imported(tree) if name.startswith("vaezoo.")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vaezoo":
            assert node.attr in vaezoo.__all__, f"vaezoo.{node.attr}"
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert all(each.annotation for each in arguments if each.arg != "self"), node.name
            assert node.returns or node.name == "__init__", node.name


def fresh_environment(folder: Path) -> Path:
    """The Python of a new environment with a copy of vaezoo, which sees the other packages of this one."""
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    outside = Path(pytest.__file__).parent.parent
    (site / "outside.pth").write_text(f"{outside}\n")
    shutil.copytree(Path(vaezoo.__file__).parent, site / "vaezoo", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(sysconfig.get_path("scripts", "venv", {"base": str(folder)})) / "python"


@pytest.mark.nightly
def test_new_files_pass_type_checkers_in_a_fresh_environment(own_registry, tmp_path):
    """Strict mypy, and pyright; also a prior whose method names a further part. Both see a wrong override."""
    for checker in ("mypy", "pyright"):
        pytest.importorskip(checker)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for slot in SLOTS:
        new_plugin(slot, f"my-{slot}", plugins / f"my_{slot}.py")
    new_package("heavy-tails", plugins / "heavy-tails")
    (plugins / "asking.py").write_text(ASKING)
    python = fresh_environment(tmp_path / "environment")
    files = [*plugins.glob("*.py"), plugins / "heavy-tails" / "src", plugins / "heavy-tails" / "tests"]
    for checker in (
        ["mypy", "--strict", "--python-executable", python, "--cache-dir", tmp_path / "cache"],
        ["pyright", "--pythonpath", python],
    ):
        done = subprocess.run([sys.executable, "-m", *checker, *files], cwd=plugins, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (plugins / "asking.py").write_text(ASKING.replace("(self, n: int) -> Tensor", "(self, n: int) -> str"))
    for checker in (["mypy", "--python-executable", python], ["pyright", "--pythonpath", python]):
        words = [sys.executable, "-m", *checker, plugins / "asking.py"]
        done = subprocess.run(words, cwd=plugins, capture_output=True, text=True)
        assert (done.returncode, "sample" in done.stdout) == (1, True), done.stdout + done.stderr


ASKING = """
from collections.abc import Callable

import vaezoo
from torch import Tensor


@vaezoo.register.prior("asking")
class Asking(vaezoo.Prior):
    def log_density(self, z: Tensor, encode: Callable[[Tensor], vaezoo.PosteriorDistribution]) -> Tensor:
        return z.sum(-1)

    def sample(self, n: int) -> Tensor:
        return vaezoo.noise.normal(n, 2)
"""


def test_nothing_is_overwritten(own_registry):
    path = new_plugin("prior", "mine")
    path.write_text("precious")
    with pytest.raises(VaezooError, match=r"^mine\.py exists already; remove it, or name another file with --out$"):
        new_plugin("prior", "mine")
    assert path.read_text() == "precious"
    Path("my-package").mkdir()
    with pytest.raises(VaezooError, match="my-package exists already"):
        new_package("my-package")


@pytest.mark.parametrize(
    ("slot", "name", "said"),
    [
        ("prior", "StudentT", r"lower-case .* got 'StudentT'; say 'student-t'"),
        ("prior", "my_prior", "say 'my-prior'"),
        ("prior", "", "lower-case"),
        ("prior", "../x", "lower-case"),
        ("prior", "class", "'class' is a word of Python"),
        ("prior", "random", r"random\.py would hide a module of Python's own"),
        ("prior", "torch", r"^torch\.py would hide the installed module 'torch'; name a file with --out$"),
        ("metric", "pandas", r"^pandas\.py would hide the installed module 'pandas'"),
        ("prior", "normal", r"prior 'normal' exists already, in vaezoo/priors/normal\.py:\d+; choose another name"),
        ("pior", "mine", "slot 'pior' is unknown; did you mean 'prior' or 'posterior'"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_written(own_registry, slot, name, said):
    with pytest.raises(VaezooError, match=said):
        new_plugin(slot, name)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("torch", "a module 'torch' can be imported already"), ("normal", "prior 'normal' exists already")],
)
def test_a_package_must_have_a_name_of_its_own(own_registry, name, said):
    with pytest.raises(VaezooError, match=said):
        new_package(name)
    assert list(Path().iterdir()) == []


def test_the_command_line_writes_and_says_what_next(shell, tmp_path):
    done = shell("new", "objective", "my-bound", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "wrote my_bound.py; now: vaezoo check my_bound.py\n", "")
    assert "my_bound.py exists already" in shell.wrong("new", "objective", "my-bound", cwd=tmp_path)
    assert "slot 'zoo' is unknown" in shell.wrong("new", "zoo", "mine", cwd=tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A new package, installed by pip into a folder of its own, and the environment that finds it."""
    here = tmp_path_factory.mktemp("package")
    folder = new_package("heavy-tails", here / "heavy-tails")
    words = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", here / "site", folder]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return here, {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here / "site"), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "250",
        "OMP_NUM_THREADS": "1",
    }


def vaezoo_process(installed, *words: object) -> subprocess.CompletedProcess[str]:
    """A `vaezoo` process that looks for packages anew."""
    here, env = installed
    return subprocess.run(
        [SCRIPT, *map(str, words)], env=env, cwd=here, capture_output=True, text=True, timeout=600, check=False
    )


def test_a_package_is_whole(installed):
    here, _ = installed
    found = {str(p.relative_to(here / "heavy-tails")) for p in (here / "heavy-tails").rglob("*") if p.is_file()}
    wanted = {
        "pyproject.toml",
        "README.md",
        "src/heavy_tails/__init__.py",
        "src/heavy_tails/prior.py",
        "tests/test_conformance.py",
    }
    assert wanted <= found
    assert "$" not in (here / "heavy-tails" / "pyproject.toml").read_text()


@pytest.mark.nightly
def test_an_installed_package_is_listed_proved_and_run(installed, matrix_file):
    here, env = installed
    listed = vaezoo_process(installed, "list", "prior")
    assert "heavy-tails" in listed.stdout
    assert "unavailable" not in listed.stdout
    proved = vaezoo_process(installed, "check", "heavy-tails", "--quick")
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "prior/heavy-tails" in proved.stdout
    assert " 0 failed" in proved.stdout
    matrix_file(here / "m.toml", [{"name": "vae", "prior": "heavy-tails"}])
    ran = vaezoo_process(installed, "run", "m.toml", "--device", "cpu", "--jobs", 1)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 ok" in ran.stdout.splitlines()
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=here / "heavy-tails",
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert tested.returncode == 0, tested.stdout
    assert " passed" in tested.stdout


@pytest.mark.nightly
def test_a_package_whose_import_breaks_leaves_others_unaffected(installed, matrix_file):
    """The last test of the package: it is broken from here on."""
    here, _ = installed
    source = here / "site" / "heavy_tails" / "prior.py"
    source.write_text("import no_such_module\n" + source.read_text())
    listed = vaezoo_process(installed, "list", "prior")
    assert listed.returncode == 0
    reason = "plugin package heavy-tails (heavy_tails) could not be imported: ModuleNotFoundError"
    assert f"unavailable: {reason}" in listed.stdout
    assert "vampprior" in listed.stdout
    refused = vaezoo_process(installed, "check", "heavy-tails")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "could not be imported: ModuleNotFoundError" in refused.stderr
    matrix_file(here / "other.toml", ["vae"])
    ran = vaezoo_process(installed, "run", "other.toml", "--device", "cpu", "--jobs", 1)
    assert ran.returncode == 0, ran.stderr
    assert "1 ok" in ran.stdout.splitlines()
