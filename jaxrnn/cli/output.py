"""Where a command writes: checked before the work, written whole after it."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping

from jaxrnn.cli.errors import CommandError

__all__ = ["check_file", "output_directory", "write_files"]


def _make(path: pathlib.Path) -> list[pathlib.Path]:
    """Makes a directory; returns the directories that were made, the innermost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    made: list[pathlib.Path] = []
    try:
        for one in reversed(missing):
            one.mkdir()
            made.insert(0, one)
    except OSError:
        _unmake(made)
        raise
    return made


def _unmake(made: Iterable[pathlib.Path]) -> None:
    """Takes directories away again that hold nothing, the innermost first."""
    for one in made:
        if not any(one.iterdir()):
            one.rmdir()


@contextlib.contextmanager
def output_directory(name: str, *, option: str = "--out") -> Iterator[pathlib.Path]:
    """Makes sure that a directory can be written to, before any work is done.

    Args:
      name: the directory; made if it does not exist, and taken away again if the work fails and it
        is empty.
      option: that names it.

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
        _unmake(made)
        reason = error.strerror or error
        msg = f"got {option} {name}: {reason}; expected a directory that can be written to"
        raise CommandError(msg) from error
    try:
        yield path
    except BaseException:
        _unmake(made)
        raise


def check_file(option: str, name: str) -> None:
    """Makes sure that a file can be written, before any work is done.

    Args:
      option: that names the file.
      name: of the file; its directory has to exist.

    Raises:
      CommandError: the directory cannot be written to, or a directory stands at the name.
    """
    path = pathlib.Path(name)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "a directory")
        path.with_name(f".{path.name}.part").is_file()  # fails where the name is too long
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"got {option} {name}: {reason}; expected a file name in a directory that exists"
        raise CommandError(msg) from error


def write_files(directory: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a directory, each at once: a reader never sees half of one.

    Args:
      directory: an existing directory.
      files: from a name to its contents; one that is an absolute path stands where it says.

    Raises:
      CommandError: a directory stands where a file should; then nothing is written.
    """
    for name in files:
        if (directory / name).is_dir():
            msg = f"got a directory at {directory / name}; expected a file or nothing; move it away"
            raise CommandError(msg)
    places = {name: directory / name for name in files}
    parts = {name: path.with_name(f".{path.name}.part") for name, path in places.items()}
    try:
        for name, data in files.items():
            parts[name].write_bytes(data)
        for name, part in parts.items():
            part.replace(places[name])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
