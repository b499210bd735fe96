"""The command line: the only place that parses arguments and prints. Importing a module of commands registers them."""

from vaezoo.cli import (
    compare_command,
    effects_command,
    figures_command,
    matrix_commands,
    plugin_commands,
    report_command,
    verify_command,
)
from vaezoo.cli.app import main

__all__ = [
    "compare_command",
    "effects_command",
    "figures_command",
    "main",
    "matrix_commands",
    "plugin_commands",
    "report_command",
    "verify_command",
]
