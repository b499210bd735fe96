"""Links between the site and the repository's files, formulas without JavaScript, and what the site is built from."""

from pathlib import Path

import pytest
import repository

import vaezoo

ROOT = Path(__file__).parents[2]


def test_links_out_of_docs_lead_to_pages_of_the_site():
    text = "[a](../CONTRIBUTING.md#tests) [b](../examples/hierarchy.py) [c](../results/throughput) [d](own-data.md)"
    assert repository.with_links("architecture.md", text) == (
        "[a](contributing.md#tests) [b](examples.md#hierarchypy) `results/throughput` [d](own-data.md)"
    )
    assert repository.with_links("contributing.md", "[a](docs/architecture.md)") == "[a](architecture.md)"


def test_the_pages_from_the_repository_are_its_files():
    pages = repository.pages()
    assert pages["changelog.md"] == (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for path in (*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*.toml")):
        assert f"## {path.name}\n" in pages["examples.md"]
        assert path.read_text(encoding="utf-8").rstrip() in pages["examples.md"]


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    lines = {line.removeprefix("::: ") for line in page.splitlines() if line.startswith("::: ")}
    modules = {
        "bounds": "core.bounds",
        "noise": "core.noise",
        "register": "registry.Register",
        "Latents": "core.contracts.Latents",
    }
    assert {f"vaezoo.{modules.get(name, name)}" for name in vaezoo.__all__} == lines


def test_a_formula_becomes_mathml_with_its_number():
    pytest.importorskip("latex2mathml")
    import mathematics

    inline, block = "\\(a &lt; \\log b\\)", "\\[c = d \\tag{3}\\]"
    page = f'<p>x <span class="arithmatex">{inline}</span></p><div class="arithmatex">{block}</div>'
    found = mathematics.with_mathml(page)
    assert "arithmatex" not in found
    assert 'alttext="a &lt; \\log b"' in found
    assert '<mi>log</mi><mspace width="0.167em" /><mi>b</mi>' in found
    assert found.count("<math ") == 2
    assert '<span class="number">(3)</span>' in found
    assert "tag" not in found
