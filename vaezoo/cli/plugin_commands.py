"""The commands about single plugins: `list`, `show`, `check`, `new`."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from vaezoo.cli.app import Plugins, app, load_plugins, say, terminal
from vaezoo.registry import SLOTS, find, register


@app.command("list")
def list_command(
    slot: Annotated[str | None, typer.Argument(metavar="[SLOT]", help=f"One of {', '.join(SLOTS)}.")] = None,
    plugin: Plugins = [],
) -> None:
    """List what is registered, and what could not be imported."""
    from vaezoo.cli.display import registry_table

    load_plugins(plugin)
    slots = SLOTS if slot is None else (slot.removesuffix("s") if slot not in SLOTS else slot,)
    console = terminal()
    for name in slots:
        console.print(registry_table(name))
        console.print()
    for lost in register.unavailable:
        say(f"unavailable: {lost.source}: {lost.reason}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A variant, or SLOT/NAME.")], plugin: Plugins = []
) -> None:
    """Show a plugin: its paper, its place, its docstring and its hyper-parameters."""
    from vaezoo.cli.display import plugin_lines

    load_plugins(plugin)
    say(*plugin_lines(find(name)))


@app.command()
def check(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="A variant, SLOT/NAME, a plugin FILE, or an installed PACKAGE."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the samples.")] = False,
    plugin: Plugins = [],
) -> None:
    """Prove a plugin's mathematics: normalised densities, samples that follow them, gradients as claimed, and more."""
    from vaezoo.cli.display import findings_table, plain
    from vaezoo.conformance.check import check as examine
    from vaezoo.conformance.check import nothing_proved, plugins_named
    from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS

    load_plugins(plugin)
    plugins = [found for name in names for found in plugins_named(name)]
    console, counts, unproved = terminal(), Counter[str](), []
    for found in plugins:
        with console.status(plain(f"proving {found.slot}/{found.name}")):
            findings = list(examine(found, quick=quick))
        counts.update(row.verdict for row in findings)
        if nothing_proved(findings):
            unproved.append(f"{found.slot}/{found.name}")
        console.print(findings_table(found, findings))
        console.print()
    say(f"{counts[PASS]} passed, {counts[FAIL]} failed, {counts[NOT_RUN]} not run")
    if unproved:
        say(f"nothing could be proved of {', '.join(unproved)}")
    if counts[FAIL] or unproved:
        raise typer.Exit(1)


@app.command()
def new(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help=f"One of {', '.join(SLOTS)}; or `package`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case with hyphens.")],
    out: Annotated[Path | None, typer.Option(help="The file, or a package's folder.")] = None,
) -> None:
    """Write a plugin file that passes `vaezoo check` as it is, or an installable package with a plugin and its test."""
    from vaezoo.cli.scaffold import PACKAGE, new_package, new_plugin

    if slot == PACKAGE:
        folder = new_package(name, out)
        say(f"wrote {folder}; now: pip install -e {folder} && vaezoo check {name}")
    else:
        path = new_plugin(slot, name, out)
        say(f"wrote {path}; now: vaezoo check {path}")
