"""Several processes: started with readable errors, compared, and as good as one."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

import jaxrnn
from cases import first_of
from jaxrnn import sharding
from jaxrnn.sharding import agreement
from sharding import together

ROOT = pathlib.Path(jaxrnn.__file__).parents[1]
HERE = "10.0.0.1:8476"


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch):
    """What JAX's engine was started with; it starts nothing."""
    calls = []
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append((a, k)))
    return calls


BAD = {
    "no index": ((HERE, 2), "got count=2 without index; .*0 to 1; pass index, or set JAX_PROCESS"),
    "index": ((HERE, 2, 2), "got index=2 with count=2; expected 0 to 1"),
    "one process": ((None, 1, 1), "got index=1 with count=1"),
    "negative": ((HERE, 2, -1), "got index=-1 with count=2"),
    "nowhere": ((None, 2, 0), "without coordinator; expected where.*set JAX_COORDINATOR_ADDRESS"),
    "no count": ((HERE,), "got coordinator='10.0.0.1:8476' without count; .*JAX_NUM_PROCESSES"),
    "index alone": ((None, None, 1), "got index=1 without count"),
    "no port": (("10.0.0.1", 2, 0), "got coordinator='10.0.0.1'; expected HOST:PORT"),
    "no host": ((":8476", 2, 0), "got coordinator=':8476'; expected HOST:PORT"),
    "port": (("10.0.0.1:70000", 2, 0), "expected HOST:PORT.*from 1 to 65535"),
    "no process": ((HERE, 0, 0), "got count=0; expected a positive integer"),
}


@pytest.mark.parametrize("arguments, expected", BAD.values(), ids=BAD)
def test_what_does_not_fit_together_is_said(arguments, expected, started):
    with pytest.raises(ValueError, match=f"^start_processes: .*{expected}"):
        sharding.start_processes(*arguments)
    assert not started


def test_one_process_starts_nothing(started, monkeypatch):
    sharding.start_processes()
    sharding.start_processes(count=1)
    sharding.start_processes(HERE, 1, 0)
    assert not started
    with pytest.raises(TypeError, match=r"got count=2\.0"):
        sharding.start_processes(HERE, 2.0, 0)
    with pytest.raises(ValueError, match="got timeout=0"):
        sharding.start_processes(timeout=0)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES='two' in the environment"):
        sharding.start_processes()


def test_the_environment_says_what_is_not_given(started, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", HERE)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    sharding.start_processes(timeout=7)
    sharding.start_processes(count=2, index=1)
    sharding.start_processes("auto")
    places = [arguments for arguments, _ in started]
    assert places == [(HERE, 4, 3), (HERE, 2, 1), (None, None, None)]
    assert started[0][1]["heartbeat_timeout_seconds"] == 7
    # JAX's own timeout aborts the process: ours comes first
    assert started[0][1]["initialization_timeout"] > 7


def test_where_jax_finds_no_cluster_it_is_said(monkeypatch):
    def nothing(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nothing)
    with pytest.raises(ValueError, match="coordinator='auto' where JAX finds.*SLURM.*pass coord"):
        sharding.start_processes("auto")


def test_started_too_late():
    jax.devices()
    with pytest.raises(RuntimeError, match="must be called before"):
        sharding.start_processes("localhost:1", 2, 1)


def test_a_port_that_is_taken(started):
    with socket.create_server(("", 0)) as taken:
        place = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"{place}.*cannot listen.*in use.*take another one"):
            sharding.start_processes(place, 2, 0)
    assert not started


MISSING = {
    "second": (0, 2, "process 1"),
    "first": (1, 2, "process 0 at localhost"),
    "some": (0, 3, "one or more of processes 1, 2"),
}


@pytest.mark.parametrize("name", first_of(MISSING))
def test_a_missing_process_is_named(name, monkeypatch):
    index, count, missing = MISSING[name]
    never = threading.Event()
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: never.wait())
    with socket.create_server(("", 0)) as free:
        place = f"localhost:{free.getsockname()[1]}"
    with pytest.raises(TimeoutError, match=f"got no word from {missing}.* within 1 s; expected"):
        sharding.start_processes(place, count, index, timeout=1)
    never.set()


@pytest.mark.slow
def test_the_others_are_missing_where_the_first_one_answers(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: never.wait())
    with socket.create_server(("localhost", 0)) as first:
        place = f"localhost:{first.getsockname()[1]}"
        with pytest.raises(TimeoutError, match="got no word from process 2 within 1 s"):
            sharding.start_processes(place, 3, 1, timeout=1)
        with pytest.raises(TimeoutError, match=f"from process 0 at {place}, where something answ"):
            sharding.start_processes(place, 2, 1, timeout=1)
    never.set()


def test_different_values_are_named_with_their_processes(monkeypatch):
    told = [{"--hidden": "32", "b": "1"}, {"--hidden": "64", "b": "1"}, {"--hidden": "64"}]
    answers = [[json.dumps(one) for one in told], ['{"b": "a.txt"}', "{}", "{}"]]
    monkeypatch.setattr(agreement, "gather_texts", lambda _: answers.pop(0))
    with pytest.raises(ValueError) as caught:
        sharding.check_same({"--hidden": 32, "b": 1}, by="jaxrnn")
    assert str(caught.value) == (
        "jaxrnn: got --hidden 32 in process 0, 64 in processes 1, 2; b 1 (a.txt) in process 0, "
        "1 in process 1, nothing in process 2; expected the same in all processes; start them all "
        "with the same options, on the same data"
    )


def run_together(count, path):
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", together.__file__, str(count), str(path)],
        env=environment, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_train_as_one_and_tell_what_differs(count, tmp_path):
    found = run_together(count, tmp_path / "found.json")
    assert found["processes"] == [count, 0, count]
    assert found["ends at SIGTERM"]
    assert found["texts"] == ["é" * index for index in range(count)]
    others = "process 1" if count == 2 else "processes 1, 2, 3"
    assert f"--hidden 32 in process 0, 64 in {others}; " in found["said"]
    assert 'data "sha 0" (.txt) in process 0, "sha 1" (other.txt) in process 1' in found["said"]
    assert "--lr" not in found["said"]
    assert found["all said"] == [found["said"]] * count
    one = together.training()
    assert found["numbers"][0][-1] != found["numbers"][0][0]
    for several, alone in zip(found["numbers"], one, strict=True):
        np.testing.assert_allclose(several, alone, rtol=1e-5, atol=1e-6)
