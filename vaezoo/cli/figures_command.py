"""The command `figures`: the pictures and charts of a results folder, drawn again."""

import typer

from vaezoo.cli.app import DataRoot, Device, Folder, Plugins, app, say
from vaezoo.registry import existing_file


@app.command("figures")
def figures_command(folder: Folder, plugin: Plugins = [], data_root: DataRoot = None, device: Device = "auto") -> None:
    """Draw the figures of a results folder as PNG files, also of rows without pictures whose weights were kept."""
    from vaezoo.reports.drawing.folder import draw_figures
    from vaezoo.runner.children.client import Children
    from vaezoo.runner.machine.device import resolve_device
    from vaezoo.runner.pictures import make_missing_pictures

    files = tuple(map(existing_file, plugin))
    with Children() as children:
        lacking = make_missing_pictures(folder, children, files, data_root, resolve_device(device))
    paths = draw_figures(folder)
    for line in (*map(str, paths), *lacking):
        say(line)
    if not paths:
        raise typer.Exit(1)
