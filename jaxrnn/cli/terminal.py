"""What a command shows on the terminal: a table, a progress bar."""

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["format_table", "progress"]


def format_table(header: list[str], rows: list[list[str]], *, left: int = 1) -> str:
    """Lays a table out for the terminal; the first `left` columns to the left, others right."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]

    def line(cells):
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


@contextlib.contextmanager
def progress(
    total: int, *, unit: str = "step", shown: bool = True
) -> Iterator[Callable[..., None]]:
    """Shows a progress bar, on a terminal; without tqdm it names what is done, a line each.

    Args:
      total: number of steps.
      unit: what a step is called.
      shown: whether to show anything; of several processes one does.

    Yields:
      A function that moves the bar on: ``(label, steps, loss)``.
    """
    if not shown:
        yield lambda *_: None
        return
    try:
        from tqdm import tqdm
    except ImportError:

        def name(label: str, steps: int, loss: float | None = None) -> None:
            del steps, loss
            if sys.stderr.isatty():
                print(label, file=sys.stderr)

        yield name
        return

    with tqdm(total=total, unit=unit, dynamic_ncols=True, disable=None) as bar:

        def advance(label: str, steps: int, loss: float | None = None) -> None:
            bar.set_description(label)
            if loss is not None:
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(steps)

        yield advance
