"""Every example runs, and shows what it says it shows."""

import ast
import importlib.util
import math
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import needs_eight

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").glob("*.py"))
TESTED = {
    "01_quickstart",
    "02_vanishing_and_exploding",
    "03_gates_against_plain",
    "04_your_own_cell",
    "05_sequences_of_different_lengths",
    "06_character_model",
    "07_resets_for_episodes",
    "08_spectra",
    "09_keep_gradients_alive",
    "10_your_flax_model",
    "11_export",
    "12_streaming",
    "13_train_kill_resume",
    "14_from_one_device_to_a_mesh",
}
WITH_PICTURE = [
    "02_vanishing_and_exploding",
    "03_gates_against_plain",
    "08_spectra",
    "09_keep_gradients_alive",
]


def load(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def writes_nothing_where_it_runs(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list((tmp_path / "here").iterdir()) == []


def test_every_example_is_tested_here_and_numbered_without_gaps():
    assert {path.stem for path in FILES} == TESTED
    assert [path.name[:3] for path in FILES] == [f"{n:02d}_" for n in range(1, len(FILES) + 1)]
    body = pathlib.Path(__file__).read_text(encoding="utf-8")
    for name in TESTED:
        assert f'load("{name}").main(' in body


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short_and_uses_public_names(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
    assert source.startswith('"""')
    assert "xpect" in source.split('"""')[1]  # says what to expect
    assert "if __name__ ==" in source
    names, modules = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
            modules |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    assert "jaxrnn" in names | modules
    public = {"jaxrnn.analysis", "jaxrnn.plots", "jaxrnn.testing"}
    assert {name for name in modules if name.startswith("jaxrnn.")} <= public
    assert {name for name in names if name.startswith(("_", "jaxrnn."))} <= {"_replace"}


@pytest.mark.slow
def test_quickstart(capsys):
    result = load("01_quickstart").main(steps=60, hidden_size=16)
    printed = capsys.readouterr().out
    assert "step   25  loss " in printed
    assert "step   60  loss " in printed
    assert result["loss"] < result["baseline"] + 0.2
    for before, after in zip(result["before"], result["after"], strict=True):
        assert math.isfinite(before)
        assert before != after
        assert f"{after:.3f} trained" in printed


@pytest.mark.slow
def test_vanishing_and_exploding(capsys, tmp_path):
    out = tmp_path / "pictures"
    found = load("02_vanishing_and_exploding").main(points=7, out=out)
    gains, linear, tanh, before, after = found
    assert gains[3] == 1
    np.testing.assert_allclose(linear, np.log(gains), atol=1e-4)
    np.testing.assert_allclose(tanh[:4], np.log(gains[:4]), atol=1e-4)
    assert np.all(tanh[4:] < np.log(gains[4:]) - 0.02)  # saturation
    assert np.all(np.diff(before) > 0)
    assert before[-1] > 1e10
    np.testing.assert_allclose(after, np.minimum(before, 1), rtol=1e-4)
    assert (before < 1).any()
    assert f"{gains[-1]:6.3f} {0.3:10.4f}" in capsys.readouterr().out
    check_picture(out, "vanishing_and_exploding.png")


def check_picture(out, name):
    assert [path.name for path in out.iterdir()] == [name]
    from matplotlib.image import imread

    pixels = imread(out / name)
    assert min(pixels.shape[:2]) >= 500
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50  # something is drawn


@pytest.mark.slow
def test_spectra(capsys, tmp_path):
    out = tmp_path / "pictures"
    result = load("08_spectra").main(size=60, steps=600, k=3, out=out)
    spectrum, theory, exact, swept = result
    assert 0 < theory - spectrum.exponents[0] < 0.06  # biased low in a small network
    assert theory == pytest.approx(0.154724229831, abs=1e-6)
    bias = swept - exact
    assert np.all(bias[2:, 0] < -1)  # the estimate is wrong by more than a nat
    assert abs(bias[-1, 0] - bias[-2, 0]) < 0.3  # and stays so
    assert f"{exact[-1, 0]:15.4f}" in capsys.readouterr().out
    check_picture(out, "spectra.png")


@pytest.mark.slow
def test_keep_gradients_alive(capsys, tmp_path):
    out = tmp_path / "pictures"
    seen = load("09_keep_gradients_alive").main(steps=80, hidden_size=16, length=20, out=out)
    last = {name: monitored.metrics["exponents"][-1] for name, monitored in seen.items()}
    assert np.all(np.abs(last["with penalty"]) < 0.1)
    assert np.all(last["without penalty"] < -0.25)
    for monitored in seen.values():
        assert np.all(monitored.metrics["exponents"][0] < -0.4)
    assert f"with penalty: exponents {seen['with penalty'].metrics['exponents'][0].round(3)}" in (
        capsys.readouterr().out
    )
    check_picture(out, "keep_gradients_alive.png")


@pytest.mark.slow
def test_gates_against_plain(capsys, tmp_path):
    out = tmp_path / "pictures"
    results = load("03_gates_against_plain").main(steps=40, length=6, hidden_size=8, out=out)
    printed = capsys.readouterr().out
    for name, (loss, decays) in results.items():
        assert loss.shape == (40,)
        (line,) = [one for one in printed.splitlines() if one.startswith(name)]
        last, baseline = loss[-20:].mean(), 1 / 6
        assert f"loss {last:.4f}, {'learned' if last < baseline / 2 else 'did not learn'}" in line
        untrained, trained = (float(jnp.mean(decay.rate)) for decay in decays)
        moved = "towards 0" if abs(trained) < abs(untrained) else "away from 0"
        assert f"rate {untrained:+.3f} -> {trained:+.3f}, {moved}" in line
    check_picture(out, "gates_against_plain.png")


@pytest.mark.slow
def test_gates_against_plain_as_its_docstring_promises():
    results = load("03_gates_against_plain").main()
    last = {name: loss[-20:].mean() for name, (loss, _) in results.items()}
    rates = {
        name: [float(jnp.mean(decay.rate)) for decay in decays]
        for name, (_, decays) in results.items()
    }
    assert last["lstm"] < 0.5 / 6
    assert last["gru"] < 0.5 / 6
    assert last["elman"] > 0.8 / 6
    assert rates["elman"][0] > rates["gru"][0]  # untrained, the plain cell does not fade fastest
    assert abs(rates["lstm"][1]) < abs(rates["lstm"][0])
    assert abs(rates["gru"][1]) < abs(rates["gru"][0])
    assert rates["elman"][1] < rates["elman"][0]


def test_your_own_cell():
    value_error, grad_error, rate = load("04_your_own_cell").main()
    assert value_error < 1e-6
    assert grad_error < 1e-7
    assert -0.25 < rate < 0  # 1 - leak keeps log(0.8) = -0.22 and the rest comes on top


@pytest.mark.slow
def test_your_own_cell_obeys_the_laws(capsys):
    load("04_your_own_cell").main(check=True)
    assert "obeys every law" in capsys.readouterr().out


@pytest.mark.slow
def test_sequences_of_different_lengths(capsys):
    batch, single, grad_error, state_error = load("05_sequences_of_different_lengths").main(
        lengths=(4, 5, 0)
    )
    assert "NaN entries in the padded batch: 18 of 45" in capsys.readouterr().out
    assert batch == pytest.approx(single, rel=1e-6)
    assert grad_error < 1e-6
    assert state_error < 1e-6


@pytest.mark.slow
def test_sequences_of_different_lengths_notices_a_difference(monkeypatch):
    module = load("05_sequences_of_different_lengths")
    pad = module.pad

    def shifted(sequences):
        xs, mask = pad(sequences)
        return xs + 0.1, mask

    monkeypatch.setattr(module, "pad", shifted)
    batch, single, grad_error, state_error = module.main(lengths=(4, 5, 0))
    assert abs(batch - single) > 1e-4
    assert min(grad_error, state_error) > 1e-4


@pytest.mark.slow
def test_character_model(capsys):
    result = load("06_character_model").main(steps=40, hidden_size=32, count=60)
    assert len(result["sample"]) == 60
    assert result["sample"] in capsys.readouterr().out
    assert result["loss"] < result["baseline"] + 0.3
    assert len(set(result["sample"])) > 5


def test_a_colder_sample_is_more_certain():
    """At a low temperature the sampler takes the likeliest character, whatever the key."""
    module = load("06_character_model")
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(5, 6)), jaxrnn.readout(5))
    params = net.init(jax.random.key(0))
    write = module.make_sampler(net, 8)
    cold = [write(params, jnp.int32(0), 1e-4, jax.random.key(k)).tolist() for k in range(3)]
    assert cold[0] == cold[1] == cold[2]
    state, token, greedy = net.initial_state(params), jnp.int32(0), []
    for _ in range(8):
        state, logits = net.apply(params, token[None], state)
        token = jnp.argmax(logits[0])
        greedy.append(int(token))
    assert cold[0] == greedy
    warm = [write(params, jnp.int32(0), 5.0, jax.random.key(k)).tolist() for k in range(3)]
    assert not warm[0] == warm[1] == warm[2]


@pytest.mark.slow
def test_resets_for_episodes(capsys):
    found = load("07_resets_for_episodes").main(lengths=(3, 4, 2))
    assert "resets at [0 3 7]" in capsys.readouterr().out
    assert found["error"] < 1e-6
    assert found["norms"]["with resets"] == 0
    assert found["norms"]["without"] > 0.01
    assert found["before"] == 0
    assert found["within"] > 0


@pytest.mark.peer
def test_your_flax_model(capsys):
    pytest.importorskip("flax")
    cell, params, decay, spectrum = load("10_your_flax_model").main(steps=60, hidden_size=8)
    assert isinstance(cell, jaxrnn.Cell)
    assert set(params["params"]) >= {"hi", "hf", "hg", "ho"}  # flax's own names
    assert decay.rate < 0
    assert np.all(spectrum.exponents < 0)
    assert f"gradients change by {decay.rate:.3f} nats per step" in capsys.readouterr().out


def test_your_flax_model_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(SystemExit, match="pip install flax"):
        load("10_your_flax_model").main()


@pytest.mark.slow
def test_export(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    differences, files = load("11_export").main(hidden_size=4, out=tmp_path / "out")
    assert max(differences) < 1e-6
    printed = capsys.readouterr().out
    assert "ONNX: not installed; install it with: pip install 'jaxrnn[onnx]'" in printed
    assert list(files) == ["network.stablehlo"]
    (file,) = (tmp_path / "out").iterdir()
    program = jax.export.deserialize(bytearray(file.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.peer
def test_export_to_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    _, files = load("11_export").main(hidden_size=4)
    onnx.checker.check_model(onnx.load_model_from_string(files["network.onnx"]))


@pytest.mark.slow
def test_streaming(capsys):
    found = load("12_streaming").main(steps=12, hidden_size=4)
    assert found["error"] < 1e-5
    assert found["donated"]
    assert found["answers"].shape == (12, 3, 1)
    assert "12 steps of 3 streams" in capsys.readouterr().out


@pytest.mark.slow
def test_train_kill_resume(capsys):
    saved, same = load("13_train_kill_resume").main(steps=60, pause=0.3)
    assert same
    assert saved < 60 and saved % 20 == 0
    assert f"killed; the newest checkpoint is of step {saved} of 60" in capsys.readouterr().out


@needs_eight
@pytest.mark.slow
def test_from_one_device_to_a_mesh(capsys):
    mesh, part, sent, difference = load("14_from_one_device_to_a_mesh").main(steps=20)
    assert mesh.shape == {"data": 4, "time": 1, "model": 2}
    assert part == (32, 48)
    assert sent.kinds["all-reduce"] and sent.bytes_sent > 0
    assert difference < 1e-5
    assert "of which a device holds (32, 48)" in capsys.readouterr().out


# These train for half a minute or more, which the tests above do in small.
LONG = ("03_", "06_", "08_", "09_", "13_")


OF_OTHERS = {"10_your_flax_model": "flax"}  # need another library


# As scripts these show the words of the command line and the exit; the others, whose `main` runs
# above, repeat that.
AS_SCRIPTS = ("02_", "07_", "12_")


def script(path):
    mark = pytest.mark.slow if path.stem.startswith(AS_SCRIPTS) else pytest.mark.exhaustive
    if path.stem in OF_OTHERS:
        mark = pytest.mark.peer
    return pytest.param(path, marks=mark, id=path.stem)


@pytest.mark.parametrize("path", [script(path) for path in FILES if not path.stem.startswith(LONG)])
def test_an_example_runs_as_a_script(path, tmp_path):
    if path.stem in OF_OTHERS:
        pytest.importorskip(OF_OTHERS[path.stem])
    options = ["--out", str(tmp_path / "out")] if path.stem in WITH_PICTURE else []
    done = subprocess.run(
        [sys.executable, "-W", "error", path, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "PATH": "",
            "HOME": str(tmp_path),
            "XLA_FLAGS": os.environ["XLA_FLAGS"],  # as tests/conftest.py sets them
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert (tmp_path / "out").is_dir() == bool(options)
