"""The command line: the only place that parses arguments and prints."""

from vaezoo.cli.commands import main

__all__ = ["main"]
