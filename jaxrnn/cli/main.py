"""The `jaxrnn` command."""

import argparse
import io
import sys
from collections.abc import Sequence

import jax

from jaxrnn._version import __version__
from jaxrnn.cli import bench, cells, report, spectrum, train
from jaxrnn.cli.errors import CommandError, StoppedError

__all__ = ["main"]

_COMMANDS = {
    "report": (report, "train networks on data and report how gradients flow through them"),
    "spectrum": (spectrum, "measure the spectra of gradient flow through one network"),
    "train": (train, "train one network on data, with checkpoints, and go on with it later"),
    "cells": (cells, "list the cells, or show one in full"),
    "bench": (bench, "measure how fast networks run here, beside other libraries"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxrnn", description="Recurrent networks in JAX, and how gradients flow through them."
    )
    parser.add_argument("--version", action="version", version=f"jaxrnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        module.add_arguments(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
      arguments: the words after ``jaxrnn``; those of the command line if not given.

    Returns:
      0; 2 after an error in what was asked for, 1 if training failed, 130 if interrupted, 143 if
      told to terminate. An error is one readable text on standard error.
    """
    parsed = _parser().parse_args(arguments)
    module, _ = _COMMANDS[parsed.command]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" gets a question mark
    try:
        module.run(parsed)
    except (CommandError, ValueError, OSError) as error:
        print(f"jaxrnn {parsed.command}: {error}", file=sys.stderr)
        return 2
    except (OverflowError, MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        print(
            f"jaxrnn {parsed.command}: got sizes that this machine cannot hold ({reason}); "
            "expected smaller ones; lower --hidden or --length",
            file=sys.stderr,
        )
        return 2
    except FloatingPointError as error:
        print(f"jaxrnn {parsed.command}: {error}", file=sys.stderr)
        return 1
    except StoppedError as error:
        print(f"\njaxrnn {parsed.command}: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"\njaxrnn {parsed.command}: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0
