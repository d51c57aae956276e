"""Figures as PNG files."""

import io

__all__ = ["to_png"]


def to_png(figure) -> bytes:
    """Returns the PNG file of a matplotlib figure; equal figures are equal files."""
    buffer = io.BytesIO()
    # Without the version that matplotlib writes by default, equal pictures are equal files.
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()
