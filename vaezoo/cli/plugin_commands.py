"""The commands about single plugins: `list`, `show`, `check`, `new`."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaezoo.cli.app import DataRoot, Plugins, app, say, terminal
from vaezoo.core.errors import VaezooError
from vaezoo.registry import SLOTS, Plugin, find, package_names, register, registry

if TYPE_CHECKING:
    from vaezoo.runner.plan.catalogue import Entry


@app.command("list")
def list_command(
    slot: Annotated[str | None, typer.Argument(metavar="[SLOT]", help=f"One of {', '.join(SLOTS)}.")] = None,
    plugin: Plugins = [],
    data_root: DataRoot = None,
) -> None:
    """List what is registered, and what could not be imported; of data sets, which are here and what is downloaded."""
    from vaezoo.cli.display import registry_table

    slots = SLOTS if slot is None else (slot.removesuffix("s") if slot not in SLOTS else slot,)
    with register.without_packages():
        own = {name: list(registry(name).values()) for name in slots}
    entries, lost = _from_outside(plugin)
    console = terminal()
    for name in slots:
        every: list[Plugin | Entry] = [*own[name], *(entry for entry in entries if entry.slot == name)]
        console.print(registry_table(name, every, data_root))
        console.print()
    for each in register.unavailable:
        say(f"unavailable: {each.source}: {each.reason}")
    say(*(f"unavailable: {line}" for line in lost))


def _from_outside(plugins: Sequence[Path]) -> "tuple[list[Entry], list[str]]":
    """What files and installed packages register, and a line for each that could not be imported. Where there is
    neither, no process is started.
    """
    if not plugins and not package_names():
        return [], []
    from vaezoo.cli.outside import Outside
    from vaezoo.runner.children.client import Children

    with Children() as children:
        outside = Outside.of(children, plugins, package_names())
    return list(outside.known.entries.values()), outside.lost()


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A variant, or SLOT/NAME.")], plugin: Plugins = []
) -> None:
    """Show a plugin: its paper, its place, its docstring and its hyper-parameters."""
    from vaezoo.cli.display import plugin_lines

    if not plugin:
        with register.without_packages(), suppress(VaezooError):
            say(*plugin_lines(find(name)))
            return
    from vaezoo.cli.outside import Outside
    from vaezoo.runner.children.client import Children

    with Children() as children:
        outside = Outside.of(children, plugin)
        found = outside.named(name)
        if found in outside.known.entries:
            say(*outside.lines(found))
            return
    with register.without_packages():
        say(*plugin_lines(find("/".join(found))))


@app.command()
def check(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="A variant, SLOT/NAME, a plugin FILE, or an installed PACKAGE."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the samples.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that an import, or a proof, may take.", min=0.001)] = 120.0,
    plugin: Plugins = [],
) -> None:
    """Prove a plugin's mathematics: normalised densities, samples that follow them, gradients as claimed, and more."""
    from vaezoo.cli.display import findings_table, plain
    from vaezoo.cli.outside import Outside, everything_named, points_of
    from vaezoo.conformance.beside import verdict_of
    from vaezoo.conformance.check import nothing_proved, proved_in_children
    from vaezoo.conformance.verdict import FAIL, NOT_RUN, PASS, Finding
    from vaezoo.runner.children.client import Children
    from vaezoo.runner.children.server import FOR_PROOFS
    from vaezoo.runner.files import DamagedFile
    from vaezoo.runner.verdicts import cache_folder, keep

    console, counts, unproved = terminal(), Counter[str](), []

    def show_findings(title: str, findings: Sequence[Finding]) -> None:
        """Print the findings of a plugin, and count them."""
        counts.update(row.verdict for row in findings)
        console.print(findings_table(title, findings))
        console.print()

    files = [Path(name) for name in names if name.endswith(".py")]
    points = [point for name in names if not name.endswith(".py") for point in points_of(name)]
    with Children(FOR_PROOFS) as children:
        outside = Outside.of(children, [*plugin, *files], points, timeout)
        for named in everything_named(outside, names):
            for slot, name in named.plugins:
                title = f"{slot}/{name}"
                with console.status(plain(f"proving {title}")):
                    sources = outside.sources((slot, name))
                    findings = list(proved_in_children(children, sources, slot, name, quick=quick, timeout=timeout))
                unproved += [title] if nothing_proved(findings) else []
                show_findings(title, findings)
                if (verdict := verdict_of(title, findings, quick=quick)) is not None:
                    try:
                        keep(cache_folder(), verdict)
                    except (OSError, DamagedFile) as error:
                        say(f"warning: the verdict is not kept for the tables: {error}", err=True)
            if named.broken:
                show_findings(named.title, [Finding("import", FAIL, "", named.broken)])
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
