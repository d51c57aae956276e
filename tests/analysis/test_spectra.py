"""What all spectra have in common: jit, vmap, batches, masks, resets, dtypes, memory, messages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from analysis.flows import LINEAR, blank, jacobians
from analysis.spectra import many_digits
from jaxrnn import analysis
from jaxrnn.analysis.regularizers import jacobian_penalty, lyapunov_penalty

CELL = jaxrnn.lstm(2, 2)  # a state of two parts, D = 4
STEPS = 8
MEASURES = {
    "singular_spectrum": lambda *args, **flags: analysis.singular_spectrum(*args, k=2, **flags),
    "lyapunov_spectrum": lambda *args, **flags: analysis.lyapunov_spectrum(
        *args, k=2, warmup=2, **flags
    ),
    "finite_time_exponents": lambda *args, **flags: analysis.finite_time_exponents(
        *args, window=4, k=2, method="qr", **flags
    ),
    "covariant_lyapunov_vectors": lambda *args, **flags: analysis.covariant_lyapunov_vectors(
        *args, k=2, warmup=2, **flags
    ),
}
# What makes them compile sooner.
QUICK = {
    "singular_spectrum": {"method": "dense"},
    "lyapunov_spectrum": {"qr_every": 1},
    "finite_time_exponents": {},
    "covariant_lyapunov_vectors": {},
}
# Where time stands before the batch.
TIMED = {"history", "times", "vectors", "angles", "participation_ratio"}
every_measure = pytest.mark.parametrize("name", MEASURES)


def arguments(*batch, dtype=jnp.float32):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), CELL.init(jax.random.key(0)))
    xs = jax.random.normal(jax.random.key(1), (STEPS, *batch, 2), dtype)
    flags = {
        "mask": jnp.ones((STEPS, *batch), bool).at[6:].set(False),
        "resets": jnp.zeros((STEPS, *batch), bool),
    }
    return params, xs, flags


def by_field(result):
    return zip(result._fields, result, strict=True)


@every_measure
@pytest.mark.slow
def test_a_batch_is_its_sequences(name, x64):
    """Also under the caller's jit and vmap; and the second call does not trace."""
    batch = (2,)
    params, xs, flags = arguments(*batch, dtype=jnp.float64)
    measure = MEASURES[name]
    traces = []

    def one(xs, flags):
        traces.append(1)
        return measure(CELL, params, xs, **flags)

    mapped = one
    for _ in batch:
        mapped = jax.vmap(mapped, (1, 1))
    mapped = jax.jit(mapped)
    alone = mapped(xs, flags)
    count = len(traces)
    mapped(2 * xs, flags)
    assert len(traces) == count == 1
    # What is right of a batch by sweeps is told by their own tests, and `dense` compiles sooner.
    other = {"method": "dense"} if name == "singular_spectrum" else {}
    together = jax.jit(lambda xs, flags: measure(CELL, params, xs, **flags, **other))(xs, flags)
    for (field, a), b in zip(by_field(together), alone, strict=True):
        if field == "times":
            continue
        windows = name == "finite_time_exponents" and field in ("exponents", "reliable")
        if field in TIMED or windows:
            a = np.moveaxis(a, 0, len(batch))
        if field == "qr_every":
            assert a <= np.min(b)
        elif field not in ("stderr", "error_bound", "left", "right", "vectors"):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=field)


