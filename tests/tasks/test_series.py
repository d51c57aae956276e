"""The forecasting task: the data that are shipped, parsing, and every bad table."""

import hashlib
import json
from importlib import resources

import jax
import numpy as np
import pytest

from jaxrnn.tasks import series

DATA = resources.files("jaxrnn.tasks").joinpath("data")


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode("utf-8"))
        return path

    return write


def raw(task):
    """Undo the standardisation of the whole data array."""
    (standard,) = jax.tree.leaves(task.sample)
    return np.asarray(standard, np.float64) * task.info["std"] + task.info["mean"]


def test_shipped_data_parse_and_stay_small():
    content = DATA.joinpath("sunspots.csv").read_bytes()
    assert len(content) < 100_000
    lines = content.decode("ascii").split("\n")
    assert lines[0] == "sunspots"
    assert lines[-1] == ""
    values = np.array(lines[1:-1], dtype=float)
    assert values.shape == (3120,)
    assert values.min() == 0.0
    assert (values[0], values[-1]) == (58.0, 0.8)  # January 1749, December 2008
    assert np.argmax(values) == (1957 - 1749) * 12 + 9  # the highest maximum: October 1957
    task = series(length=10, batch_size=2)
    assert np.allclose(raw(task)[:, 0], values, atol=1e-4)
    assert task.info["rows"] == 3120
    assert task.info["columns"] == ["sunspots"]
    digest = hashlib.sha256(content).hexdigest()
    assert task.info["sha256"] == digest
    notice = DATA.joinpath("sunspots.LICENCE.md").read_text(encoding="utf-8")
    assert digest in notice
    assert "public domain" in notice
    assert task.info["licence"] == "public domain"


def test_shipped_data_have_the_eleven_year_cycle():
    (data,) = jax.tree.leaves(series(length=10, batch_size=2).sample)
    power = np.abs(np.fft.rfft(np.asarray(data)[:, 0])) ** 2
    years = 3120 / 12 / (1 + int(np.argmax(power[1:])))
    assert 9.5 < years < 12


def test_baseline_is_repeating_the_last_row():
    task = series(length=10, batch_size=2)
    values = raw(task)[:, 0]
    expected = np.mean(np.diff(values) ** 2) / values.var()
    assert task.info["baseline_loss"] == pytest.approx(expected, rel=1e-4)
    assert task.info["baseline_loss"] < 0.2
    assert task.info["baseline"] == "repeating the last row"


def test_baseline_is_the_mean_where_repeating_is_worse(table):
    info = series(table("1\n-1\n" * 10), length=3, batch_size=2).info
    assert (info["baseline_loss"], info["baseline"]) == (1.0, "always answering the mean")


def test_task_facts(table):
    task = series(table("a,b\n1,10\n2,30\n3,20\n"), length=2, batch_size=1)
    assert (task.name, task.kind) == ("series", "regression")
    assert (task.input_size, task.output_size) == (2, 2)
    assert task.info["mean"] == [2.0, 20.0]
    assert task.info["std"] == pytest.approx([(2 / 3) ** 0.5, 10 * (2 / 3) ** 0.5])
    assert json.loads(json.dumps(task.info)) == task.info
    (data,) = jax.tree.leaves(task.sample)
    assert np.allclose(data.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(data.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_targets_are_the_inputs_one_ahead(table, seed):
    content = "\n".join(f"{i},{i * i}" for i in range(50))
    task = series(table(content), length=6, batch_size=3)
    xs, targets, mask = task.sample(jax.random.key(seed))
    assert (xs.shape, targets.shape, mask.shape) == ((6, 3, 2), (6, 3, 2), (6, 3))
    assert (xs.dtype, targets.dtype, mask.dtype) == (np.float32, np.float32, np.bool_)
    assert bool(mask.all())
    assert np.array_equal(xs[1:], targets[:-1])
    rows = np.asarray(xs) * task.info["std"] + task.info["mean"]
    after = np.asarray(targets) * task.info["std"] + task.info["mean"]
    assert np.allclose(after[..., 0], rows[..., 0] + 1, atol=1e-3)
    assert np.allclose(rows[..., 1], rows[..., 0] ** 2, atol=1e-2)


def test_stream_windows_continue_each_other_and_wrap(table):
    task = series(table("\n".join(str(i) for i in range(50))), length=6, batch_size=3)
    steps = task.info["stream_steps"]
    assert steps == 49 // 18
    rows = np.stack([np.asarray(task.stream(step).xs)[..., 0] for step in range(steps)])
    rows = rows * task.info["std"] + task.info["mean"]  # (steps, T, B)
    whole = np.moveaxis(rows, 2, 0).ravel()
    assert np.allclose(whole, np.arange(3 * steps * 6), atol=1e-3)
    assert np.array_equal(task.stream(steps).targets, task.stream(0).targets)
    assert np.array_equal(task.stream(0).targets[-1], task.stream(1).xs[0])


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("t,x\n1,2\n3,5\n", ["t", "x"]),
        ("\ufefft,x\r\n1,2\r\n3,5\r\n", ["t", "x"]),  # as spreadsheets write it
        ('"t", x \n1,2\n3,5\n\n\n', ["t", "x"]),
        ("1,2\n3,5", ["0", "1"]),
        (" 1 , 2.0\n+3,5e0\n", ["0", "1"]),
    ],
)
def test_header_is_optional(table, content, names):
    task = series(table(content), length=1, batch_size=1)
    assert task.info["columns"] == names
    assert np.allclose(raw(task), [[1, 2], [3, 5]], atol=1e-5)


