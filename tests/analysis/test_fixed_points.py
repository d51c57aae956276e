"""Fixed and slow points against closed forms, and against fsolve from many starts."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.analysis.fixed_points import FixedPoints, PointKind, fixed_points
from jaxrnn.analysis.guesses import Layout, draw_guesses
from jaxrnn.analysis.root_search import adam, levenberg


def _map(step, size):
    """A cell of one state vector whose step is a function of parameters, state and input."""

    def both(params, s, x):
        s = step(params, s, x)
        return s, s

    return jaxrnn.Cell(
        lambda key: (),
        lambda params, batch=(): jnp.zeros(
            (*batch, size), jnp.result_type(*jax.tree.leaves(params))
        ),
        both,
    )


TANH = {size: _map(lambda w, s, x: jnp.tanh(s @ w) + 0 * x, size) for size in (2, 3)}
PITCHFORK = _map(lambda gain, s, x: jnp.tanh(gain * x * s), 1)
KEY = jax.random.key(1)


class Zoo(NamedTuple):
    """Parameters of `ZOO`: which of its maps each of four units follows."""

    w: np.ndarray
    tanh: np.ndarray = np.zeros(4)
    linear: np.ndarray = np.zeros(4)
    saddle: np.ndarray = np.zeros(4)


def _zoo(params, s, x):
    along = s @ params.w
    bent = params.tanh * jnp.tanh(x * along) + params.saddle * (s + s**2 + x)
    return bent + params.linear * along


# Many maps in one cell, since the search takes far longer to compile than to run.
ZOO = jaxrnn.Cell(
    lambda key: (),
    lambda params, batch=(): jnp.zeros((*batch, 4), params.w.dtype),
    lambda params, s, x: (_zoo(params, s, x),) * 2,
)
NOISE = np.random.default_rng(5).normal(size=(60, 4))


def zoo(guesses=NOISE, x=(1.0, 1.0, 1.0, 1.0), **params):
    """What the search finds for each of four inputs, float64."""
    found = numpy_of(fixed_points(ZOO, Zoo(**params), np.array(x)[:, None], guesses))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(4)]


def in_corner(block):
    """A block in the corner of a 4 x 4 matrix of zeros."""
    out = np.zeros((4, 4))
    out[: len(block), : len(block)] = block
    return out


def numpy_of(result) -> FixedPoints:
    return jax.tree.map(np.asarray, result)


def in_order(result):
    """The valid points, sorted by their first coordinate."""
    found = numpy_of(result.found())
    order = np.argsort(found.points[:, 0])
    return jax.tree.map(lambda leaf: leaf[order], found)


def ground_truth(size):
    """FixedPointFinder's recurrent matrix for `h' = tanh(h @ W)`."""
    return np.array([-np.roll(np.linspace(-1, 1, size), -i) for i in range(size)])


def amplitude(gain):
    """The positive root of a = tanh(gain a), by iterating; 0 up to a gain of 1."""
    a = np.ones_like(gain)
    for _ in range(4000):
        a = np.tanh(gain * a)
    return np.where(gain > 1, a, 0)


@pytest.mark.slow
def test_two_units():
    """D8, n = 2, in float32: 0 and +-(a, -a) with a = tanh(2 a)."""
    w = jnp.asarray(ground_truth(2), jnp.float32)
    found = in_order(fixed_points(TANH[2], w, jnp.zeros(1), key=KEY))
    a = 0.957504024077268
    np.testing.assert_allclose(found.points, [[-a, a], [0, 0], [a, -a]], atol=4e-7)
    np.testing.assert_allclose(
        found.eigenvalues, [[0.166372088, 0], [2, 0], [0.166372088, 0]], atol=1e-6
    )
    assert found.stable.tolist() == [True, False, True]
    assert found.num_unstable.tolist() == [0, 1, 0]
    assert np.all(found.kind == PointKind.FIXED)
    assert found.hits.sum() == 64
    assert np.all(found.errors < 1e-6)
    np.testing.assert_array_equal(found.states, found.points)


@pytest.mark.slow
def test_three_units(x64):
    """D8, n = 3: the outer points are unstable by 0.6 %; eigenvectors of both kinds."""
    w = in_corner(ground_truth(3))
    whole = zoo(w=w, tanh=np.ones(4))[0]
    assert whole.valid.shape == (60,)
    assert np.all(np.diff(whole.speeds) >= 0)
    found = in_order(whole)
    outer = np.array([0.9497957, -0.4255023, -0.8798940, 0])
    np.testing.assert_allclose(found.points, [-outer, 0 * outer, outer], atol=6e-8)
    residual = np.tanh(found.points @ w) - found.points
    assert np.abs(residual).max() < 1e-15
    magnitudes = np.sort(np.abs(found.eigenvalues), axis=1)
    np.testing.assert_allclose(magnitudes[1], [0, 0, 3**0.5, 3**0.5], atol=1e-14)
    for index in (0, 2):
        values = found.eigenvalues[index]
        np.testing.assert_allclose(values, [-1.006406, 0.285346, 0, 0], atol=1e-6)
    assert not found.stable.any()
    assert found.num_unstable.tolist() == [1, 2, 1]
    for s, values, right, left in zip(
        found.points, found.eigenvalues, found.right, found.left, strict=True
    ):
        jacobian = (1 - s**2)[:, None] * w.T
        np.testing.assert_allclose(jacobian @ right, right * values, atol=1e-14)
        np.testing.assert_allclose(left @ jacobian, values[:, None] * left, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(right, axis=0), 1)
        np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1)


GAINS = np.array([0.5, 1.5, 2.0, 3.0])


def check_pitchfork(ones, dtype):
    """A9: 0 and +-a, a = tanh(w a), slopes w and w (1 - a^2); within the errors it states."""
    floor = 4 * float(np.finfo(dtype).eps)
    for gain, one in zip(GAINS, ones, strict=True):
        assert one.points.dtype == dtype
        total = len(one.kind)
        one = in_order(one)
        a = float(amplitude(gain))
        want = np.array([-a, 0, a] if a else [0.0])
        assert one.points.shape[0] == len(want)
        distance = np.abs(one.points[:, 0] - want)
        assert np.all(distance <= 4 * one.errors + 1e-16)
        assert one.errors.max() < 10 * floor
        slopes = np.where(want == 0, gain, gain * (1 - want**2))
        np.testing.assert_allclose(one.eigenvalues[:, 0], slopes, atol=20 * floor)
        assert one.stable.tolist() == (np.abs(slopes) < 1).tolist()
        assert one.hits.sum() == total


def test_pitchfork_for_many_inputs(x64):
    ones = zoo(w=in_corner([[1.0]]), x=GAINS, tanh=np.ones(4))
    check_pitchfork(ones, "float64")
    ones = [in_order(one) for one in ones[1:]]
    assert ones[1].points[2, 0] == pytest.approx(0.957504024077268, abs=1e-15)
    logs = [np.log(one.eigenvalues[2, 0].real) for one in ones]
    np.testing.assert_allclose(logs, [-0.9306102042, -1.793528506542, -3.4896075022], atol=1e-10)


GUESSES = np.linspace(-1.2, 1.1, 12)[:, None]


def pitchfork(dtype=None):
    x = jnp.asarray(GAINS[:, None], dtype)
    return fixed_points(PITCHFORK, jnp.ones((), dtype), x, GUESSES)


def split(result):
    result = numpy_of(result)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], result) for i in range(4)]


@pytest.mark.slow
def test_polish_in_float64(x64):
    """Parameters in float32 where 64-bit types are on: the last steps are in float64."""
    check_pitchfork(split(pitchfork("float32")), "float64")


@pytest.mark.slow
def test_a_cell_that_stays_in_float32(x64):
    """No polish then; the results say so by their dtype and their errors."""

    def step(params, s, x):
        s = jnp.tanh(params.astype(jnp.float32) * x.astype(jnp.float32) * s)
        return s, s

    cell = jaxrnn.Cell(
        lambda key: (), lambda params, batch=(): jnp.zeros((*batch, 1), jnp.float32), step
    )
    x = jnp.asarray(GAINS[:, None], jnp.float32)
    found = fixed_points(cell, jnp.ones((), jnp.float32), x, GUESSES)
    check_pitchfork(split(found), "float32")


@pytest.mark.slow
def test_jit_and_vmap():
    """Under `jax.jit` and `jax.vmap` over inputs the same numbers as outside."""
    plain = numpy_of(pitchfork())
    check_pitchfork(split(plain), "float32")
    run = functools.partial(fixed_points, PITCHFORK, guesses=GUESSES)
    mapped = jax.jit(jax.vmap(run, (None, 0)))(jnp.ones(()), jnp.asarray(GAINS[:, None]))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(mapped), strict=True):
        assert a.dtype == b.dtype
    np.testing.assert_allclose(plain.points, mapped.points, atol=1e-6)
    np.testing.assert_array_equal(plain.kind, mapped.kind)
    with pytest.raises(ValueError, match=r"^found: got points for inputs of batch shape \(4,\)"):
        mapped.found()


def test_associative_memory(x64):
    """Two orthogonal patterns, W = g (p p' + q q') / 4: nine points in closed form.

    With a = tanh(g a): 0 (two unstable directions), +-a p and +-a q (stable), and the mixtures
    +-a (p + q) / 2, +-a (p - q) / 2, which are saddles with eigenvalues g and g (1 - a^2).
    """
    gain = 2.0
    p, q = np.array([1.0, 1, 1, 1]), np.array([1.0, -1, 1, -1])
    w = gain * (np.outer(p, p) + np.outer(q, q)) / 4
    ones = zoo(w=w, tanh=np.ones(4), guesses=1.5 * NOISE)
    found = in_order(ones[0])
    assert np.array_equal(found.points, in_order(ones[3]).points)
    a = float(amplitude(np.float64(gain)))
    want = {0: [0 * p]}
    want[1] = [sign * a * (p + other * q) / 2 for sign in (1, -1) for other in (1, -1)]
    want[2] = [sign * a * one for sign in (1, -1) for one in (p, q)]
    every = np.concatenate([want[0], want[1], want[2]])
    distance = np.linalg.norm(found.points[:, None] - every, axis=-1)
    assert found.points.shape == (9, 4)
    assert np.all(distance.min(axis=0) < 1e-14)
    nearest = distance.argmin(axis=1)
    num_unstable = np.array([2, 1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.num_unstable, num_unstable[nearest])
    np.testing.assert_array_equal(found.stable, nearest >= 5)
    saddles = found.eigenvalues[(nearest >= 1) & (nearest < 5)]
    np.testing.assert_allclose(saddles[:, 0], gain, atol=1e-13)
    np.testing.assert_allclose(saddles[:, 1], gain * (1 - a**2), atol=1e-13)


def test_line_attractor(x64):
    """A projector: a line of fixed points, of which a sample stays, no two nearer than 1e-3."""
    line = np.array([0.6, 0.0, 0.8, 0.0])
    along = np.random.default_rng(0).uniform(0, 0.02, 60)
    guesses = along[:, None] * line + np.array([0.0, 1, 0, 1]) * NOISE
    guesses[7] = np.nan
    found = zoo(guesses, w=np.outer(line, line), linear=np.ones(4))[0]
    good = found.kind == PointKind.FIXED
    assert good.sum() == 59
    along = found.points @ line
    np.testing.assert_allclose(found.points[good], along[good, None] * line, atol=1e-15)
    assert np.all(found.errors == np.inf)
    np.testing.assert_allclose(found.eigenvalues[good], [[1, 0, 0, 0]] * 59, atol=1e-15)
    assert not found.stable[good].any()
    assert not found.num_unstable[good].any()
    # The same greedy choice, written out.
    kept, hits = [], {}
    for index in np.flatnonzero(good):
        near = [k for k in kept if np.linalg.norm(found.points[k] - found.points[index]) <= 1e-3]
        kept += [] if near else [index]
        leader = near[0] if near else index
        hits[leader] = hits.get(leader, 0) + 1
    assert 5 < len(kept) <= 20
    assert np.flatnonzero(found.valid).tolist() == kept
    assert found.hits[kept].tolist() == [hits[k] for k in kept]
    assert found.hits.sum() == 59
    # NaN is not converged, and last.
    assert found.kind[-1] == PointKind.NOT_CONVERGED
    assert not found.valid[-1]
    assert np.isnan(found.speeds[-1])


def test_slow_points(x64):
    """s' = s + s^2 + x: two fixed points, a ghost of speed x^2 / 2 at 0, or too fast a one."""
    x = [-0.04, 1e-3, 1e-2, 0.1]
    ones = zoo(w=np.zeros((4, 4)), x=x, saddle=np.eye(4)[0], guesses=0.5 * NOISE)
    two = in_order(ones[0])
    np.testing.assert_allclose(two.points[:, 0], [-0.2, 0.2], atol=1e-15)
    np.testing.assert_allclose(two.eigenvalues[:, 0], [0.6, 1.4], atol=1e-14)
    assert two.stable.tolist() == [True, False]
    assert two.hits.sum() == 60
    for index in (1, 2):
        ghost = in_order(ones[index])
        assert ghost.kind.tolist() == [PointKind.SLOW]
        assert ghost.hits.tolist() == [60]
        np.testing.assert_allclose(ghost.points, 0, atol=1e-6)
        np.testing.assert_allclose(ghost.speeds, x[index] ** 2 / 2, rtol=1e-9)
        np.testing.assert_allclose(ghost.eigenvalues[:, 0], 1, atol=1e-6)
        assert np.all(ghost.errors == np.inf)
    fast = ones[3]
    assert np.all(fast.kind == PointKind.NOT_CONVERGED)
    assert not fast.valid.any()
    np.testing.assert_allclose(fast.speeds, 0.1**2 / 2, rtol=1e-9)


def test_lstm_without_weights():
    """A10: c* = i g / (1 - f), h* = o tanh(c*); guesses stacked on two axes."""
    cell = jaxrnn.lstm(2, 3)
    b = np.repeat([0.3, 2.0, 0.5, -0.4], 3).astype(np.float32)
    params = jaxrnn.LSTMParams(jnp.zeros((2, 12)), jnp.zeros((3, 12)), jnp.asarray(b))
    guesses = jaxrnn.LSTMState(*np.random.default_rng(0).normal(size=(2, 5, 2, 3)))
    found = numpy_of(fixed_points(cell, params, jnp.zeros(2), guesses).found())
    i, f, o = (1 / (1 + np.exp(-one)) for one in (0.3, 2.0, -0.4))
    c = i * np.tanh(0.5) / (1 - f)
    assert isinstance(found.states, jaxrnn.LSTMState)
    np.testing.assert_allclose(found.states.c, np.full((1, 3), c), rtol=1e-6)
    np.testing.assert_allclose(found.states.h, np.full((1, 3), o * np.tanh(c)), rtol=1e-6)
    np.testing.assert_array_equal(
        found.points, np.concatenate([found.states.h, found.states.c], axis=-1)
    )
    np.testing.assert_allclose(found.eigenvalues, [[f, f, f, 0, 0, 0]], atol=1e-6)
    assert found.stable.tolist() == [True]
    assert found.hits.tolist() == [10]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_driven_elman_against_fsolve(x64, seed):
    """Every point that fsolve finds from 2000 starts, for three inputs, and none besides."""
    optimize = pytest.importorskip("scipy.optimize")
    size = 5
    cell = jaxrnn.elman(2, size)
    rng = np.random.default_rng(seed)
    w = 2 * rng.normal(size=(size, size)) / np.sqrt(size) + 1.2 * np.eye(size)
    params = cell.init(KEY)._replace(w_hh=jnp.asarray(w))
    drives = rng.normal(size=(3, 2)) * [[0], [0.3], [1.0]]
    found = numpy_of(fixed_points(cell, params, drives, key=KEY, num_guesses=1000, max_iters=200))
    counts = []
    for index, drive in enumerate(drives):
        bias = np.asarray(drive @ params.w_ih + params.b)
        wants = []
        for start in rng.normal(size=(2000, size)):
            root, _, ok, _ = optimize.fsolve(
                lambda s, bias=bias: np.tanh(s @ w + bias) - s, start, full_output=True, xtol=1e-13
            )
            if ok == 1 and all(np.linalg.norm(root - one) > 1e-3 for one in wants):
                wants.append(root)
        one = jax.tree.map(lambda leaf, i=index: leaf[i], found)
        points = one.points[one.valid & (one.kind == PointKind.FIXED)]
        distance = np.linalg.norm(points[:, None] - np.array(wants), axis=-1)
        assert np.all(distance.min(axis=0) < 1e-9), (drive, len(points), len(wants))
        # What fsolve missed, if anything, is a root all the same.
        assert np.abs(np.tanh(points @ w + bias) - points).max() < 1e-14
        assert len(points) <= len(wants) + 2
        counts.append(len(wants))
    assert max(counts) > 1


@pytest.mark.slow
def test_half_precision():
    """A bfloat16 cell is searched in float32; all of its numbers are representable there."""
    check_pitchfork(split(pitchfork("bfloat16")), "float32")


@pytest.mark.slow
def test_adam_where_levenberg_fails():
    """Two steps from a guess are too few; from where Adam arrives they suffice."""
    x, one = jnp.asarray(GAINS[1:, None]), jnp.ones(())
    kinds = {}
    for count in (0, 2000):
        found = fixed_points(PITCHFORK, one, x, GUESSES, max_iters=2, adam_iters=count)
        kinds[count] = np.asarray(found.kind)
    assert np.mean(kinds[0] == PointKind.FIXED) < 0.5
    assert np.all(kinds[2000] == PointKind.FIXED)


@pytest.mark.slow
def test_shapes():
    """Inputs on two axes, guesses by number, by trajectory, and by trajectory and key."""
    run = functools.partial(jax.eval_shape, functools.partial(fixed_points, TANH[3]))
    w, x = jnp.eye(3), jnp.ones((5, 4, 1))
    assert run(w, x, key=KEY).points.shape == (5, 4, 64, 3)
    assert run(w, x, jnp.ones((2, 7, 3))).eigenvalues.shape == (5, 4, 14, 3)
    assert run(w, x[0, 0], jnp.ones((7, 3)), key=KEY).right.shape == (7, 3, 3)


def test_adam_and_levenberg():
    """Adam reaches the neighbourhood of a root, or stays; Levenberg stops at its most steps."""

    def residual(s):
        return jnp.array([s[0] ** 2 - 1, 3 * (s[1] - s[0])])

    start = jnp.array([0.3, -0.5])
    end = jax.jit(lambda go: adam(residual, start, go, 2000))
    np.testing.assert_allclose(np.abs(end(True)), [1, 1], atol=0.02)
    np.testing.assert_array_equal(end(False), start)
    few = jax.jit(lambda count: levenberg(residual, start, count))
    np.testing.assert_array_equal(few(0), start)
    np.testing.assert_allclose(few(30), [1, 1], atol=1e-6)
    assert np.linalg.norm(few(1) - 1) > 1e-2


def test_random_guesses():
    """Drawn around the initial state or around guesses, as many as asked."""
    guesses, layout = np.arange(21.0).reshape(7, 3), Layout(jnp.ones(3))

    @jax.jit
    def draw(guesses):
        return (
            draw_guesses(layout, guesses, None, None, None),
            draw_guesses(layout, guesses, KEY, 5, None),
            draw_guesses(layout, guesses, KEY, 4000, 0.25),
            draw_guesses(layout, None, KEY, 4000, None),
        )

    same, some, many, plain = map(np.asarray, draw(guesses))
    np.testing.assert_array_equal(same, guesses)
    assert len({tuple(row) for row in some} & {tuple(row) for row in guesses}) == 5
    nearest = np.abs(many[:, None, 0] - guesses[:, 0]).argmin(axis=1)
    assert np.bincount(nearest).min() > 450  # of 571 +- 22
    assert (many - guesses[nearest]).std() == pytest.approx(0.25, rel=0.05)
    assert plain.mean() == pytest.approx(1, abs=0.05)
    assert plain.std() == pytest.approx(1, abs=0.05)


def test_messages():
    w, x = jnp.eye(3), jnp.zeros(1)
    run = functools.partial(fixed_points, TANH[3], w, x)
    with pytest.raises(ValueError, match=r"^fixed_points: got neither guesses nor a key; expected"):
        run()
    with pytest.raises(ValueError, match=r"^fixed_points: got num_guesses=3, noise=None and no ke"):
        run(jnp.ones((3, 3)), num_guesses=3)
    for guesses in (jnp.ones(3), jnp.ones((2, 4)), (jnp.ones((2, 3)),), jnp.ones((0, 3))):
        with pytest.raises(ValueError, match=r"^fixed_points: got guesses of shapes .*expect"):
            run(guesses)
    for name in ("tolerance", "slow_tolerance", "merge_distance", "noise"):
        with pytest.raises(ValueError, match=rf"^fixed_points: got {name}=-1.0; expected a finite"):
            run(key=KEY, **{name: -1})
    with pytest.raises(ValueError, match=r"^fixed_points: got slow_tolerance=1e-06 below tolera"):
        run(key=KEY, tolerance=1e-5, slow_tolerance=1e-6)
    for name in ("num_guesses", "max_iters"):
        with pytest.raises(ValueError, match=rf"^fixed_points: got {name}=0; expected a positive"):
            run(key=KEY, **{name: 0})
    with pytest.raises(ValueError, match=r"^fixed_points: got adam_iters=-1; expected 0 or more"):
        run(key=KEY, adam_iters=-1)
    with pytest.raises(ValueError, match=r"^fixed_points: got x of shape \(\); expected"):
        fixed_points(TANH[3], w, 1.0, key=KEY)
    with pytest.raises(TypeError, match=r"^fixed_points: got function .*expected a jaxrnn.Cell"):
        fixed_points(jaxrnn.gru, w, x, key=KEY)
    with pytest.raises(TypeError, match=r"^found: got traced arrays; expected concrete ones"):
        jax.eval_shape(lambda w: fixed_points(TANH[3], w, x, key=KEY).found(), w)


def test_a_state_without_floats():
    cell = jaxrnn.Cell(
        lambda key: (),
        lambda params, batch=(): jnp.zeros(batch, jnp.int32),
        lambda params, n, x: (n + 1, x),
    )
    with pytest.raises(TypeError, match=r"^fixed_points: got a state .*expected floating arrays"):
        fixed_points(cell, (), jnp.ones(1), jnp.zeros(3, jnp.int32))
