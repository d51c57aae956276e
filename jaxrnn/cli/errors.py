"""The errors that the command shows as a text."""

__all__ = ["CommandError", "StoppedError"]


class CommandError(Exception):
    """Says in one readable text what is wrong with what the user asked for."""


class StoppedError(Exception):
    """Says in one readable text that a signal stopped the command, what is saved, how to go on.

    Args:
      text: the text.
      status: the command's exit status.
    """

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status
