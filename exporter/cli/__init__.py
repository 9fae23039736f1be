"""The command line: no command runs the daemon; each other command has its own file."""

from exporter.cli.main import main

__all__ = ["main"]
