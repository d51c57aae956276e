"""The command in several processes: one of them is lost, told something else, or told to stop."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import jaxrnn
from cases import needs_eight
from cli.fakes import Fit
from jaxrnn.cli import main, processes
from jaxrnn.cli import train as command
from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.processes import agreed, choose_mesh, lost

ROOT = pathlib.Path(jaxrnn.__file__).parents[1]
SMALL = ["--task", "series", "--stateful", "--cell", "elman", "--hidden", "4", "--length", "5"]
SMALL += ["--batch", "4", "--patience", "99", "--validate-every", "50", "--checkpoint-every", "50"]
SECONDS = 15  # after which a process that is silent counts as lost


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


class Together:
    """The same command, or one for each process, in several processes."""

    def __init__(self, cache, *words, own=((), ()), timeout=SECONDS, count=None):
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(len(own) if count is None else count),
        }
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "jaxrnn", *words, *more, "--process", str(index)]
                + ["--timeout", str(timeout)],
                env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for index, more in enumerate(own)
        ]  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    def wait(self, lines, path="run/metrics.jsonl"):
        """Waits until the log has so many steps."""
        path, end = pathlib.Path(path), time.monotonic() + 100
        while not path.exists() or path.read_text("utf-8").count("grad_norm") < lines:
            assert time.monotonic() < end and all(one.poll() is None for one in self.processes)
            time.sleep(0.01)

    def end(self, seconds=100):
        """Returns the exit codes and what was said on standard output and error."""
        said = [process.communicate(timeout=seconds) for process in self.processes]
        return [process.returncode for process in self.processes], said


def log(directory):
    lines = pathlib.Path(directory, "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_a_process_is_killed_and_nothing_is_lost(cache):
    """SIGTERM, then one is killed, then the other; to the end: the run without a break."""
    words = ["train", *SMALL, "--checkpoint", "run", "--steps", "100000", "--resume"]
    seen = 0
    for number, victim in ((signal.SIGTERM, 1), (signal.SIGKILL, 1), (signal.SIGKILL, 0)):
        with Together(cache, *words) as both:
            both.wait(seen + 100)
            both.processes[victim].send_signal(number)
            start = time.monotonic()
            codes, said = both.end(2 * SECONDS)
            took = time.monotonic() - start
        seen = sum("grad_norm" in one for one in log("run"))
        errors = said[1 - victim][1]
        if number == signal.SIGTERM:
            assert codes == [143, 143], said
            assert re.search(r"got SIGTERM; stopped after step \d+ of 100000", said[0][1])
            assert "got SIGTERM" not in said[1][1]
            continue
        assert codes[victim] == -signal.SIGKILL
        assert took < SECONDS
        if victim:
            assert codes[0] == 1
            assert "process 0 of 2 lost another process" in errors
            assert "start all of them again, a training with --resume" in errors
        else:  # JAX may be faster, and abort
            assert codes[1] in (1, -signal.SIGABRT)
            assert "lost another process" in errors or "another task died" in errors
    steps = str(seen // 50 * 50 + 75)
    for directory in ("run", "whole"):
        again = ["train", *SMALL, "--checkpoint", directory, "--steps", steps, "--resume"]
        with Together(cache, *again) as both:
            codes, said = both.end()
        assert codes == [0, 0], said
        assert said[1][0] == "" and f"over the last tenth of {steps} steps" in said[0][0]
    assert log("run") == log("whole") and log("run")[-1]["step"] == int(steps)
    with np.load("run/weights.npz") as run, np.load("whole/weights.npz") as whole:
        assert set(run) == set(whole)
        for name in run:
            np.testing.assert_array_equal(run[name], whole[name])


@pytest.mark.slow
def test_a_process_that_is_silent_counts_as_lost(cache):
    words = ["train", *SMALL, "--checkpoint", "run", "--steps", "100000"]
    with Together(cache, *words, timeout=4) as both:
        both.wait(25)
        both.processes[1].send_signal(signal.SIGSTOP)
        start = time.monotonic()
        _, errors = both.processes[0].communicate(timeout=60)
        took = time.monotonic() - start
        both.processes[1].send_signal(signal.SIGCONT)
    assert both.processes[0].returncode != 0 and took < 2 * 4
    assert "lost another process" in errors or "another task died" in errors


OWN = {
    "a place to write to": (
        (("--checkpoint", "one.csv/run"), ("--checkpoint", "one.csv/run")),
        ["got --checkpoint one.csv/run: Not a directory", "process 0 could not start: got --check"],
    ),
    "number of processes": (
        ((), ("--processes", "3")),
        ["got --processes 2 in process 0, 3 in process 1; expected the same"],
    ),
    "settings": (
        ((), ("--hidden", "8", "--lr", "0.1")),
        ["got --hidden 4 in process 0, 8 in process 1; --lr 0.003 in process 0, 0.1 in process 1"],
    ),
    "data": (
        (("--data", "one.csv"), ("--data", "two.csv")),
        [r'data of sha256 "[0-9a-f]{64}" \(one.csv\) in process 0, "[0-9a-f]{64}" \(two.csv\) in'],
    ),
    "no data": (
        ((), ("--data", "none.csv")),
        ["process 1 could not start: .*none.csv.*nothing exists", "got 'none.csv', where nothing"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_processes_that_were_told_different_things_end_at_the_start(name, cache):
    for file, factor in (("one.csv", 1), ("two.csv", 2)):
        pathlib.Path(file).write_text("".join(f"{factor * n % 7}\n" for n in range(200)))
    own, expected = OWN[name]
    with Together(cache, "train", *SMALL, "--checkpoint", "run", own=own) as both:
        codes, said = both.end()
    assert codes == [2, 2]
    for index, (_, errors) in enumerate(said):
        assert re.search(expected[min(index, len(expected) - 1)], errors), errors
        assert "Traceback" not in errors
    assert not pathlib.Path("run").exists()


@pytest.mark.slow
def test_a_process_that_never_comes_is_named(cache):
    with Together(cache, "train", *SMALL, own=((),), count=2, timeout=2) as one:
        codes, said = one.end()
    assert codes == [2] and said[0][1].count("\n") == 1
    assert "got no word from process 1 within 2 s" in said[0][1]


@pytest.mark.slow
def test_a_report_of_two_processes_is_that_of_one(cache, capsys):
    pytest.importorskip("matplotlib")
    words = ["report", "--task", "copy", "--cells", "elman", "--hidden", "2", "--length", "2"]
    words += ["--steps", "5"]
    with Together(cache, *words, "--out", "two") as both:
        codes, said = both.end(300)
    assert codes == [0, 0], said
    assert said[1][0] == "" and "Open two/index.html" in said[0][0]
    assert main([*words, "--out", "one"]) == 0
    found = [json.loads(pathlib.Path(d, "report.json").read_text("utf-8")) for d in ("one", "two")]
    assert found[0]["settings"] == found[1]["settings"]
    one, two = (jax.tree.leaves(entry["cells"]) for entry in found)
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left == right if isinstance(left, str) else left == pytest.approx(right, 1e-4, 1e-5)


MESHES = {
    "axis": ("time=2", "expected the axes data and model, each once"),
    "twice": ("data=2,data=2", "got --mesh data=2,data=2"),
    "no number": ("data", "with a number of devices"),
    "zero": ("data=0", "with a number of devices"),
    "too many": ("data=64", "64 devices; expected {count}, those here; change a number"),
}


@pytest.mark.parametrize("text, expected", MESHES.values(), ids=MESHES)
def test_a_mesh_that_cannot_be_is_refused(text, expected):
    with pytest.raises(CommandError) as caught:
        choose_mesh(text, batch=64, hidden=64)
    assert expected.format(count=len(jax.devices())) in str(caught.value)


@needs_eight
def test_a_mesh_that_does_not_divide_says_what_to_change(monkeypatch):
    with pytest.raises(CommandError, match=r"--mesh data=4 and --batch 6 .*; try --batch 8, or"):
        choose_mesh("data=4", batch=6, hidden=4)
    with pytest.raises(CommandError, match=r"--mesh model=4 and --hidden 6 .*; try --hidden 8"):
        choose_mesh("model=4", batch=6, hidden=6)
    with pytest.raises(CommandError, match=r"batches of 32 .* over 6 devices; .* as 4 does; name"):
        choose_mesh("data=6", batch=32, hidden=6, free=False)
    assert choose_mesh(None, batch=6, hidden=6) is None
    assert choose_mesh("data=2,model=4", batch=6, hidden=8).shape["model"] == 4
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    count = jax.device_count()
    assert choose_mesh(None, batch=count, hidden=1).shape["data"] == count
    with pytest.raises(CommandError, match=f"got --batch 6 over {count} devices; expected a mult"):
        choose_mesh(None, batch=6, hidden=1)
    with pytest.raises(CommandError, match=f"2 devices; expected {count}, those of all 1 process"):
        choose_mesh("data=2", batch=6, hidden=1)


@needs_eight
def test_the_mesh_comes_to_the_training(monkeypatch):
    fit = Fit()
    monkeypatch.setattr(command, "fit", fit)
    words = ["train", "--task", "copy", "--cell", "elman", "--hidden", "4", "--length", "3"]
    words += ["--batch", "4", "--steps", "2", "--mesh", "data=2,model=4"]
    assert main(words) == 0
    assert dict(fit.options["mesh"].shape) == {"data": 2, "time": 1, "model": 4}


@pytest.mark.slow
@needs_eight
def test_a_mesh_trains_what_one_device_trains():
    words = ["train", *SMALL, "--steps", "6", "--mesh"]
    assert main([*words, "data=1", "--checkpoint", "one"]) == 0
    assert main([*words, "data=2,model=2", "--checkpoint", "four"]) == 0
    for one, four in zip(log("one"), log("four"), strict=True):
        assert one == pytest.approx(four, rel=1e-5)


def test_what_the_end_of_another_process_looks_like(monkeypatch):
    gloo = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer\nmore")
    assert lost(gloo) is None
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    said = lost(gloo)
    assert "process 0 of 1 lost another process" in said and said.endswith("closed by peer)")
    assert lost(ValueError("got --hidden 0")) is None
    assert lost(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")) is None


def test_what_one_process_could_not_prepare_all_hear(monkeypatch):
    """The other process is played."""

    def fail():
        raise OSError("no such file")

    assert agreed(lambda: 3, None) == 3
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    told = []
    monkeypatch.setattr(processes, "gather_texts", lambda text: told.append(text) or ["", "gone"])
    with pytest.raises(CommandError, match="^process 1 could not start: gone$"):
        agreed(lambda: 3, None)
    with pytest.raises(OSError, match="no such file"):
        agreed(fail, None)
    assert told == ["", "no such file"]
