"""The `jaxrnn` command."""

from jaxrnn.cli.main import main as main

__all__ = ["main"]
