"""The certificate says beforehand what `newton_unroll` then does, from contracting to chaotic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.analysis import newton_certificate
from jaxrnn.unrolls import newton

CELL, STEPS, SIZE = jaxrnn.elman(2, 24), 200, 24
GAINS = (0.3, 0.6, 0.9, 1.2, 1.6, 3.0)


def network(gain):
    params = CELL.init(jax.random.key(0))
    w_hh = gain * jax.random.normal(jax.random.key(1), (SIZE, SIZE)) / SIZE**0.5
    return params._replace(w_hh=w_hh)


@pytest.fixture(autouse=True)
def _in_full_precision():
    """In tf32, where a GPU is left to choose, Newton's method stops short of its tolerance."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.slow
def test_the_prediction_is_what_is_observed():
    xs = jax.random.normal(jax.random.key(2), (STEPS, 2))
    run = jax.jit(
        lambda p: jaxrnn.newton_unroll_with_info(CELL, p, xs, on_failure="nan", max_iters=60)[2]
    )
    observed, predicted, exponents = [], [], []
    for gain in GAINS:
        certificate = newton_certificate(CELL, network(gain), xs, max_iters=60)
        info = run(network(gain))
        exponents.append(float(certificate.exponent))
        observed.append(int(info.iterations))
        predicted.append(int(certificate.predicted_iterations))
        assert ("will converge" in str(certificate)) == bool(certificate.converges)
        if abs(exponents[-1]) * STEPS > 5:  # not at the edge of chaos
            assert certificate.converges == info.converged, gain
            if info.converged:
                assert predicted[-1] / 3 <= observed[-1] <= 2 * predicted[-1], (gain, observed)
        assert info.converged or not certificate.converges  # it errs to the safe side
    assert exponents[0] < -0.5 and abs(exponents[-2]) * STEPS < 5 and exponents[-1] > 0.1
    assert np.all(np.diff(exponents) > 0)
    assert np.all(np.diff(predicted) >= 0) and np.all(np.diff(observed) >= 0)
    assert observed[0] <= 4 and observed[-1] == 60 and predicted[-1] == STEPS


@pytest.mark.slow
def test_a_batch_and_its_memory():
    xs = jax.random.normal(jax.random.key(2), (50, 3, 2))
    one = newton_certificate(CELL, network(0.5), xs)
    assert one.exponent.shape == one.predicted_iterations.shape == one.converges.shape == (3,)
    assert one.exact and one.num_blocks == 1 and one.block_size == one.max_iters == 50
    run = jax.jit(lambda p: jaxrnn.newton_unroll(CELL, p, xs))
    taken = run.lower(network(0.5)).compile().memory_analysis().temp_size_in_bytes
    assert one.memory / 3 < taken < 3 * one.memory
    less = newton_certificate(CELL, network(0.5), xs, method=newton.diagonal, block_size=10)
    assert not less.exact and less.memory < one.memory and less.num_blocks == 5
    assert "later or never" in less.advice


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"max_iters": 0}, ValueError, "got max_iters=0; expected"),
        ({"tolerance": 1e-12}, ValueError, "got tolerance=1e-12; expected at least"),
        ({"method": 3}, TypeError, "got method=3; expected a function"),
        ({"resets": jnp.ones(3, bool)}, ValueError, "newton_certificate: got resets of shape"),
    ],
)
def test_a_wrong_argument(options, kind, text):
    with pytest.raises(kind, match=text):
        newton_certificate(CELL, network(1.0), jnp.ones((9, 2)), **options)
