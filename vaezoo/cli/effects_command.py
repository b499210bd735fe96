"""The command `effects`: what each choice of a crossed matrix does to the iwll."""

from vaezoo.cli.app import Folder, app, say, terminal
from vaezoo.core.errors import VaezooError


@app.command("effects")
def effects_command(folder: Folder) -> None:
    """Show the effect of each choice where rows cross settings, and write it beside the tables."""
    from vaezoo.reports.effect_sheets import effect_sheets, write_effects
    from vaezoo.reports.effects import effects
    from vaezoo.reports.formats import Terminal

    found = effects(folder)
    console = terminal()
    for each in found:
        for sheet in effect_sheets(each):
            console.print(Terminal(sheet))
            console.print()
    paths = write_effects(found, folder / "tables")
    lacking = [f"{each.dataset}: no effects: {each.reason}" for each in found if each.reason]
    if not paths:
        raise VaezooError("\n".join(lacking))
    say(*lacking, *map(str, paths))
