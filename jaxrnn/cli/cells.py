"""`jaxrnn cells`: the table of cells, and one cell's page."""

import argparse
import textwrap

from jaxrnn.cells import CELLS
from jaxrnn.cli.choices import choose_cell
from jaxrnn.cli.terminal import format_table
from jaxrnn.kernels import select_unroll

__all__ = ["add_arguments", "cell_rows", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show one cell in full")


def cell_rows() -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of the table of cells, as text."""
    rows = [
        [name, entry.structure, entry.state, entry.parameters, entry.paper]
        for name, entry in CELLS.items()
    ]
    return ["cell", "structure", "state", "parameters", "paper"], rows


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if arguments.name is None:
        header, rows = cell_rows()
        print(format_table(header, rows, left=len(header)))
        return
    entry = choose_cell(arguments.name)
    cell = entry.make(*entry.sizes)
    print(f"{arguments.name}: {entry.paper}\n")
    print(textwrap.indent(entry.equations, "  "))
    print(f"\nstructure   {entry.structure}")
    print(f"state       {entry.state}")
    print(f"parameters  {entry.parameters}  (I inputs, H hidden units)")
    print(f"defaults    {entry.defaults}")
    print(f"compared    {entry.provenance}")
    print(f"unroll      {select_unroll(cell).__name__} (chosen here by select_unroll)")
