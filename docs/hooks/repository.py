"""Pages that are files of the repository outside docs/, and the links between them."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
    "results/mnist/tables/mnist-dynamic.md": "results-mnist.md",
    "results/caltech/tables/caltech-silhouettes.md": "results-caltech.md",
    "results/crossed/tables/digits-binary.md": "results-crossed.md",
    "results/crossed/tables/digits-binary-effects.md": "results-crossed-effects.md",
    "results/throughput/README.md": "results-throughput.md",
    "results/throughput/linear-cost.md": "results-linear-cost.md",
}
"""File of the repository -> its page."""
MARK = re.compile(r"\[([a-z]+)\](?!\()")
"""A mark of a table: two beside each other would be read as a link."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def pages() -> dict[str, str]:
    """The address of each page below docs/, and its Markdown."""
    found = {page: (ROOT / file).read_text(encoding="utf-8") for file, page in COPIES.items()}
    found |= {page: MARK.sub(r"\[\1\]", text) for page, text in found.items() if page.startswith("results-")}
    found["examples.md"] += "".join(_source(path) for path in sorted((ROOT / "examples").glob("*.*")))
    return found


def _source(path: Path) -> str:
    """A section with a file of the examples. The README is the page itself."""
    if path.suffix not in (".py", ".toml"):
        return ""
    language = "python" if path.suffix == ".py" else "toml"
    return f"\n## {path.name}\n\n```{language}\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"


def with_links(page: str, text: str) -> str:
    """A page whose links lead to pages of the site; a file of the repository that has no page is named only."""
    home = {address: file for file, address in COPIES.items()}.get(page, f"docs/{page}")

    def led(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        file = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        if file.startswith("examples/") and file != "examples/README.md" and (ROOT / file).is_file():
            return f"[{label}]({_relative('examples.md', page)}#{Path(file).name.replace('.', '').lower()})"
        inside = COPIES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if inside is not None:
            return f"[{label}]({_relative(inside, page)}{anchor})"
        if (ROOT / file).exists():
            return label if "`" in label else f"`{file}`"
        return match[0]

    return LINK.sub(led, text)


def _relative(target: str, page: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
