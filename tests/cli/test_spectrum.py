"""What `jaxrnn spectrum` promises: its numbers are the library's, and its files come back."""

import functools
import io
import json
import math
import pathlib
import zipfile

import jax
import numpy as np
import pytest

import jaxrnn
from cli.fakes import Page, entry
from jaxrnn import analysis, tasks
from jaxrnn.cli import main, spectrum
from jaxrnn.cli.spectrum_results import spectrum_verdict, summary_rows

pytest.importorskip("matplotlib")

LENGTH, HIDDEN, K, WARMUP = 20, 3, 2, 5
SIZES = ["--length", str(LENGTH), "--k", str(K), "--warmup", str(WARMUP), "--seed", "1"]
FILES = {
    "index.html",
    "spectrum.json",
    "spectrum.png",
    "singular.png",
    "decay.png",
    "lags.png",
    "gates.png",
}


def read_json(directory):
    text = (directory / "spectrum.json").read_text("utf-8")
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def shared():
    """Makes each cell once, so that all runs and the library share what they compile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, row in jaxrnn.CELLS.items():
            patch.setitem(jaxrnn.CELLS, name, row._replace(make=functools.cache(row.make)))
        yield


@pytest.fixture(scope="module")
def run(shared, tmp_path_factory):
    """A network trained for two steps and saved: the directory, with params.npz in it."""
    out = tmp_path_factory.mktemp("run") / "out"
    words = ["spectrum", "lstm", "--hidden", str(HIDDEN), *SIZES, "--steps", "2"]
    assert main([*words, "--save", str(out / "params.npz"), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def again(run, tmp_path_factory):
    """The saved network, read back: its size stands in the file."""
    out = tmp_path_factory.mktemp("again")
    words = ["spectrum", "lstm", *SIZES, "--params", str(run / "params.npz"), "--out", str(out)]
    assert main(words) == 0
    return out


@pytest.mark.slow
def test_writes_these_files_and_no_other(run, again):
    from matplotlib import image

    assert {path.name for path in run.iterdir()} == FILES | {"training.png", "params.npz"}
    assert {path.name for path in again.iterdir()} == FILES
    for path in again.glob("*.png"):
        pixels = image.imread(io.BytesIO(path.read_bytes()), format="png")
        assert min(pixels.shape[:2]) > 200 and pixels[..., :3].std() > 0.01


@pytest.mark.slow
def test_a_saved_network_gives_the_same_numbers(run, again):
    one, two = read_json(run), read_json(again)
    assert one["settings"]["params_sha256"] == two["settings"]["params_sha256"]
    assert two["settings"]["hidden"] == HIDDEN
    for key in ("lyapunov", "singular_values", "gradient_decay", "bounds", "lag_matrix", "gates"):
        assert one[key] == two[key], key
    assert len(one["training"]["loss"]) == 2 and two["training"] is None


@pytest.mark.slow
def test_numbers_are_the_librarys(again, run):
    got = read_json(again)
    task = tasks.text(length=LENGTH, batch_size=32)
    cell = jaxrnn.CELLS["lstm"].make(task.input_size, HIDDEN)
    with np.load(run / "params.npz", allow_pickle=False) as saved:
        assert set(saved.files) == {"w_ih", "w_hh", "b"}
        params = jaxrnn.cells.LSTMParams(**{name: saved[name] for name in saved.files})
    params = jax.tree.map(jax.numpy.asarray, params)
    xs = task.sample(jax.random.split(jax.random.key(1), 3)[2]).xs[:, :4]
    found = analysis.lyapunov_spectrum(cell, params, xs, k=K, warmup=WARMUP)
    np.testing.assert_allclose(got["lyapunov"]["exponents"], found.exponents, rtol=1e-6)
    np.testing.assert_allclose(got["lyapunov"]["mean"], found.exponents.mean(0), rtol=1e-5)
    spread = np.std(found.exponents, axis=0, ddof=1) / 2
    np.testing.assert_allclose(got["lyapunov"]["stderr"], spread, rtol=1e-4)
    assert got["lyapunov"]["qr_every"] == int(found.qr_every)
    assert got["counted_steps"] == LENGTH - WARMUP and got["state_size"] == 2 * HIDDEN
    state, _ = jaxrnn.unroll(cell, params, xs[:WARMUP])
    after = xs[WARMUP:]
    # A third way: the dense product, whose range float32 holds over so few steps.
    dense = [
        np.linalg.svd(_dense(cell, params, after[:, i], state, i), compute_uv=False)[:K]
        for i in range(4)
    ]
    values = np.array(got["singular_values"]["log_singular_values"])
    np.testing.assert_allclose(values, np.log(dense), rtol=1e-3, atol=1e-3)
    gap = (np.array(found.exponents) * (LENGTH - WARMUP) - np.log(dense)).mean(0)
    np.testing.assert_allclose(got["singular_values"]["qr_estimate_error"], gap, atol=3e-3)
    assert all(all(row) for row in got["singular_values"]["reliable"])
    decay = analysis.gradient_decay(cell, params, after, state)
    np.testing.assert_allclose(got["gradient_decay"]["log_norms"], decay.log_norms.T, rtol=1e-5)
    np.testing.assert_allclose(
        [row[-1] for row in got["gradient_decay"]["log_norms"]], values[:, 0], atol=1e-3
    )
    limits = analysis.bounds(cell, params, after, state)
    median = np.median(limits.data_dependent, axis=1)
    np.testing.assert_allclose(got["bounds"]["data_dependent"], median, rtol=1e-5)
    assert got["bounds"]["pascanu"] is None


def _dense(cell, params, xs, state, i):
    """The Jacobian of the last state of sequence i with respect to the first, by `jacfwd`."""
    state = jax.tree.map(lambda leaf: leaf[i], state)
    flat, unravel = jax.flatten_util.ravel_pytree(state)

    def last(flat):
        return jax.flatten_util.ravel_pytree(jaxrnn.unroll(cell, params, xs, unravel(flat))[0])[0]

    return np.asarray(jax.jacfwd(last)(flat), np.float64)


@pytest.mark.slow
def test_the_page_holds_what_it_should(again):
    got, text = read_json(again), (again / "index.html").read_text("utf-8")
    page = Page(text)
    assert [link for link in page.links if not link.startswith("data:image/png;base64,")] == []
    assert len(page.images) == 5 and all(img["alt"] for img in page.images)
    spectra, summary, settings = page.tables
    assert [row[0] for row in spectra] == ["i", "1", "2"]
    mean, error = got["lyapunov"]["mean"][0], got["lyapunov"]["stderr"][0]
    assert spectra[1][1] == f"{mean:+.4f} ± {error:.4f}"
    logs = np.mean(got["singular_values"]["log_singular_values"], axis=0)
    assert [float(row[2]) for row in spectra[1:]] == pytest.approx(logs, abs=6e-4)
    shown = dict(summary)
    assert shown["QR every"] == f"{got['lyapunov']['qr_every']} steps"
    assert shown["bound of Pascanu et al."] == "does not speak of this cell"
    assert shown["through the carry alone"] == f"{got['gates']['carry_rate']:+.4f} nats per step"
    shown = dict(settings)
    assert shown["cell"] == "lstm" and shown["k"] == str(K) and shown["warmup"] == str(WARMUP)
    assert shown["params_sha256"] == got["settings"]["params_sha256"]
    assert all("In numbers." in text for text in page.texts["figcaption"])


@pytest.mark.slow
def test_the_terminal_shows_the_tables(again, run, tmp_path, capsys):
    words = ["spectrum", "lstm", *SIZES, "--params", str(run / "params.npz")]
    assert main([*words, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    mean = read_json(again)["lyapunov"]["mean"][0]
    assert f"1  {mean:+.4f} ± " in said.out
    assert "Kaplan-Yorke dimension   0.000 of 6" in said.out
    assert str(tmp_path / "index.html") in said.out
    assert (tmp_path / "spectrum.json").read_bytes() == (again / "spectrum.json").read_bytes()


# What a user can get wrong.


@pytest.fixture
def folder(tmp_path, monkeypatch, shared):
    """An empty directory with files of parameters that are unfit, and nothing measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spectrum, "measure_spectrum", None)  # all is known before any work
    size = tasks.text(length=3, batch_size=1).input_size
    cell = jaxrnn.CELLS["elman"].make(size, HIDDEN)
    good = {k: np.asarray(v) for k, v in cell.init(jax.random.key(0))._asdict().items()}
    files = {
        "good": good,
        "missing": {k: v for k, v in good.items() if k != "b"},
        "more": good | {"bias": good["b"]},
        "double": good | {"b": good["b"].astype(np.float64)},
        "integer": good | {"b": good["b"].astype(np.int32)},
        "shape": good | {"b": np.zeros(7, np.float32)},
        "inputs": good | {"w_ih": np.zeros((2, HIDDEN), np.float32)},
        "nan": good | {"b": np.full(HIDDEN, np.nan, np.float32)},
        "other": {"kernel": np.zeros((2, 2), np.float32)},
        "none": {},
        "scalars": {name: np.float32(1) for name in good},
        "objects": good | {"b": np.array([{}], object)},
    }
    for name, arrays in files.items():
        np.savez(f"{name}.npz", **arrays)
    whole = pathlib.Path("good.npz").read_bytes()
    pathlib.Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    pathlib.Path("empty.npz").write_bytes(b"")
    pathlib.Path("text.npz").write_bytes(b"hello")
    pathlib.Path("pickle.npz").write_bytes(b"\x80\x04K\x01.")
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    pathlib.Path("flipped.npz").write_bytes(bytes(flipped))
    np.save("one.npy", good["b"])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)}
    )
    with zipfile.ZipFile("huge.npz", "w") as archive:
        archive.writestr("b.npy", header.getvalue())
    with zipfile.ZipFile("zip.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    pathlib.Path("folder").mkdir()
    return tmp_path


def refused(capsys, *words):
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")}
    assert main(["spectrum", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("jaxrnn spectrum: ")
    assert said.err.count("\n") == 1 and "Traceback" not in said.err and "got " in said.err
    assert {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")} == before
    return said.err


BAD_FILES = {
    "nowhere.npz": ("nothing exists", "check the spelling"),
    "folder": ("expected a file", "--save"),
    "missing.npz": ("got --params with no b", "expected b (3,) for elman", "3 hidden units"),
    "more.npz": ("unknown bias", "no such name"),
    "double.npz": ("b of dtype float64", "expected float32"),
    "integer.npz": ("b of dtype int32", "expected float32"),
    "shape.npz": ("b of shape (7,)", "expected (3,)"),
    "inputs.npz": ("w_ih of shape (2, 3)", "--task or --data"),
    "nan.npz": ("b with NaN or infinity", "finite"),
    "other.npz": ("kernel (2, 2)", "expected w_ih, w_hh, b"),
    "none.npz": ("no array", "expected w_ih, w_hh, b"),
    "scalars.npz": ("b ()", "expected w_ih, w_hh, b"),
    "objects.npz": ("array 'b'", "pickled", "expected a .npz file of numbers"),
    "cut.npz": ("broken", "expected a .npz file"),
    "empty.npz": ("broken", "expected a .npz file"),
    "text.npz": ("broken", "expected a .npz file"),
    "pickle.npz": ("broken", "expected a .npz file"),
    "flipped.npz": ("got --params",),
    "one.npy": ("one array", "named arrays"),
    "huge.npz": ("array 'b'", "expected"),
    "zip.npz": ("notes.txt", "expected arrays"),
    "nul\0.npz": ("expected a file",),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_unfit_parameters(name, folder, capsys):
    said = refused(capsys, "elman", "--length", "4", "--params", name)
    for part in BAD_FILES[name]:
        assert part in said


BAD_WORDS = {
    "cell": ("lstn", "unknown cell 'lstn'", "did you mean 'lstm'?"),
    "other cell": ("gru --params good.npz", "--params with", "name the cell"),
    "other size": ("elman --hidden 4 --params good.npz", "w_hh of shape (3, 3)", "(4, 4)"),
    "other task": ("elman --task series --params good.npz", "w_ih of shape", "--task or --data"),
    "k": ("elman --hidden 3 --k 4", "got --k 4", "expected 1 to 3", "leave --k out for 3"),
    "no k": ("elman --k 0", "got --k 0", "expected 1 to"),
    "warmup": ("elman --length 9 --warmup 9", "got --warmup 9", "expected 0 to 8", "--length"),
    "copy": ("elman --task copy --length 9 --warmup 999", "got --warmup 999"),
    "less warmup": ("elman --warmup -1", "got --warmup -1", "expected 0 to"),
    "steps": ("elman --steps -1", "got --steps -1", "expected 0 to"),
    "hidden": ("elman --hidden 99999999999", "got --hidden 99999999999", "expected 1 to"),
    "large k": ("elman --k 99999999999", "got --k 99999999999", "expected 1 to"),
    "large warmup": ("elman --warmup 99999999999", "got --warmup", "expected 0 to"),
    "length": ("elman --length 0", "got --length 0"),
    "seed": ("elman --seed -1", "got --seed -1"),
    "task": ("elman --task txet", "unknown task 'txet'"),
    "data": ("elman --data nowhere.csv", "nowhere.csv", "nothing exists"),
    "columns": ("elman --columns a", "--columns a", "expected a CSV file"),
    "out": ("elman --out good.npz/below", "got --out good.npz/below", "can be written to"),
    "save": ("elman --save far/away.npz", "got --save far/away.npz", "directory that exists"),
    "save folder": ("elman --save folder", "got --save folder", "expected a file name"),
}


@pytest.mark.parametrize("words, expected", [(w, e) for w, *e in BAD_WORDS.values()])
def test_bad_words(words, expected, folder, capsys):
    said = refused(capsys, *words.split())
    for part in expected:
        assert part in said


def test_a_complex_state_is_refused(folder, capsys, monkeypatch):
    def make(input_size, hidden_size):
        cell = jaxrnn.elman(input_size, hidden_size)

        def initial_state(params, batch_shape=()):
            return cell.initial_state(params, batch_shape) * 1j

        return jaxrnn.Cell(cell.init, initial_state, cell.step)

    monkeypatch.setitem(jaxrnn.CELLS, "turning", entry(1.0)._replace(make=make))
    said = refused(capsys, "turning")
    assert "state of complex64" in said and "expected real" in said


def test_work_that_ends_early_leaves_nothing(folder, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(spectrum, "measure_spectrum", stop)
    before = sorted(pathlib.Path().rglob("*"))
    assert main(["spectrum", "elman", "--out", "new/a", "--save", "saved.npz"]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert sorted(pathlib.Path().rglob("*")) == before


@pytest.mark.slow
def test_a_state_that_is_not_finite_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(jaxrnn.CELLS, "broken", entry(math.inf))
    words = ["spectrum", "broken", "--hidden", "2", "--length", "9", "--out", str(tmp_path / "a")]
    assert main(words) == 2
    assert "that is not finite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    """A cell whose Jacobian is 1.5 times the identity, all three of its directions."""
    out = tmp_path_factory.mktemp("growing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(jaxrnn.CELLS, "growing", entry(1.5))
        words = ["growing", "--hidden", "3", "--length", "24", "--warmup", "0", "--out", str(out)]
        assert main(["spectrum", *words]) == 0
    return out


@pytest.mark.slow
def test_a_growing_network(growing):
    got = read_json(growing)
    rate = math.log(1.5)
    np.testing.assert_allclose(got["lyapunov"]["exponents"], np.full((4, 3), rate), rtol=1e-5)
    values = got["singular_values"]
    np.testing.assert_allclose(values["log_singular_values"], np.full((4, 3), 24 * rate), rtol=1e-5)
    assert got["lyapunov"]["kaplan_yorke_dimension"] == [3] * 4
    np.testing.assert_allclose(got["lyapunov"]["entropy"], [3 * rate] * 4, rtol=1e-5)
    assert got["gradient_decay"]["rate"] == pytest.approx(rate, rel=1e-4)
    assert got["gates"] is None and not (growing / "gates.png").exists()
    said = " ".join(Page((growing / "index.html").read_text("utf-8")).texts["p"])
    assert "chaos" in said


@pytest.mark.slow
def test_a_network_that_forgets_all(tmp_path, monkeypatch):
    monkeypatch.setitem(jaxrnn.CELLS, "dead", entry(0.0))
    words = ["dead", "--hidden", "2", "--length", "5", "--out", str(tmp_path)]
    assert main(["spectrum", *words]) == 0
    got = read_json(tmp_path)
    assert got["lyapunov"]["mean"] == ["-inf"] * 2
    assert got["singular_values"]["log_singular_values"] == [["-inf"] * 2] * 4
    said = " ".join(Page((tmp_path / "index.html").read_text("utf-8")).texts["p"])
    assert "Every direction dies" in said


@pytest.mark.slow
@pytest.mark.parametrize("words", ["elman --length 1 --hidden 1 --task series --steps 1"])
def test_odd_sizes(words, tmp_path, shared):
    defaults = [] if "--length" in words else ["--length", "6"]
    hidden = [] if "--hidden" in words else ["--hidden", "2"]
    assert main(["spectrum", *words.split(), *defaults, *hidden, "--out", str(tmp_path)]) == 0
    got = read_json(tmp_path)
    Page((tmp_path / "index.html").read_text("utf-8"))
    assert got["counted_steps"] == len(got["gradient_decay"]["lags"])
    if words.startswith("elman"):
        assert got["bounds"]["pascanu_rate"] == pytest.approx(got["bounds"]["pascanu"][0])


@pytest.mark.slow
def test_words_for_chaos_for_the_edge_and_for_too_few_exponents(again, run):
    report = _report(np.full((4, 2), 0.2))
    said = " ".join(spectrum_verdict(report))
    assert "+0.2000 ± 0.0000 nats per step: chaos" in said and "in 5.0 steps" in said
    assert dict(summary_rows(report)[1])["Kaplan-Yorke dimension"].startswith("more than 2;")
    assert dict(summary_rows(report)[1])["entropy (upper bound)"].startswith("more than 0.4000")
    edge = _report(np.array([[0.1, -1], [-0.1, -1], [0.2, -1], [-0.2, -1]]))
    assert "not told from zero" in spectrum_verdict(edge)[0]
    fading = _report(np.full((4, 2), -math.log(2) / 5))
    assert "shrinks by half in 5.0 steps" in spectrum_verdict(fading)[0]


def _report(exponents):
    """A report of these exponents, whose singular values are theirs over ten steps, less 1."""
    from cli.fakes import curve, make_flow, rate
    from jaxrnn.analysis import LyapunovSpectrum, kaplan_yorke_dimension
    from jaxrnn.cli.spectra import SingularValues, SpectrumReport

    exponents = np.asarray(exponents, np.float32)
    size = exponents.shape[1] + 1
    entropy = np.maximum(exponents, 0).sum(1)
    found = LyapunovSpectrum(
        exponents,
        np.zeros_like(exponents),
        np.repeat(exponents[None], 10, axis=0),
        np.asarray(kaplan_yorke_dimension(exponents, size)),
        np.where(exponents[:, -1] > 0, np.nan, entropy),
        np.int32(1),
        np.ones(exponents.shape, bool),
    )
    logs = 10 * exponents[None] - 1
    values = SingularValues(np.array([10]), logs, 0 * logs, logs == logs)
    flow = make_flow()
    return SpectrumReport(
        size, 0, found, values, curve(-0.1), None, None, np.zeros(6), rate(0.1), flow.lags, None
    )
