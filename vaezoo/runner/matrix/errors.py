"""What can be wrong in a matrix file, one line for each: `PATH: what was expected, what came; what to do`.

The checks of single values raise ValueError without a path: the caller knows where the value stands. Needs no pydantic.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

Loc = tuple[str | int, ...]
"""Where a value stands: keys, and places in lists from 0."""
Problem = tuple[Loc, str]
Check = Callable[[Any], Any]

SECTIONS = ("model", "train", "evaluate")
ARRAYS = ("variants", "references")
MISSING = {
    "datasets": 'name at least one above the first [table]: datasets = ["mnist-dynamic"]',
    "variants": "write one [[variants]] table for each row",
    "name": "every [[variants]] names a registered variant",
}
WORD = "lower-case letters, digits, '.', '_' and '-', the first a letter or digit"
TOKEN = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[{}]', re.DOTALL)
POSITION = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)
ADVICE = {
    "invalid value": "text stands in quotes, and true and false are written small",
    "cannot overwrite a value": "a key or a table is given twice",
    "cannot mutate immutable": "a table is given twice, once as { ... } and once as [table]",
    "cannot declare": "a table is given twice; a row of the matrix starts with [[variants]], in two pairs of brackets",
    "unclosed array": "a closing ] is missing",
    "unclosed inline table": "a closing } or a comma is missing",
}


class Problems(ValueError):
    """Several things wrong below one place: (path from that place, text) for each."""

    def __init__(self, found: list[Problem]) -> None:
        super().__init__("; ".join(line(loc, text) for loc, text in found))
        self.found = found


def line(loc: Loc, text: str) -> str:
    """One error with its path: `variants[2].train.epochs: expected ...`, counted from 1."""
    path = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    return f"{path}{' ' if text.startswith('is not a key') else ': '}{text}" if path else text


def nearest(name: object, known: Iterable[str]) -> str:
    """`did you mean 'epochs'?`, or all the names where none is near."""
    known = list(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are: {', '.join(sorted(known))}" if known else "there are none"


def got(value: object) -> str:
    """What came, in the words of TOML."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, (Mapping, list)):
        return f"a{'' if value else 'n empty'} {'table' if isinstance(value, Mapping) else 'list'}"
    shown = repr(value) if isinstance(value, (str, int, float)) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def refused(expected: str, value: object, advice: str = "") -> ValueError:
    """`expected ..., got ...; what to do`."""
    return ValueError(f"expected {expected}, got {got(value)}{'; ' if advice else ''}{advice}")


def number(
    above: float | None = None, minimum: float | None = None, whole: bool = False, optional: bool = False
) -> Check:
    """The check of a finite number in its range; text and true are no numbers, and an int is fine as a float."""
    bound = f" > {above:g}" if above is not None else f" >= {minimum:g}" if minimum is not None else ""
    expected = f"a {'whole ' if whole else ''}number{bound}"

    def check(value: Any) -> Any:
        """The value as it is kept; an error where it does not fit."""
        if value is None and optional:
            return None
        if isinstance(value, str):
            plain = re.fullmatch(r"\s*[+-]?[\d_.]+([eE][+-]?\d+)?\s*", value)
            raise refused(expected, value, "write it without the quotes" if plain else "")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise refused(expected, value)
        if not _finite(value):
            raise refused(expected.replace("number", "finite number"), value)
        if (above is not None and value <= above) or (minimum is not None and value < minimum):
            raise refused(expected, value)
        return value

    return check


def _finite(value: float) -> bool:
    """Neither nan nor infinite, nor a whole number beyond TOML's 64 bits."""
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def flag(value: Any) -> bool:
    """The check of true or false."""
    if isinstance(value, bool):
        return value
    raise refused("true or false", value)


def text(value: Any) -> str:
    """The check of a text on one line that is not empty."""
    if isinstance(value, str) and value.strip() and len(value.splitlines()) == 1:
        return value
    raise refused("text in quotes, on one line and not empty", value)


def word(value: Any) -> str:
    """The check of a name that is also a folder's."""
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
        return value
    better = re.sub(r"[^a-z0-9._-]+", "-", str(value).lower()).strip("._-") if isinstance(value, str) else ""
    raise refused(WORD, value, f'write name = "{better or "my-matrix"}" above the first [table]')


def one_of(*names: str) -> Check:
    """The check of one name out of a few."""

    def check(value: Any) -> Any:
        """The value as it is kept; an error where it does not fit."""
        if value in names and isinstance(value, str):
            return value
        near = get_close_matches(value, names, n=1) if isinstance(value, str) else []
        expected = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
        raise refused(expected, value, f"did you mean {near[0]!r}?" if near else "")

    return check


def seed_list(value: Any) -> list[int]:
    """The check of a count (N stands for 0 .. N-1) or a list of distinct seeds."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1000:
        return list(range(value))
    if not isinstance(value, list):
        advice = f"for the one seed {value} write [{value}]" if isinstance(value, int) and value > 1000 else ""
        raise refused("a count of seeds from 1 to 1000 or a list of seeds", value, advice)
    if not value:
        raise refused("at least one seed", value)
    listed = [number(minimum=0, whole=True)(seed) for seed in value]
    if twice := sorted({seed for seed in listed if listed.count(seed) > 1}):
        raise ValueError(f"expected distinct seeds, got {', '.join(map(str, twice))} twice; remove one")
    return listed


def pack_size(value: Any) -> int | str:
    """The check of "auto" or a whole number of seeds."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise refused('"auto" or a whole number >= 1', value)


