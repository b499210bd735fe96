"""Tables in the guides that are written from the code: a line {NAME} of a page becomes the table NAME."""

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from plugin_pages import SERVED, own, type_text
from prose import prose, table

from vaezoo.core.requests import MEANINGS, SERVICES
from vaezoo.registry import FOLDERS, SLOTS
from vaezoo.training.options import TrainingOptions

PLACE = re.compile(r"^\{(\w+)\}$", re.MULTILINE)


def filled(page: str) -> str:
    """The page, with its tables. KeyError for a name that there is no table of."""
    return PLACE.sub(lambda match: TABLES[match[1]](), page)


def _counts() -> str:
    titles = {slot: FOLDERS[slot].replace("datasets", "data sets") for slot in SLOTS}
    tiles = [
        f'<a href="plugins/{slot}/index.html"><strong>{len(own(slot))}</strong> {titles[slot]}</a>' for slot in SLOTS
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _constructor() -> str:
    return table(("argument", "what the builder serves"), [(f"`{name}`", text) for name, text in SERVED.items()])


def _methods() -> str:
    rows = [
        (slot, f"`{method}`", ", ".join(f"`{name}`" for name in service.names))
        for (slot, method), service in SERVICES.items()
        if service.names
    ]
    meanings = [(f"`{name}`", prose(text)) for name, text in MEANINGS.items()]
    return table(("slot", "method", "may name"), rows) + "\n\n" + table(("name", "what it is served"), meanings)


def _training() -> str:
    hints: dict[str, Any] = get_type_hints(TrainingOptions)
    text = " ".join((TrainingOptions.__doc__ or "").split())
    rows = [
        (f"`{each.name}`", f"`{type_text(hints[each.name])}`", f"`{each.default!r}`", prose(_said(each.name, text)))
        for each in fields(TrainingOptions)
    ]
    return table(("`[train]`", "type", "default", "what it is"), rows)


def _said(name: str, text: str) -> str:
    """What a docstring says of a name after its colon, up to the next name or the end of its sentence."""
    found = re.search(rf"\b{name}: (.*?)(?:, and \w+: |\. (?=[a-z_]+: )|\. (?=[A-Z])|$)", text)
    return found[1] if found else ""


TABLES: dict[str, Callable[[], str]] = {
    "counts": _counts,
    "constructor": _constructor,
    "methods": _methods,
    "training": _training,
}
