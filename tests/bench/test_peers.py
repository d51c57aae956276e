"""Other libraries compute what ours do, gradients of all parameters included."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from bench.problems import tiny
from jaxrnn.bench import CONTENDERS, Unavailable, measure_problem
from jaxrnn.bench.measure import reference_results
from jaxrnn.bench.peers.cudnn import cudnn_layer

HAVE = {
    "flax": {"lstm", "gru", "elman"},
    "haiku": {"lstm"},
    "equinox": {"lstm", "gru"},
    "keras": {"lstm", "gru", "elman"},
    "torch": {"lstm", "gru", "elman"},
}


@pytest.fixture(autouse=True)
def keras_on_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lstm", "gru", "elman", "irnn"])
@pytest.mark.parametrize("name", HAVE)
def test_a_peer_agrees(name, kind):
    pytest.importorskip(CONTENDERS[name].package)
    row = measure_problem(tiny(kind), [CONTENDERS[name]], rounds=1)
    facts = row["contenders"][name]
    if kind in HAVE[name]:
        assert facts["status"] == "measured", facts
        assert max(facts["errors"].values()) < 1e-5
        assert facts["train"]["ms"] > 0 and facts["infer"]["ms"] > 0
    else:
        assert facts == {
            "status": "not applicable", "reason": f"it has no {kind} with these equations",
        }  # fmt: skip


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_torch_runs_where_jax_does():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this torch has a GPU")
    problem = tiny()._replace(platform="gpu", precision="tf32")
    with pytest.raises(Unavailable, match="has no device like JAX's gpu"):
        CONTENDERS["torch"].make(problem)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_weights_of_cudnn(kind):
    """JAX's own reference for its cuDNN layer gives our outputs from the packed weights."""
    problem = tiny(kind)._replace(platform="gpu")
    if kind == "gru":
        with pytest.raises(Unavailable, match="has an LSTM only, no gru"):
            cudnn_layer(problem)
        return
    weights = cudnn_layer(problem).pack(problem.params)
    batch, steps, *sizes = problem.case
    parts = rnn.unpack_lstm_weights(weights, *sizes, 1, False)
    zeros = jnp.zeros((1, batch, sizes[1]))
    lengths = jnp.full(batch, steps, jnp.int32)
    xs = jnp.swapaxes(problem.xs, 0, 1)
    ys, _, _ = rnn.lstm_ref(xs, zeros, zeros, *parts, lengths, *sizes, 1, 0.0, False)
    expected = reference_results(problem._replace(platform="cpu")).outputs
    np.testing.assert_allclose(np.swapaxes(ys, 0, 1), expected, atol=1e-6)


def test_cudnn_in_jax_needs_a_gpu():
    row = measure_problem(tiny(), [CONTENDERS["jax_cudnn"]], rounds=1)
    assert row["contenders"]["jax_cudnn"] == {
        "status": "not applicable", "reason": "jax.experimental.rnn needs a GPU",
    }  # fmt: skip
