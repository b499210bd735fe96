"""Every registered plugin has a page that says what the registry says, and it is in the navigation."""

import inspect
import re
from pathlib import Path

import fillings
import plugin_pages
import prose
import pytest

from vaezoo.conformance.check import proofs_of
from vaezoo.core.requests import SERVICES
from vaezoo.registry import PARTS, SLOTS, registry
from vaezoo.training.options import TrainingOptions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages():
    return plugin_pages.pages()


def own():
    found = [plugin for slot in SLOTS for plugin in registry(slot).values()]
    return [plugin for plugin in found if plugin.module.startswith("vaezoo.")]


def test_every_plugin_has_a_page_with_its_text_paper_options_and_proofs(pages):
    assert len(own()) > 200
    for plugin in own():
        page = pages[f"plugins/{plugin.slot}/{plugin.name}.md"]
        assert prose.link_paper(plugin.paper) in page
        assert all(f"| `{name}` |" in page for name in plugin.hyperparameters), plugin.name
        assert f"`vaezoo check {plugin.slot}/{plugin.name}`" in page
        assert all(f"`{proof.name}`" in page for proof in proofs_of(plugin.slot))
        if plugin.slot in PARTS:
            assert "**Proved.**" in page, f"{plugin.name}: run python -m vaezoo.conformance.shipped"
            assert "- " not in plugin.name
            words = re.findall(r"[a-z]{4,}", re.sub(r"`[^`]*`", "", inspect.getdoc(plugin.target) or ""))
            assert set(words) <= set(re.findall(r"[a-z]{4,}", page)), plugin.name


def test_the_navigation_has_every_page(pages):
    found = set(re.findall(r"plugins/[\w./-]+\.md", repr(plugin_pages.navigation())))
    assert found == set(pages)


def test_links_between_plugin_pages_lead_somewhere(pages):
    for address, page in pages.items():
        folder = Path(address).parent
        for target in re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", page):
            path = (Path("/") / folder / target).resolve().relative_to("/").as_posix()
            assert path in pages or (ROOT / "docs" / path).is_file(), f"{address}: {target}"


def test_a_page_says_which_variants_use_a_part(pages):
    assert "[`vae-vampprior`](../variant/vae-vampprior.md)" in pages["plugins/prior/vampprior.md"]
    assert "[`vampprior`](../prior/vampprior.md)" in pages["plugins/variant/vae-vampprior.md"]
    assert "`components = 500`" in pages["plugins/variant/vae-vampprior.md"]


def test_every_argument_of_a_constructor_is_explained():
    asked = {name for plugin in own() if plugin.slot in PARTS for name in plugin.builder_arguments}
    assert asked == set(plugin_pages.SERVED)


def test_the_guides_tables_are_those_of_the_code():
    page = fillings.filled("{training}\n\ntext {not a table}\n\n{methods}\n\n{counts}\n")
    assert all(f"| `{name}` |" in page for name in TrainingOptions.__dataclass_fields__)
    assert all(f"`{name}`" in page for service in SERVICES.values() for name in service.names)
    assert "text {not a table}" in page
    assert f"<strong>{len(plugin_pages.own('prior'))}</strong> priors" in page


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("p(z) = prod_j N(z_j; 0, s^2)", "p(z) = ∏<sub>j</sub> N(z<sub>j</sub>; 0, s<sup>2</sup>)"),
        ("[B, *shape] -> [B, C]", "&#91;B, &#42;shape&#93; → &#91;B, C&#93;"),
        ("|z| < 1 <script>", "&#124;z&#124; &#60; 1 &#60;script&#62;"),
        ("`log_std` and log_std", "`log_std` and log&#95;std"),
        ("A:\n\n    x = 1\n\nend", "A:\n\n```text\nx = 1\n```\n\nend"),
    ],
)
def test_a_docstring_is_text_and_no_markup(text, markdown):
    assert prose.prose(text) == markdown