def storable(value: Any, loc: Loc = ()) -> list[Problem]:
    """What in a hyper-parameter or option could not be kept in a JSON record: dates, nan and the infinities."""
    if isinstance(value, dict):
        return [problem for key, inner in value.items() for problem in storable(inner, (*loc, key))]
    if isinstance(value, list):
        return [problem for place, inner in enumerate(value) for problem in storable(inner, (*loc, place))]
    if value is None or isinstance(value, str) or (isinstance(value, (int, float)) and _finite(value)):
        return []
    return [(loc, str(refused("text, a finite number, true, false, a list or a table", value)))]


def choice(value: Any, nameless: bool = True) -> str | dict[str, Any]:
    """The check of "name" or { name = "...", option = ... }; `nameless` says that the name may be left out."""
    if not isinstance(value, dict):
        if isinstance(value, str) and value.strip():
            return value
        raise refused('a name or a table { name = "...", option = ... }', value)
    found = storable(value)
    if "name" in value or not nameless:
        try:
            text(value.get("name"))
        except ValueError as error:
            found.append((("name",), str(error)))
    if found:
        raise Problems(found)
    return value


def unknown_key(loc: Loc, keys: Mapping[str, Iterable[str]]) -> str:
    """What to say of an unknown key: where it belongs, or near misses. `keys`: those of each table, "" is the top."""
    key, tables = str(loc[-1]), [str(part) for part in loc[:-1] if not isinstance(part, int)]
    table = tables[-1] if tables else ""
    if "variants" in tables[:1] and key in keys["variants"]:
        return f"{key!r} belongs in [[variants]] itself; move it above its sub-tables"
    if table and key in keys[""] and (table, key) != ("references", "name"):
        brackets = f"write [[{key}]]" if key in ARRAYS else f"write [{key}]" if key in SECTIONS else ""
        return f"{key!r} belongs at the top; {brackets or 'move it above the first [table]'}"
    for home in SECTIONS:
        if key in keys[home]:
            if "sweep" in tables:
                return f"{key!r} belongs under {home}; write {home}.{key} = [...] in the sweep"
            return f"{key!r} belongs under [{'variants.' if tables[:1] == ['variants'] else ''}{home}]; move it there"
    if not get_close_matches(key, keys[table]):
        for home in ARRAYS:
            if key in keys[home] and key != "name":
                return f"{key!r} belongs under [[{home}]]; move it there"
    return f"is not a key; {nearest(key, keys[table])}"


def problems(errors: Iterable[Mapping[str, Any]], keys: Mapping[str, Iterable[str]]) -> list[Problem]:
    """What pydantic found (`ValidationError.errors()`), in our words."""
    found: list[Problem] = []
    for error in errors:
        loc, kind, value = error["loc"], error["type"], error["input"]
        name = loc[-1] if loc else ""
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, Problems):
            found += [((*loc, *inner), said) for inner, said in cause.found]
            continue
        if cause is not None:
            said = str(cause)
        elif kind == "extra_forbidden":
            said = unknown_key(loc, keys)
        elif kind == "missing":
            said = f"is missing; {MISSING.get(str(name), 'add it')}"
        elif kind == "list_type" and name in ARRAYS and isinstance(value, dict):
            said = f"expected [[{name}]] tables, got one [{name}] table; write [[{name}]], in two pairs of brackets"
        elif kind == "list_type":
            simple = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            said = str(refused("a list", value, f"write [{json.dumps(value)}]" if simple else ""))
        elif kind == "too_short":
            said = str(refused("at least one", value))
        elif kind in ("model_type", "dict_type"):
            doubled = isinstance(value, list) and name in SECTIONS
            said = str(refused("a table", value, f"write [{name}], in one pair of brackets" if doubled else ""))
        else:
            said = f"{error['msg']}, got {got(value)}"
        found.append((loc, said))
    return found


def syntax(source: str, error: ValueError) -> str:
    """`line 4, column 9: what is wrong`, for what tomllib says of a text that is not TOML."""
    source = source.replace("\r\n", "\n")
    match = POSITION.match(str(error))
    if not match:
        return f"not TOML: {error}"
    rows = source.split("\n")
    row, column = (int(match[2]), int(match[3])) if match[2] else (len(rows), len(rows[-1]) + 1)
    offset = sum(len(each) + 1 for each in rows[: row - 1]) + column - 1
    opened: list[int] = []
    for token in TOKEN.finditer(source, 0, offset):
        if token[0] == "{":
            opened.append(token.start())
        elif token[0] == "}" and opened:
            opened.pop()
    rest = source[offset:].lstrip(" \t")
    what = match[1][:1].lower() + match[1][1:]
    if opened and rest.startswith(("\n", "#")):
        header = re.findall(r"^[ \t]*\[+([^\[\]\n]+)\]+", source[: opened[0]], re.MULTILINE)
        key = re.search(r"([\w.-]+)\s*=\s*$", source[: opened[0]])
        table = ".".join([*header[-1:], key[1]]) if key else ""
        hint = f"write a sub-table [{table}] with one key on each line" if table else "join its lines"
        what = f"an inline table {{ ... }} stands on one line; {hint}"
    elif opened and rest.startswith("}") and source[:offset].rstrip().endswith(","):
        what = "an inline table does not end with a comma; remove it"
    elif re.match(r"\s*\[\[variants\]\]", rows[row - 1]) and re.search(r"^\s*\[variants\]", source, re.MULTILINE):
        what = "[variants] and [[variants]] are mixed; start each row of the matrix with [[variants]]"
    else:
        advice = [hint for start, hint in ADVICE.items() if what.startswith(start)]
        what = "; ".join([what, *advice])
    return f"line {row}, column {column}: {what}"
