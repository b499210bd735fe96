"""What the README shows is run as it stands there, in its order, in an empty folder; long trainings are made short."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.verdict import FAIL, PASS
from vaezoo.registry import SLOTS, registry

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SLOW = {r"\bepochs *= *\d+": "epochs = 1", r"\bseeds *= *\d+": "seeds = 1", r"\bhidden *= *\[.*?\]": "hidden = [8]"}
"""What is made short in a matrix; K follows below."""


@dataclass
class Block:
    """A fenced block: its language, its text, the line it begins on."""

    language: str
    text: str
    line: int

    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block, a `$` before them or not."""
        lines = self.text.replace("\\\n", " ").splitlines()
        shown = [line for line in lines if line.startswith("$ ")] or lines
        parts = [part for line in shown for part in line.removeprefix("$ ").split("&&")]
        return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


def blocks(text: str) -> list[Block]:
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


def short(source: str) -> str:
    """A matrix with one epoch, one seed, few samples and no timings."""
    for pattern, text in SLOW.items():
        source = re.sub(pattern, text, source)
    source = re.sub(r"(\[evaluate\]\n)((?:.*\n)*?)importance_samples = \d+", r"\1\2importance_samples = 5", source)
    if "[evaluate]" not in source:
        source = source.replace("[[variants]]", "[evaluate]\nimportance_samples = 5\n[[variants]]", 1)
    return source.replace("[evaluate]\n", "[evaluate]\nthroughput = false\n", 1)


README = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
SHELL = [block for block in README if block.language in ("sh", "console", "bash")]


def test_a_block_is_read_as_a_reader_does():
    text = "a\n```sh\n# why\npip install . && vaezoo run a.toml  # how\nvaezoo \\\n  list\n```\n```toml\nx = 1\n```\n"
    shell, toml = blocks(text)
    assert shell.commands() == [["pip", "install", "."], ["vaezoo", "run", "a.toml"], ["vaezoo", "list"]]
    assert (toml.language, toml.text, toml.line) == ("toml", "x = 1\n", 9)
    assert blocks("```console\n$ vaezoo list\nprior\n```\n")[0].commands() == [["vaezoo", "list"]]


def test_there_is_something_to_run():
    assert {words[0] for block in SHELL for words in block.commands()} >= {"vaezoo"}
    assert {block.language for block in README} >= {"python", "toml"}


@pytest.fixture(scope="module")
def told(shell, tmp_path_factory):
    """The folder of a reader who does all that the README says, and (line, words, what came of it) of each command."""
    here = tmp_path_factory.mktemp("reader")
    (here / "benchmarks").mkdir()
    for path in (ROOT / "benchmarks").glob("*.toml"):
        (here / "benchmarks" / path.name).write_text(short(path.read_text(encoding="utf-8")))
    done = []
    for block in README:
        name = re.match(r"# (\S+\.py)\n", block.text)
        if block.language == "python" and name:
            (here / name[1]).write_text(block.text)
        elif block.language == "python":
            ended = shell.start_python(block.text, cwd=here).wait()
            done.append((block.line, ["python", f"(line {block.line})"], ended.code, ended.out, ended.err))
        elif block.language == "toml":
            (here / "matrix.toml").write_text(short(block.text))
        elif block in SHELL:
            for words in block.commands():
                if words[0] != "vaezoo":  # pip and tox are not for a test to call
                    assert words[0] in ("pip", "tox") or words[1:3] == ["-m", "pip"], words
                    continue
                words = [re.sub(r"^train\.epochs=\d+$", "train.epochs=1", word) for word in words]
                if words[1] == "try":
                    words += ["--set", "evaluate.throughput=false", "--set", "evaluate.importance_samples=5"]
                ended = shell(*words[1:], cwd=here)
                done.append((block.line, words, ended.code, ended.out, ended.err))
    return here, done


@pytest.mark.slow
def test_every_command_and_script_ends_well(told):
    for line, words, code, out, err in told[1]:
        assert (code, err) == (0, ""), f"README.md:{line}: {shlex.join(words)}\n{out}\n{err}"


def test_what_they_are_said_to_leave_is_there(told):
    here, done = told
    assert (here / "results" / "quickstart" / "tables" / "digits.md").is_file()
    assert {words[1] for _, words, *_ in done} >= {"run", "try", "plan", "status", "tables"}
    (quickstart,) = (out for _, words, _, out, _ in done if words[1:] == ["run", "benchmarks/quickstart.toml"])
    assert "8 ok" in quickstart.splitlines()


def test_every_vaezoo_command_in_the_text_is_one(shell):
    """Also those between the lines: `vaezoo list priors`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {shlex.split(words)[0] for words in re.findall(r"`vaezoo ([a-z][^`]*)`", text)}
    helped = shell("--help").out
    for command in found:
        assert re.search(rf"\b{command}\b", helped), command


def test_every_python_name_in_the_text_is_one():
    import vaezoo

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\bvaezoo\.([A-Za-z_]+)\b", text)) - {"plugins"}:  # the entry-point group
        assert hasattr(vaezoo, name), f"vaezoo.{name}"


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    """A page of the site may also lead to the page of a plugin, which is written from the registry."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        _, slot, name = [*target.removesuffix(".md").split("/"), "", ""][:3]
        of_plugin = page.parent.name == "docs" and target.startswith("plugins/")
        known = slot in SLOTS and (name == "index" or name in registry(slot))
        assert known if of_plugin else (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_code_in_the_text_is_there(page):
    """Of a name that follows its file, `core/model.py` `LatentModel.draw`, the file defines each word."""
    text = page.read_text(encoding="utf-8")
    for path, name in re.findall(r"`(?:vaezoo/)?([a-z_]+(?:/[a-z_]+)*\.py)`(?: `([A-Za-z_.]+)`)?", text):
        file = ROOT / "vaezoo" / path
        assert file.is_file() or (ROOT / path).is_file() or path in EXAMPLES, f"{path} is no file of vaezoo"
        if name:
            assert defined(name, file.read_text(encoding="utf-8")), f"{path} does not define {name}"


def test_the_architecture_names_what_the_code_defines():
    """Also the names that do not follow their file."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "vaezoo").rglob("*.py"))
    words = set(re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)*)`", page)) - {"uint8", "vaezoo", "vaezoo.conformance"}
    names = {word for word in words if not word.endswith(".py")}
    assert {"epoch_order", "TrainingStep.inputs", "prepare"} <= names
    assert not [name for name in sorted(names) if not defined(name, code)]


def defined(name: str, source: str) -> bool:
    """Whether each word of a dotted name is a function, a class or a variable of this source."""
    return all(
        re.search(rf"(?:def|class) {word}\b|^\s*{word}\b[^\n]*[=:]", source, re.MULTILINE) for word in name.split(".")
    )


EXAMPLES = ("cauchy.py", "mine.py", "priors/logistic.py")
"""Files that a reader of the pages writes."""


def test_the_plugin_of_contributing_passes_every_proof(own_registry, tmp_path):
    (block,) = (b for b in blocks((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")) if b.language == "python")
    (tmp_path / "logistic.py").write_text(block.text)
    own_registry.load_file(tmp_path / "logistic.py")
    verdicts = [prove(registry("prior")["logistic"], proof, quick=True) for proof in proofs_of("prior")]
    assert not [found for found in verdicts if found.verdict == FAIL]
    assert sum(found.verdict == PASS for found in verdicts) >= 0.6 * len(verdicts)
