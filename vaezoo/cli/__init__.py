"""The command line: the only place that parses arguments and prints. Importing a module of commands registers them."""

from vaezoo.cli import matrix_commands, plugin_commands
from vaezoo.cli.app import main

__all__ = ["main", "matrix_commands", "plugin_commands"]