@pytest.mark.slow
@every_measure
def test_dtypes_and_shapes(name, x64):
    """Of float32 where 64-bit types are on; float64's precision is that of its oracles."""
    params, xs, _ = jax.eval_shape(lambda: arguments(3, 5))
    found = jax.eval_shape(lambda *args: MEASURES[name](CELL, *args), params, xs)
    kinds = [leaf.dtype for leaf in found if leaf.dtype.kind == "f"]
    assert kinds
    assert kinds == ["float32"] * len(kinds)
    want = {
        "singular_spectrum": [(3, 5, 2), (3, 5, 4, 2), (3, 5, 4, 2), (3, 5, 2), (3, 5, 2)],
        "lyapunov_spectrum": [(3, 5, 2), (3, 5, 2), (6, 3, 5, 2), (3, 5), (3, 5), (), (3, 5, 2)],
        "finite_time_exponents": [
            (2,),
            (2, 3, 5, 2),
            (3, 5, 2),
            (3, 5, 2),
            (3, 5, 2),
            (2, 3, 5, 2),
        ],
        "covariant_lyapunov_vectors": [
            (6,),
            (6, 3, 5, 4, 2),
            (3, 5, 2),
            (6, 3, 5, 2, 2),
            (6, 3, 5, 2),
        ],
    }[name]
    assert [leaf.shape for leaf in found] == want


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sweeps", "parallel", "dense"])
def test_masks_and_resets(method, x64):
    params, xs, flags = arguments(dtype=jnp.float64)
    spectrum = jax.jit(
        lambda xs, flags: analysis.singular_spectrum(CELL, params, xs, method=method, **flags)
    )
    whole = spectrum(xs, flags)
    cut, _ = many_digits(jacobians(CELL, params, xs)[:6], 60)
    np.testing.assert_allclose(whole.log_singular_values, cut, rtol=0, atol=1e-9)
    dirty = spectrum(xs.at[6:].set(jnp.nan), flags)
    np.testing.assert_array_equal(dirty.log_singular_values, whole.log_singular_values)
    nothing = spectrum(xs, {**flags, "mask": jnp.zeros(STEPS, bool)})
    np.testing.assert_allclose(nothing.log_singular_values, 0, atol=1e-14)
    dead = spectrum(xs, {**flags, "resets": flags["resets"].at[3].set(True)})
    np.testing.assert_array_equal(dead.log_singular_values, -np.inf)
    for side in (dead.left, dead.right):
        np.testing.assert_allclose(side.T @ side, np.eye(4), atol=1e-12)


@pytest.mark.slow
def test_resets_kill_every_exponent(x64):
    params, xs, flags = arguments(2, dtype=jnp.float64)
    resets = flags["resets"].at[4, 1].set(True)
    found = analysis.lyapunov_spectrum(CELL, params, xs, k=2, warmup=2, qr_every=1, resets=resets)
    np.testing.assert_array_equal(np.isneginf(found.exponents), [[False] * 2, [True] * 2])
    assert np.all(np.isfinite(found.entropy))
    assert np.all(np.isfinite(found.kaplan_yorke_dimension))


@every_measure
def test_messages_name_the_function(name, key):
    measure = MEASURES[name]
    params, xs, _ = arguments()
    with pytest.raises(TypeError, match=rf"^{name}: got function .*expected a jaxrnn.Cell"):
        measure(jaxrnn.gru, params, xs)
    with pytest.raises(ValueError, match=rf"^{name}: got xs of 0 steps; expected"):
        measure(CELL, params, xs[:0])
    with pytest.raises(ValueError, match=rf"^{name}: got mask of shape \(5,\); expected"):
        measure(CELL, params, xs, mask=jnp.ones(5, bool))
    with pytest.raises(ValueError, match=rf"{name}: got k=2; expected at most 1, the size"):
        measure(LINEAR, jnp.eye(1), blank(STEPS))

    counter = jaxrnn.Cell(
        lambda key: (),
        step=lambda params, state, x: ({**state, "n": state["n"] + 1}, x),
        initial_state=lambda params, batch=(): {
            "h": jnp.zeros((*batch, 3)),
            "n": jnp.zeros(batch, int),
        },
    )
    with pytest.raises(TypeError, match=rf"{name}: .*'n'.*int32.*expected floating"):
        measure(counter, (), xs)
    shifting = counter._replace(
        step=lambda params, state, x: ((state, state), x),
        initial_state=lambda params, batch=(): jnp.zeros((*batch, 3)),
    )
    with pytest.raises((TypeError, ValueError), match=r"(?s)got.*expected"):
        measure(shifting, (), xs)


@pytest.mark.parametrize("k", [0, -1, 5, 1.5, True])
def test_impossible_numbers_of_directions(k):
    params, xs, _ = arguments()
    for measure in (analysis.singular_spectrum, analysis.lyapunov_spectrum):
        with pytest.raises((ValueError, TypeError), match=r"_spectrum: got k=.*expected"):
            measure(CELL, params, xs, k=k)


