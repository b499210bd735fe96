"""One Markdown page for each registered plugin, and one for each slot, written from the registry alone."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from prose import link_paper, prose, table

from vaezoo.conformance.check import proofs_of
from vaezoo.conformance.shipped import own_fingerprints
from vaezoo.core.requests import MEANINGS, requests_of
from vaezoo.datasets import SHARED
from vaezoo.registry import FOLDERS, PARTS, SLOTS, Plugin, Variant, first_sentence, register, registry
from vaezoo.runner.verdicts import SHIPPED

ABOUT = {
    "encoder": "x → features: the network that reads an image.",
    "posterior": "features → q(z|x): the approximate posterior, which draws z and gives log q(z|x).",
    "prior": "p(z): the distribution of the latents before an image is seen.",
    "decoder": "z → the parameters of p(x|z).",
    "likelihood": "p(x|z) given the decoder's parameters, normalised, every constant included.",
    "objective": "What training maximises. No table shows an objective's value: objectives train, bounds report.",
    "variant": "A model: one plugin for each of the six parts.",
    "dataset": "Images with their splits, their measure and their checksum.",
    "metric": "Numbers of a trained model, which become columns of the results.",
}
"""A sentence about each slot."""

SERVED = {
    "spec": "the `DataSpec`: the images' shape, measure, levels and context",
    "latent": "the size of the lowest latent group",
    "latents": "the size of each latent group, top first",
    "hidden": "the widths of the hidden layers, of the matrix file's `[model]`",
    "features": "the shape of one image's features, of the encoder",
    "parameter_shape": "the shape of one image's parameters, of the likelihood",
    "train_images": "n → n training images, as floats",
    "train_sample": "n → n training images and their index",
    "train_size": "the number of training images",
}
"""What the builder serves for each constructor argument before `*`."""

DECLARED = {
    "measures": "scores images of the measures",
    "support": "where the latents live",
    "autoregressive": "draws its pixels one after the other, each given those before it",
    "lower_bound": "its mean is at most log p(x)",
    "batch_coupled": "an image's value depends on the others of its batch",
    "surrogate": "its gradient is meant to be another than the derivative of its value",
    "one_group": "takes a single latent group",
}
"""What a class may declare, of the attributes in `core/contracts.py`."""


def pages() -> dict[str, str]:
    """The address of each page below docs/, and its Markdown. VaezooError where a plugin cannot be imported."""
    found = {f"plugins/{slot}/index.md": slot_page(slot) for slot in SLOTS}
    found |= {address(plugin): plugin_page(plugin) for slot in SLOTS for plugin in own(slot)}
    if register.unavailable:
        raise RuntimeError(f"plugins that could not be imported have no page: {register.unavailable}")
    return found | {"plugins/index.md": index_page()}


def navigation() -> list[Any]:
    """The section of the plugins, as in mkdocs.yml: each slot with its plugins."""
    plugins = {slot: [{plugin.name: address(plugin)} for plugin in own(slot)] for slot in SLOTS}
    return ["plugins/index.md", *({_title(slot): [f"plugins/{slot}/index.md", *plugins[slot]]} for slot in SLOTS)]


def _title(slot: str) -> str:
    return FOLDERS[slot].capitalize()


def own(slot: str) -> list[Plugin]:
    """The plugins of a slot that vaezoo itself registers, by name."""
    return [plugin for plugin in registry(slot).values() if plugin.module.startswith("vaezoo.")]


def address(plugin: Plugin) -> str:
    return f"plugins/{plugin.slot}/{plugin.name}.md"


def index_page() -> str:
    rows = [(f"[{FOLDERS[slot]}]({slot}/index.md)", str(len(own(slot))), prose(ABOUT[slot])) for slot in SLOTS]
    total = sum(len(own(slot)) for slot in SLOTS)
    return f"""# Plugins

vaezoo registers {total} plugins in {len(SLOTS)} slots. Any part goes with any other where their supports and measures
agree, and a [plugin of your own](../register.md) is one file. These pages are written from the registry when the site
is built: the text is each plugin's docstring, and the proofs are those of `vaezoo check`.