def test_columns_choose_and_order(table):
    path = table("day,a,b\nmon,1,2\ntue,3,5\n")
    assert np.allclose(
        raw(series(path, length=1, batch_size=1, columns=("b", "a"))), [[2, 1], [5, 3]], atol=1e-5
    )
    # a bare string is one name
    assert series(path, length=1, batch_size=1, columns="a").info["columns"] == ["a"]


def test_float64_where_it_is_enabled(table):
    with jax.enable_x64(True):
        task = series(table("1\n2\n4\n"), length=1, batch_size=1)
        assert task.sample(jax.random.key(0)).xs.dtype == np.float64


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1,2\n3,x4\n", {}, r"table.csv', line 3, column 'b': got 'x4', which is not a num"),
        ("a,b\n1,2\n3,1_0\n", {}, "line 3, column 'b': got '1_0', which is not a number"),
        ("mon,1\ntue,2\n", {}, "line 1, column '0': got 'mon', which is not a number"),
        ("a,b\n1,2\n3,\n", {}, "line 3, column 'b': got an empty cell; expected a finite"),
        ("a\n1\n\n2\n", {}, "line 3, column 'a': got an empty cell"),
        ("a,b\n1,2\n3,4\n,\n", {}, "line 4, column 'a': got an empty cell"),
        ("a\n1\nnan\n", {}, "line 3, column 'a': got 'nan', which is not finite"),
        ("a\n1\n-inf\n", {}, "line 3, column 'a': got '-inf', which is not finite"),
        ("a\n1\n1e999\n", {}, "line 3, column 'a': got '1e999', which is not finite"),
        ("a,b\n1,2\n3\n", {}, r"line 3: got 1 cells \('3'\); expected 2 cells, as in line 1"),
        ("a,b\n1,2,3\n", {}, r"line 2: got 3 cells \('1,2,3'\); expected 2 cells"),
        ("1,2\n\n3,4\n", {}, r"line 2: got 1 cells"),
        ('a\n"1"2\n3\n', {}, r"line 2: got text that is no CSV"),
        ("a,b\n1,7\n2,7\n3,7\n", {}, "column 'b' of .* got 7 in every row, a standard deviation"),
        ("0.1\n" * 10, {}, "column '0' of .* got 0.1 in every row"),
        ("1e300\n-1e300\n3\n", {}, "variance float64 cannot hold"),
        ("1e-300\n2e-300\n3e-300\n", {}, "variance float64 cannot hold"),
        ("a\n1\n2\n", {"length": 2}, r"length 2 for 2 rows .*expected .* = 3 rows; use a length"),
        ("a\n1\n", {"length": 1}, "length 1 for 1 rows in .*; pass a longer series$"),
        ("a\n", {}, "got a header and no rows"),
        ("\n \n", {}, "got only blank lines"),
        ("temp,rain\n1,2\n", {"columns": ["tmep"]}, "got 'tmep'; expected one of 'temp', 'rain'; "
         "did you mean 'temp'"),
        ("temp,rain\n1,2\n", {"columns": ["zzz"]}, "got 'zzz'; .*; check the first line"),
        ("a,b\n1,2\n", {"columns": ["a", "a"]}, "got 'a' more than once"),
        ("a,a\n1,2\n", {}, "got 'a' more than once; expected each column once"),
        ("a,b\n1,2\n", {"columns": []}, "got no column; expected at least one name; choose among"),
    ],
)  # fmt: skip
def test_refuses_a_bad_table(table, content, options, message):
    with pytest.raises(ValueError, match=message):
        series(table(content), **{"length": 1, **options})


def test_refuses_columns_that_are_no_names(table):
    with pytest.raises(TypeError, match=r"columns of .* got 0 \(int\); expected names"):
        series(table("a\n1\n2\n"), length=1, columns=[0])


def test_a_long_list_of_columns_is_cut(table):
    header = ",".join(f"column{i}" for i in range(30))
    with pytest.raises(ValueError, match="'column11' and 18 more; did you mean 'column7'"):
        series(table(f"{header}\n{','.join('1' * 30)}\n"), length=1, columns="colum7")


def test_refuses_a_bad_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="series: path: got .*nowhere.csv', where nothing"):
        series(tmp_path / "nowhere.csv")
    with pytest.raises(IsADirectoryError, match="series: path: got the directory"):
        series(tmp_path)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match="series: path: got .*which is empty"):
        series(tmp_path / "empty.csv")
    (tmp_path / "utf16.csv").write_bytes("1\n2\n".encode("utf-16"))
    with pytest.raises(ValueError, match="not UTF-8: byte 0xff at byte offset 0"):
        series(tmp_path / "utf16.csv")


def test_parts_meet_and_share_the_units(table):
    path = table("\n".join(f"{i}" for i in range(20)))
    first, rest = (series(path, length=2, batch_size=1, part=part) for part in [(0, 0.8), (0.8, 1)])
    assert (first.info["rows"], rest.info["rows"]) == (16, 4)
    assert first.info["mean"] == rest.info["mean"] == [9.5]
    np.testing.assert_allclose(np.concatenate([raw(first), raw(rest)])[:, 0], range(20), atol=1e-5)
    with pytest.raises(ValueError, match=r"3 for 2 rows in the part 0.9 to 1 of '.*table.csv'"):
        series(path, length=3, batch_size=1, part=(0.9, 1))
