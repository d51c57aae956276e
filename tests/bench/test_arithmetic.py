"""The floor, the ratios, the means, the order of the rounds."""

import math

import numpy as np
import pytest

from bench.problems import described, row
from jaxrnn.bench import (
    CASES,
    Case,
    Machine,
    best_other,
    floor,
    geometric_mean,
    our_way,
    ratio_to,
    summary,
    time_of,
    timed,
)

CPU = Machine(flops=330e9, bandwidth=None, handover=0.1e-6)
GPU = {  # H200, dense
    "tf32": Machine(flops=494e12, bandwidth=4.8e12, handover=0.9e-6),
    "fp32": Machine(flops=67e12, bandwidth=4.8e12, handover=0.9e-6),
}


@pytest.mark.parametrize(
    "case, machine, infer, train",
    [
        # Milliseconds worked out by hand from 2 T B G H (D + H) operations forward, twice backward.
        (Case(1, 1000, 64, 64), CPU, 0.1986, 0.5958),
        (Case(64, 150, 256, 256), CPU, 30.5, 91.5),
        (Case(16, 1024, 768, 768), CPU, 469, 1407),
        (Case(16, 1024, 768, 768), GPU["tf32"], 0.9216, 1.843),  # 1024 steps of 0.9 us
        (Case(64, 150, 256, 256), GPU["fp32"], 0.1503, 0.4508),
        (Case(32, 1000, 1024, 1024), GPU["fp32"], 8.013, 24.04),
        # 2 B G H^2 / P = 2.56 us a step is more than the whole work's F / P a step with D = 1.
        (Case(128, 100, 1, 128), Machine(6.5536e12, 1e15, 1e-6), 0.25797, 0.7739),
        (Case(1, 100, 1, 16), CPU, 0.01, 0.02),
    ],
)
def test_the_floor(case, machine, infer, train):
    found = floor(described("lstm", case), machine)
    assert 1e3 * found["infer"] == pytest.approx(infer, rel=2e-3)
    assert 1e3 * found["train"] == pytest.approx(train, rel=2e-3)


def test_the_floor_of_a_slow_memory():
    """Bytes: inputs, outputs and weights to infer; gates and states too to train."""
    slow = Machine(flops=1e18, bandwidth=1e9, handover=0.0)
    batch, steps, inputs, hidden = case = Case(2, 10, 3, 4)
    rows, weights = batch * steps, 4 * hidden * (inputs + hidden)
    found = floor(described("lstm", case), slow)
    assert found["infer"] == pytest.approx(4e-9 * (rows * (inputs + hidden) + weights))
    forward = rows * (inputs + 6 * hidden) + weights
    backward = rows * (2 * inputs + 7 * hidden) + 2 * weights
    assert found["train"] == pytest.approx(4e-9 * (forward + backward))


@pytest.mark.parametrize("kind, gates", [("lstm", 4), ("gru", 3), ("elman", 1)])
def test_the_floor_counts_gates(kind, gates):
    case = Case(8, 50, 64, 64)
    assert described(kind, case).gates == gates
    work = 2 * 8 * 50 * gates * 64 * 128
    assert floor(described(kind, case), CPU)["infer"] == pytest.approx(work / 330e9)


def test_ratios():
    one = row(
        fused=(2, 1),
        unroll=(1, 0.1),
        textbook=(5, 4),
        flax=(3, 2),
        keras={"status": "failed", "reason": "x"},
        torch=(1, 3),
    )
    assert time_of(one, "flax", "infer") == 2 and time_of(one, "keras", "train") is None
    assert ratio_to(one, "flax", "train") == 1.5
    assert ratio_to(one, "haiku", "train") is None
    assert best_other(one, "train") == ("torch", 0.5)  # the library's own are no others
    assert best_other(one, "train", jax_only=True) == ("flax", 1.5)
    assert best_other(one, "infer") == ("flax", 2.0)
    assert best_other(row(fused=1), "train") is None
    assert best_other(row(flax=1), "train") is None
    apart = row(fused={"status": "not applicable", "reason": "x"}, unroll=2, textbook=3)
    assert our_way(one) == "fused" and our_way(apart) == "unroll"
    assert best_other(apart, "train") == ("textbook", 1.5)


def test_geometric_means():
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)
    assert geometric_mean([0.5, None, 2.0]) == pytest.approx(1)
    assert geometric_mean([]) is None and geometric_mean([None]) is None
    assert geometric_mean([1.0, math.nan]) is None and geometric_mean([0.0]) is None


def test_a_summary():
    found = summary(np.arange(1, 12) / 1e3, steps=3, floor=2e-3)
    assert found == {
        "ms": pytest.approx(6),
        "p10_ms": pytest.approx(2),
        "p90_ms": pytest.approx(10),
        "us_per_step": pytest.approx(2000),
        "over_floor": pytest.approx(3),
    }
    assert "over_floor" not in summary(np.ones(1), steps=1)


def test_everyone_runs_once_a_round_in_changing_order():
    calls = []
    names = "abcdef"
    functions = {name: (lambda name=name: calls.append(name)) for name in names}
    seconds = timed(functions, 8, warmups=2)
    assert {name: values.shape for name, values in seconds.items()} == dict.fromkeys(names, (8,))
    turns = ["".join(calls[i : i + 6]) for i in range(0, len(calls), 6)]
    assert len(turns) == 10
    assert all(sorted(turn) == list(names) for turn in turns)
    assert len({turn[0] for turn in turns}) > 2


def test_one_that_fails_is_left_out_of_the_rounds():
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("late")

    failures = {}
    seconds = timed({"a": fail, "b": lambda: None}, 3, failures=failures)
    assert list(seconds) == ["b"] and str(failures["a"]) == "late" and calls == [1]
    with pytest.raises(RuntimeError, match="late"):
        timed({"a": fail}, 3)


def test_the_shapes_of_the_issue():
    assert list(CASES["core"].values()) == [
        (1, 1000, 64, 64),
        (32, 100, 128, 128),
        (20, 35, 650, 650),
        (32, 784, 1, 128),
        (8, 500, 256, 256),
        (128, 100, 256, 256),
        (64, 50, 512, 512),
    ]
    assert CASES["quick"].items() <= CASES["core"].items()
    assert CASES["core"]["pixels"].label == "B=32 T=784 D=1 H=128"
