"""The error that the command shows as a text."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """Says in one readable text what is wrong with what the user asked for."""