def test_impossible_ranges():
    params, xs, _ = arguments()
    lyapunov, singular = analysis.lyapunov_spectrum, analysis.singular_spectrum
    for warmup in (STEPS, -1):
        with pytest.raises(ValueError, match=rf"lyapunov_spectrum: got warmup={warmup} .*expected"):
            lyapunov(CELL, params, xs, warmup=warmup)
    for name in ("qr_every", "num_chunks", "window"):
        with pytest.raises(ValueError, match=rf"got {name}=0; expected a positive integer"):
            lyapunov(CELL, params, xs, **{name: 0})
    with pytest.raises(ValueError, match=r"got num_chunks=7; expected at most 6"):
        lyapunov(CELL, params, xs, warmup=2, num_chunks=7)
    with pytest.raises(ValueError, match=r"got unknown qr 'choleski'.*did you mean 'cholesky'"):
        lyapunov(CELL, params, xs, qr="choleski")
    with pytest.raises(ValueError, match=r"got unknown method 'sweep'.*did you mean 'sweeps'"):
        singular(CELL, params, xs, method="sweep")
    with pytest.raises(ValueError, match=r"singular_spectrum: got sweeps=0; expected"):
        singular(CELL, params, xs, sweeps=0)
    for start, stop in ((-1, None), (5, 3), (0, 9)):
        with pytest.raises(ValueError, match=rf"got start={start}, stop=.*expected 0 <= start"):
            singular(CELL, params, xs, start=start, stop=stop)


@pytest.mark.parametrize(
    "name",
    [
        "lyapunov_spectrum",
        *[
            pytest.param(name, marks=pytest.mark.slow)
            for name in MEASURES
            if name != "lyapunov_spectrum"
        ],
    ],
)
def test_a_trajectory_that_is_not_finite(name):
    params, xs, _ = arguments(3)
    with pytest.raises(
        ValueError, match=rf"{name}: got the state after step 4 of sequence 1 .*xs\[3\]"
    ):
        MEASURES[name](CELL, params, xs.at[3, 1].set(jnp.nan), **QUICK[name])


@pytest.mark.slow
def test_a_trajectory_that_is_not_finite_inside_a_trace():
    """No message there, and no number either; other sequences do not suffer."""
    params, xs, _ = arguments(3)
    bad = xs.at[3, 1].set(jnp.nan)
    lyapunov, singular = (
        functools.partial(MEASURES[name], **QUICK[name])
        for name in ("lyapunov_spectrum", "singular_spectrum")
    )
    found = jax.jit(lambda xs: lyapunov(CELL, params, xs))(bad)
    assert np.all(np.isnan(found.exponents[1]))
    assert not np.any(found.reliable[1])
    assert np.all(np.isfinite(found.exponents[0]))
    assert np.all(np.isnan(found.kaplan_yorke_dimension[1]))
    found = jax.jit(lambda xs: singular(CELL, params, xs))(bad)
    assert np.all(np.isnan(found.log_singular_values[1]))
    assert not np.any(found.reliable[1])
    assert np.all(np.isfinite(found.log_singular_values[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lyapunov_spectrum", "singular_spectrum"])
def test_memory(name):
    """LSTM H = 512, k = 8, T = 10,000: under 500 MB above the trajectory."""
    cell, num_steps = jaxrnn.lstm(16, 512), 10_000
    params = jax.eval_shape(cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((num_steps, 16), jnp.float32)
    run = jax.jit(lambda params, xs: getattr(analysis, name)(cell, params, xs, k=8))
    memory = run.lower(params, xs).compile().memory_analysis()
    assert memory.temp_size_in_bytes - num_steps * 2 * 512 * 4 < 500e6


@pytest.mark.slow
def test_penalties_under_jit_and_vmap(key):
    params, xs, _ = arguments(3)
    for penalty in (
        lambda xs: lyapunov_penalty(CELL, params, xs, k=2, qr_every=1),
        lambda xs: jacobian_penalty(CELL, params, xs, key=key),
    ):
        alone = jax.jit(jax.vmap(penalty, 1))(xs)
        np.testing.assert_allclose(jax.jit(penalty)(xs), jnp.mean(alone), rtol=1e-4)