{table(("slot", "plugins", "what a plugin of it is"), rows)}
"""


def slot_page(slot: str) -> str:
    rows = [(f"[`{p.name}`]({p.name}.md)", prose(p.summary), link_paper(p.paper)) for p in own(slot)]
    proofs = [(f"`{proof.name}`", prose(proof.formula), proof.false_alarm) for proof in proofs_of(slot)]
    return f"""# {_title(slot)}

{ABOUT[slot]}

{table(("name", "what it is", "paper"), rows)}

## Proofs

`vaezoo check {slot}/NAME` carries out these proofs, each in a process of its own. One that does not apply says why it
was not run.

{table(("proof", "what is compared", "false alarm at most"), proofs)}
"""


def plugin_page(plugin: Plugin) -> str:
    """Formula and text, paper, hyper-parameters, requests, declarations, proofs, the variants, and the source."""
    variant = plugin.target if isinstance(plugin.target, Variant) else None
    first, *paragraphs = (plugin.summary if variant else inspect.getdoc(plugin.target) or "").split("\n\n")
    lead = first_sentence(first)
    rest = " ".join(first.split()).removeprefix(lead)
    parts = [
        f"---\ntitle: {plugin.name} ({plugin.slot})\n---\n\n# <small>{plugin.slot}</small> {plugin.name}",
        f'<p class="formula" markdown>{prose(lead[:1].upper() + lead[1:] if variant else lead)}</p>',
        f"Paper: {link_paper(plugin.paper)}" if plugin.paper else "",
        prose("\n\n".join([rest, *paragraphs]), plugin.hyperparameters),
        *(_variant_sections(variant) if variant else _part_sections(plugin)),
        _proofs(plugin),
        _used_by(plugin),
        _source(plugin),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _variant_sections(variant: Variant) -> Iterator[str]:
    rows = []
    for slot in PARTS:
        name, values = chosen(variant, slot)
        if (slot, name) == ("likelihood", "auto"):
            rows.append((slot, "`auto`", "the natural likelihood of the data set's measure"))
            continue
        known = registry(slot)[name].hyperparameters
        settings = [f"`{key} = {values.get(key, each.default)!r}`" for key, each in known.items()]
        rows.append((slot, f"[`{name}`](../{slot}/{name}.md)", ", ".join(settings)))
    yield "## Its parts\n\n" + table(("slot", "plugin", "hyper-parameters"), rows)
    yield (
        "## Run it\n\n"
        f"```sh\nvaezoo try {variant.name} --dataset digits-binary\n```\n\n"
        f'```toml\n[[variants]]\nname = "{variant.name}"\n```'
    )


def chosen(variant: Variant, slot: str) -> tuple[str, Mapping[str, Any]]:
    """The name and the hyper-parameters that a variant declares for a slot."""
    choice = getattr(variant, slot)
    return (choice, {}) if isinstance(choice, str) else choice


def _part_sections(plugin: Plugin) -> Iterator[str]:
    known = {**(SHARED if plugin.slot == "dataset" else {}), **plugin.hyperparameters}
    if known:
        rows = [
            (
                f"`{name}`",
                f"`{type_text(each.annotation)}`",
                "needed" if each.default is each.empty else f"`{each.default!r}`",
            )
            for name, each in known.items()
        ]
        yield "## Hyper-parameters\n\n" + _how_to_set(plugin) + "\n\n" + table(("name", "type", "default"), rows)
    if plugin.slot in PARTS:
        if asked := _requests(plugin):
            yield "## What it asks for\n\n" + table(("where", "request", "what it is served"), asked)
        if declared := _declared(plugin):
            yield "## What it declares\n\n" + table(("attribute", "value", "meaning"), declared)
    if plugin.columns:
        rows = [
            (f"`{each.name}`", prose(each.heading), {1: "higher", -1: "lower"}.get(each.better or 0, ""))
            for each in plugin.columns
        ]
        yield "## Columns\n\n" + table(("column", "heading in tables", "better"), rows)


def _how_to_set(plugin: Plugin) -> str:
    name = next(iter(plugin.hyperparameters), "limit")
    where = {
        "dataset": f'`datasets = [{{ name = "{plugin.name}", {name} = ... }}]`',
        "metric": f'`metrics = [{{ name = "{plugin.name}", {name} = ... }}]` in `[evaluate]`',
    }.get(plugin.slot, f'`{plugin.slot} = {{ name = "{plugin.name}", {name} = ... }}` in a row, or in its sweep')
    return f"A matrix file sets them: {where}."


def _requests(plugin: Plugin) -> list[tuple[str, str, str]]:
    """What the constructor and each method ask for."""
    rows = [("constructor", f"`{name}`", SERVED[name]) for name in plugin.builder_arguments]
    for method, asked in requests_of(plugin.slot, plugin.target).items():
        rows += [(f"`{method}`", f"`{name}`", prose(MEANINGS[name])) for name, _ in asked if name in MEANINGS]
    return rows


def _declared(plugin: Plugin) -> list[tuple[str, str, str]]:
    rows = []
    for name, meaning in DECLARED.items():
        value = getattr(plugin.target, name, None)
        if isinstance(value, tuple):
            value = ", ".join(map(str, value))
        if isinstance(value, str | bool | int) and value not in ("", False):
            rows.append((f"`{name}`", f"`{value}`", meaning))
    return rows


@cache
def _proved() -> dict[str, bool]:
    """Whether the code of each plugin, by slot/name, is the code that passed its proofs."""
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return {name: shipped.get(name) == found for name, found in own_fingerprints().items()}


def _proofs(plugin: Plugin) -> str:
    title = f"{plugin.slot}/{plugin.name}"
    names = ", ".join(f"`{proof.name}`" for proof in proofs_of(plugin.slot))
    if title in _proved():
        verdict = (
            "**Proved.** This code has passed every proof that applies to it; "
            "its fingerprint is in `vaezoo/conformance/proved.json`."
            if _proved()[title]
            else "**Not proved**: the code has changed since it was proved."
        )
    else:
        verdict = "The test suite carries out its proofs."
    return f"""## Proofs

