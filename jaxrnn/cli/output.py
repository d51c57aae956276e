"""Where a command writes: checked before the work, written whole after it."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

from jaxrnn.cli.errors import CommandError

__all__ = ["output_directory", "write_files"]


def _make(path: pathlib.Path) -> list[pathlib.Path]:
    """Makes a directory; returns the directories that were made, the outermost last."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        one.mkdir()
    return missing


@contextlib.contextmanager
def output_directory(name: str) -> Iterator[pathlib.Path]:
    """Makes sure that a directory can be written to, before any work is done.

    Args:
      name: the directory; made if it does not exist, and taken away again if the work fails.

    Yields:
      Its path.

    Raises:
      CommandError: it cannot be made or written to.
    """
    path = pathlib.Path(name)
    made = []
    try:
        made = _make(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        for one in made:
            one.rmdir()
        reason = error.strerror or error
        msg = f"got --out {name}: {reason}; expected a directory that can be written to"
        raise CommandError(msg) from error
    try:
        yield path
    except BaseException:
        for one in made:
            if not any(one.iterdir()):
                one.rmdir()
        raise


def write_files(directory: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a directory, each at once: a reader never sees half of one.

    Args:
      directory: an existing directory.
      files: from a name to its contents.
    """
    for name, data in files.items():
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as handle:
            handle.write(data)
        temporary = pathlib.Path(handle.name)
        temporary.chmod(0o644)
        temporary.replace(directory / name)
