"""The `jaxrnn` command."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence

import jax

from jaxrnn._version import __version__
from jaxrnn.cli import bench, cells, report, spectrum, train
from jaxrnn.cli.errors import CommandError, StoppedError
from jaxrnn.cli.processes import leave, lost, wait_for_all

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


def _run(run: Callable[[argparse.Namespace], None], parsed: argparse.Namespace):
    """Runs a command; returns its exit status and what is to be said, None where all is well."""
    try:
        run(parsed)
        wait_for_all()
    except (CommandError, ValueError, OSError, jax.errors.JaxRuntimeError) as error:
        gone = None if isinstance(error, CommandError) else lost(error)
        if gone is not None:
            return 1, gone
        if isinstance(error, jax.errors.JaxRuntimeError):
            return 2, _too_large(error)
        return 2, str(error)
    except RuntimeError as error:
        if not jax.distributed.is_initialized():
            raise
        return 1, str(error)  # what another process said
    except (OverflowError, MemoryError) as error:
        return 2, _too_large(error)
    except FloatingPointError as error:
        return 1, str(error)
    except StoppedError as error:  # all processes have; one says so
        return error.status, str(error) if getattr(parsed, "first", True) else None
    except KeyboardInterrupt:
        return 130, "interrupted; nothing was written"
    return 0, None


def _too_large(error: Exception) -> str:
    reason = str(error).split("\n")[0] or type(error).__name__
    return (
        f"got sizes that this machine cannot hold ({reason}); expected smaller ones; lower "
        "--hidden or --length"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
      arguments: the words after ``jaxrnn``; those of the command line if not given.

    Returns:
      0; 2 after an error in what was asked for, 1 if training failed or another process is lost,
      130 if interrupted, 143 if told to terminate. An error is one readable text on standard error.
      One of several processes does not return after an error: it ends.
    """
    parsed = _parser().parse_args(arguments)
    module, _ = _COMMANDS[parsed.command]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" gets a question mark
    status, said = _run(module.run, parsed)
    if said is not None:
        start = "\n" if status >= 128 else ""  # after a progress bar, or ^C
        print(f"{start}jaxrnn {parsed.command}: {said}", file=sys.stderr)
    return leave(status, first=getattr(parsed, "first", True)) if status else 0
