"""The command line: a module for each group of commands."""

from cube.cli.command_line import main

__all__ = ["main"]
