"""What a command shows on the terminal: a table, a progress bar."""

import contextlib
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
def progress(total: int) -> Iterator[Callable[..., None]]:
    """Shows a progress bar of training steps, on a terminal.

    Args:
      total: number of steps.

    Yields:
      A function that moves the bar on: ``(label, steps, loss)``.
    """
    from tqdm import tqdm

    with tqdm(total=total, unit="step", dynamic_ncols=True, disable=None) as bar:

        def advance(label: str, steps: int, loss: float | None = None) -> None:
            bar.set_description(label)
            if loss is not None:
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(steps)

        yield advance
