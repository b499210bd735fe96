"""The command line: the only place that parses arguments and prints."""

from vaezoo.cli import plugin_commands, matrix_commands  # isort: skip  (in the order of `vaezoo --help`)
from vaezoo.cli.app import main

__all__ = ["main", "matrix_commands", "plugin_commands"]
