r"""Formulas as MathML when the site is built, so that a browser shows them without JavaScript or a network.

`pymdownx.arithmatex` finds the formulas ($...$ and $$...$$) and leaves them as \(...\) and \[...\]; latex2mathml
converts them.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def with_mathml(page: str) -> str:
    """The HTML of a page with every formula as MathML."""
    return FORMULA.sub(lambda m: _mathml(html.unescape(m[2]), "inline" if m[1] == "span" else "block"), page)


def _mathml(tex: str, display: str) -> str:
    inner: str = convert(tex.strip(), display=display)
    label = html.escape(" ".join(tex.split()), quote=True)
    shown = inner.replace("<math ", f'<math alttext="{label}" ', 1)
    return shown if display == "inline" else f'<div class="formula-block">{shown}</div>'
