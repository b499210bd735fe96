"""The command `verify`: whether the results in a folder are those of its plan, its code, its data and its weights."""

from typing import Annotated

import typer

from vaezoo.cli.app import DataRoot, Device, Folder, Plugins, app, say
from vaezoo.registry import existing_file


@app.command("verify")
def verify_command(
    folder: Folder,
    every: Annotated[bool, typer.Option("--all", help="Evaluate every cell anew, not a sample.")] = False,
    sample: Annotated[int, typer.Option(help="How many cells are evaluated anew.", min=0, max=10**6)] = 5,
    seed: Annotated[int, typer.Option(help="Of the choice of these cells, and of the new noise.")] = 0,
    plugin: Plugins = [],
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Check records against plan, digests, code and data, and evaluate a sample of cells anew from their weights.

    Exit code 1 where anything was found. Nothing in the folder is changed.
    """
    from vaezoo.runner.children.client import Children
    from vaezoo.runner.machine.device import resolve_device
    from vaezoo.runner.verify import VerifyOptions, verify

    files = tuple(map(existing_file, plugin))
    options = VerifyOptions(None if every else sample, seed, files, data_root, resolve_device(device))
    with Children() as children:
        found = verify(folder, children, options, say)
    say(found.summary)
    if found.findings:
        raise typer.Exit(1)
