r"""Formulas as MathML when the site is built, so that a browser shows them without JavaScript or a network.

`pymdownx.arithmatex` finds the formulas ($...$ and $$...$$) and leaves them as \(...\) and \[...\]; latex2mathml
converts them.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
TAG = re.compile(r"\\tag\{(.*?)\}")
OPERATOR = re.compile(r"(<mi>(?:log|ln|exp)</mi>)(?!<mo|</mrow>)")
"""A function's name, which is set with a space where no bracket follows it."""


def with_mathml(page: str) -> str:
    """The HTML of a page with every formula as MathML."""
    return FORMULA.sub(lambda m: _inline(html.unescape(m[2])) if m[1] == "span" else _block(html.unescape(m[2])), page)


def _inline(tex: str, display: str = "inline") -> str:
    inner: str = OPERATOR.sub(r'\1<mspace width="0.167em" />', convert(tex.strip(), display=display))
    label = html.escape(" ".join(tex.split()), quote=True)
    return inner.replace("<math ", f'<math alttext="{label}" ', 1)


def _block(tex: str) -> str:
    """A formula on a line of its own, with its number, `\\tag{1}`, at the right."""
    number = "".join(f'<span class="number">({n})</span>' for n in TAG.findall(tex))
    return f'<div class="formula-block">{_inline(TAG.sub("", tex), "block")}{number}</div>'