{verdict} `vaezoo check {title}` carries them out again. [The slot's page](index.md#proofs) says what each one compares.

{names}
"""


def _used_by(plugin: Plugin) -> str:
    if plugin.slot not in PARTS:
        return ""
    names = [v.name for v in own("variant") if chosen(v.target, plugin.slot)[0] == plugin.name]
    if len(names) == len(own("variant")):
        return ""
    listed = ", ".join(f"[`{name}`](../variant/{name}.md)" for name in names)
    return "## Variants that use it\n\n" + (
        listed or "None: name it in a matrix row, " + f'`{plugin.slot} = "{plugin.name}"`.'
    )


def _source(plugin: Plugin) -> str:
    """The plugin's file, or a variant's declaration in the file of its family, folded."""
    text = Path(plugin.file).read_text(encoding="utf-8")
    code = text if plugin.slot != "variant" else _declaration(text, plugin.name)
    shown = "\n".join(f"    {line}".rstrip() for line in ["```python", *code.splitlines(), "```"])
    return f'## Source\n\n??? quote "`{plugin.place.partition(":")[0]}`"\n\n{shown}'


def _declaration(text: str, name: str) -> str:
    """The call `Variant("name", ...)` of a file; the whole file where its name is put together."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value == name
        ):
            return textwrap.dedent(" " * node.col_offset + (ast.get_source_segment(text, node) or ""))
    return text


def type_text(kind: Any) -> str:
    """An annotation as one writes it: `int`, `tuple[int, ...]`, `"a" | "b"`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " | ".join(type_text(each) for each in inner)
    if origin is Literal:
        return " | ".join(json.dumps(each) for each in inner)
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if each is ... else type_text(each) for each in inner)}]"
    return "None" if kind is type(None) else str(getattr(kind, "__name__", kind))
