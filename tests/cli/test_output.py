"""Where a command writes, and how."""

import os
import pathlib
import threading

import pytest

from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.output import output_directory, write_files


def test_makes_the_directory_and_keeps_it(tmp_path):
    with output_directory(str(tmp_path / "a" / "b")) as path:
        assert path == tmp_path / "a" / "b" and path.is_dir()
        assert list(path.iterdir()) == []  # the trial file is gone
        (path / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_takes_an_existing_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in (".", str(tmp_path), f"{tmp_path}{os.sep}"):
        with output_directory(name) as path:
            assert path.samefile(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_takes_away_what_it_made_when_the_work_fails(error, tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(error), output_directory(str(tmp_path / "old" / "a" / "b")):
        assert (tmp_path / "old" / "a" / "b").is_dir()
        raise error
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


def test_leaves_what_others_put_there(tmp_path):
    with pytest.raises(ValueError), output_directory(str(tmp_path / "a" / "b")):
        (tmp_path / "a" / "theirs").touch()
        raise ValueError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["theirs"]


def test_refuses_what_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for name in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CommandError) as caught, output_directory(str(name)):
            pytest.fail("the work began")
        assert f"got --out {name}" in str(caught.value) and "expected" in str(caught.value)

    def refuse(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxrnn.cli.output.tempfile.TemporaryFile", refuse)
    with pytest.raises(CommandError, match="No space left"):
        with output_directory(str(tmp_path / "new" / "er")):
            pytest.fail("the work began")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writes_files_whole(tmp_path):
    write_files(tmp_path, {"a": b"\x00\r\n", "b": b""})
    write_files(tmp_path, {"a": b"again"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"again",
        "b": b"",
    }


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path):
    """Reads while another thread replaces the file; halves would be seen with a plain write."""
    contents = {bytes([n]) * 300_000 for n in range(8)}
    write_files(tmp_path, {"file": min(contents)})
    done, seen = threading.Event(), []

    def read():
        while not done.is_set():
            seen.append((tmp_path / "file").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for content in sorted(contents) * 5:
            write_files(tmp_path, {"file": content})
    finally:
        done.set()
        reader.join()
    assert seen and set(seen) <= contents


def test_no_temporary_file_stays(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(CommandError, match="expected a file or nothing"):
        write_files(tmp_path, {"other": b"new", "taken": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
def test_the_umask_holds(tmp_path):
    old = os.umask(0o077)
    try:
        write_files(tmp_path, {"file": b""})
    finally:
        os.umask(old)
    assert pathlib.Path(tmp_path / "file").stat().st_mode & 0o777 == 0o600
