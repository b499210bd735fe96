"""The command line: the only place that parses arguments and prints.

Importing a module of commands registers them; `vaezoo --help` lists them in that order.
"""

from vaezoo.cli import plugin_commands  # isort: split
from vaezoo.cli import matrix_commands  # isort: split
from vaezoo.cli.app import main

__all__ = ["main", "matrix_commands", "plugin_commands"]
