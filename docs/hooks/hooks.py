"""The events of `mkdocs build`: generated pages, formulas, cells, and no resource from another host."""

import re
from typing import Any

import cells
import fillings
import mathematics
import plugin_pages
import repository
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

RUN = ("variational-inference.md",)
"""The pages whose Python cells run when the site is built."""
FOREIGN = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]*"|<link\b[^>]*\brel="stylesheet"[^>]*//[^>]*>'
)


def on_config(config: Any) -> Any:
    """Put the registered plugins into the navigation."""
    for section in config.nav:
        if section.get("Plugins") == "generated":
            section["Plugins"] = plugin_pages.navigation()
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    for address, text in {**plugin_pages.pages(), **repository.pages()}.items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to the site's pages, fill in the tables of the code, and run the cells."""
    text = fillings.filled(repository.with_links(page.file.src_uri, markdown))
    return cells.with_output(text) if page.file.src_uri in RUN else text


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Set the formulas."""
    return mathematics.with_mathml(content)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """PluginError for a page that would load something from another host."""
    if found := FOREIGN.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}; keep a copy in docs/assets")
    return output
