"""`associative_unroll` and `chunked_unroll`: equal to `unroll`, every derivative, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxrnn
from cases import graded, leaky, minimal, needs_two, rotating, shifted
from jaxrnn.unrolls import associative_unroll, checkpointed, chunked_unroll, unroll

INPUT, HIDDEN, STEPS = 2, 4, 7
SLOW = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive
ALIKE = ("min_gru", "min_lstm", "s5", "rg_lru")  # diagonal maps, as `minimal` and the LRU


def shared(input_size, hidden_size):
    """A Linear cell whose matrix has no batch axes: it is one for all sequences."""
    base = rotating(input_size, hidden_size)
    structure = base.structure._replace(coefficients=lambda p, x: (jnp.tanh(p["a"][0]), x @ p["w"]))
    return base._replace(structure=structure, step=structure.step)


MADE = {name: entry.make(INPUT, HIDDEN) for name, entry in jaxrnn.CELLS.items()}
CELLS = {name: cell for name, cell in MADE.items() if isinstance(cell.parts, jaxrnn.Linear)} | {
    "minimal": minimal(INPUT, HIDDEN),
    "rotating": rotating(INPUT, HIDDEN),
    "shared": shared(INPUT, 2),  # as many units as sequences, so that axes can be mistaken
    "learned": shifted(jaxrnn.lru(INPUT, HIDDEN)),
}
UNROLLS = {
    "associative": associative_unroll,
    "chunked": functools.partial(chunked_unroll, chunk_size=3),
    "sequential": chunked_unroll,  # the default on CPU
}
# Complex diagonal maps and dense maps, one unroll each; in the slow run every kind of cell.
ROWS = [
    ("lru", "both", (2,), ("associative",)),
    ("rotating", "plain", (2, 1), ("sequential",)),
    *(
        pytest.param(name, kind, batch, ("associative", "chunked"), marks=SLOW)
        for name, kind, batch in (
            *((name, "both", (2,)) for name in CELLS if name not in ALIKE),
            ("shared", "plain", (2, 1)),
            ("shared", "mask", ()),
            ("min_gru", "mask", (2, 1)),
        )
    ),
    *(
        pytest.param(name, "both", (2,), ("associative", "chunked"), marks=EXHAUSTIVE)
        for name in ALIKE
    ),
]


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def away_from_zero(state):
    """A state like this one of normal numbers."""
    parts = [jax.tree.map(lambda x, k=k: normal(k, *x.shape), state) for k in (1, 2)]
    return jax.tree.map(
        lambda x, a, b: (a + 1j * b if jnp.iscomplexobj(x) else a).astype(x.dtype), state, *parts
    )


def inputs(cell, steps, batch):
    """Parameters, inputs, and a state."""
    params = cell.init(jax.random.key(0))
    state = away_from_zero(cell.initial_state(params, batch))
    return params, normal(3, steps, *batch, INPUT), state


def flags_of(kind, steps, batch):
    random = np.random.default_rng(5)
    mask, resets = random.random((2, steps, *batch)) < np.array([0.7, 0.25]).reshape(
        2, 1, *(1 for _ in batch)
    )
    mask[0], resets[0] = True, False  # the first state reaches a value
    flags = {"mask": jnp.asarray(mask), "resets": jnp.asarray(resets)}
    return {} if kind == "plain" else {"mask": flags["mask"]} if kind == "mask" else flags


def energy(run, cell, params, xs, state, flags):
    """A number that moves with every part of every output in its own way, and the outputs."""
    out = run(cell, params, xs, state, **flags)
    parts = [part for leaf in jax.tree.leaves(out) for part in (leaf.real, leaf.imag)]
    each = [jnp.sin(x + jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)) for x in parts]
    return sum(map(jnp.sum, each)), out


def all_slopes(runs, cell, params, xs, state, flags):
    """Values and gradients of every unroll, in one program."""

    @jax.jit
    def of(*arguments):
        return {
            name: jax.value_and_grad(
                lambda *a, run=run: energy(run, cell, *a, flags), (0, 1, 2), has_aux=True
            )(*arguments)
            for name, run in runs.items()
        }

    return of(params, xs, state)


def assert_trees_close(got, expected, rtol=1e-9, atol=1e-11):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, expected)


@pytest.mark.parametrize(("name", "kind", "batch", "runs"), ROWS)
def test_equals_the_reference(name, kind, batch, runs, x64):
    arguments = inputs(CELLS[name], STEPS, batch)
    flags = flags_of(kind, STEPS, batch)
    runs = {run: UNROLLS[run] for run in runs} | {"unroll": unroll}
    found = all_slopes(runs, CELLS[name], *arguments, flags)
    expected = found.pop("unroll")
    slopes = jax.tree.leaves(expected[1])
    assert all(np.isfinite(leaf).all() for leaf in slopes)
    assert sum(np.abs(leaf).max() > 1e-3 for leaf in slopes) >= len(slopes) - 1
    assert found
    for got in found.values():
        assert_trees_close(got, expected)


def test_every_linear_cell_is_here():
    assert {"min_gru", "min_lstm", "lru", "s5", "rg_lru", "mlstm", "qrnn"} <= set(CELLS)


@pytest.mark.parametrize("steps", [1, pytest.param(2, marks=SLOW), pytest.param(130, marks=SLOW)])
def test_any_number_of_steps(steps, x64):
    # 130 steps in chunks of one: so many that chunks are joined by an associative scan.
    arguments = inputs(CELLS["minimal"], steps, (2,))
    more = {f"chunked/{n}": functools.partial(chunked_unroll, chunk_size=n) for n in (1, 999)}
    runs = UNROLLS | more | {"unroll": unroll}
    found = all_slopes(runs, CELLS["minimal"], *arguments, flags_of("both", steps, (2,)))
    for got in found.values():
        assert_trees_close(got, found["unroll"])


@SLOW
@pytest.mark.parametrize("run", ["associative", "chunked"])
def test_modes_and_orders(run, key, x64):
    cell, xs, v = CELLS["minimal"], normal(0, 6, INPUT), normal(1, 6, INPUT)
    params = cell.init(key)

    @jax.jit
    def of(xs):
        def every(run):
            def value(xs):
                return energy(run, cell, params, xs, None, {})[0]

            slope = jax.grad(value)
            return (
                jax.jvp(value, (xs,), (v,))[1],
                jax.jvp(slope, (xs,), (v,))[1],  # forward over reverse
                jax.grad(lambda x: jnp.sum(slope(x) * v))(xs),  # reverse over reverse
                jax.grad(lambda x: jax.jvp(value, (x,), (v,))[1])(xs),  # reverse over forward
            )

        return every(UNROLLS[run]), every(unroll)

    got, expected = of(xs)
    assert np.abs(expected[1]).max() > 1e-2
    assert_trees_close(got, expected)


@pytest.mark.parametrize("run", ["chunked", pytest.param("associative", marks=SLOW)])
def test_vmap_over_parameters(run, x64):
    cell, xs = CELLS["minimal"], normal(0, STEPS, INPUT)
    params = jax.vmap(cell.init)(jax.random.split(jax.random.key(1), 2))

    def slopes(run):
        return jax.vmap(jax.grad(lambda p: energy(run, cell, p, xs, None, {})[0]))(params)

    assert_trees_close(*jax.jit(lambda: (slopes(UNROLLS[run]), slopes(unroll)))())


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("min_gru", "chunked"),
        pytest.param("lru", "associative", marks=SLOW),
        pytest.param("mlstm", "sequential", marks=SLOW),
    ],
)
def test_nan_in_the_padding_meets_no_gradient(name, run):
    cell, steps = CELLS[name], 6
    mask = jaxrnn.length_mask(jnp.array([steps, 2, 0]), steps)
    params, xs, _ = inputs(cell, steps, (3,))
    xs = jnp.where(mask[..., None], xs, jnp.nan)
    state = cell.initial_state(params, (3,))
    found = all_slopes({run: UNROLLS[run]}, cell, params, xs, state, {"mask": mask})
    (_, (after, ys)), slopes = found[run]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, ys, slopes)))
    assert not slopes[1][~mask].any() and slopes[1][mask].any()
    assert not ys[~mask].any() and ys[mask].any()
    assert not any(leaf[2].any() for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize("run", ["associative", "chunked"])
def test_a_reset_cuts_off_what_is_not_finite(run):
    cell = CELLS["minimal"]
    params, xs, state = inputs(cell, 6, ())
    xs, resets = xs.at[1].set(jnp.nan), jnp.arange(6) == 3
    last, ys = UNROLLS[run](cell, params, xs, state, resets=resets)
    alone, zs = unroll(cell, params, xs[3:])
    assert np.isnan(ys[1:3, :HIDDEN]).all() and not np.isnan(ys[0]).any()
    assert_trees_close((last, ys[3:]), (alone, zs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    graded(CELLS, default=["qrnn"], slow=["lru", "mlstm", "rotating", "shared", "learned"]),
)
def test_prefill_in_parallel_and_decode_step_by_step(name, x64):
    cell = CELLS[name]
    params, xs, state = inputs(cell, 9, (2,))

    @jax.jit
    def go_on(params, xs, state):
        state, ys = associative_unroll(cell, params, xs[:6], state)
        ys = list(ys)
        for x in xs[6:]:
            state, y = cell.step(params, state, x)
            ys.append(y)
        return state, jnp.stack(ys)

    assert_trees_close(go_on(params, xs, state), unroll(cell, params, xs, state))


@pytest.mark.parametrize("name", graded(["min_gru", "lru", "rg_lru", "qrnn"], slow=["lru"]))
def test_single_precision_over_a_long_sequence(name):
    cell, steps = CELLS[name], 65_536
    with jax.enable_x64(True):
        params, xs, _ = inputs(cell, steps, ())
        single = jax.tree.map(lambda x: x.astype(jnp.float32), (params, xs))
        exact = jax.tree.map(lambda x: x.astype(jnp.float64), single)
        _, expected = unroll(cell, *exact)
        expected = np.asarray(expected)
    for run in (associative_unroll, functools.partial(chunked_unroll, chunk_size=256)):
        _, got = run(cell, *single)
        assert got.dtype == jnp.float32
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def kept(run, steps):
    """Numbers that the forward pass hands to the backward pass, for each of a state.

    The maps are the inputs and the outputs the states, so that nothing else is kept.
    """
    structure = jaxrnn.Linear(lambda p, x: tuple(jnp.split(x, 2, -1)), lambda p, h, x: h)
    cell = jaxrnn.from_structure(
        lambda key: (), lambda p, batch_shape=(): jnp.zeros((*batch_shape, HIDDEN)), structure
    )
    xs = jnp.ones((steps, 2 * HIDDEN))
    pull = jax.eval_shape(lambda xs: jax.vjp(lambda xs: run(cell, (), xs), xs)[1], xs)
    return sum(leaf.size for leaf in jax.tree.leaves(pull)) / (steps * HIDDEN)


def naive(cell, params, xs):
    elements = jax.vmap(cell.parts.coefficients, (None, 0))(params, xs)
    _, states = jax.lax.associative_scan(cell.parts.combine, elements)
    return states[-1], states


@pytest.mark.parametrize("run", UNROLLS)
def test_what_is_kept_is_maps_and_states(run):
    assert all(kept(UNROLLS[run], steps) <= 4.1 for steps in (64, 4096))


def test_more_would_be_kept_by_differentiating_the_scan():
    assert kept(naive, 4096) > 4.5


@SLOW
@pytest.mark.parametrize("run", ["associative", "chunked"])
def test_memory_is_linear_in_time(run):
    cell = CELLS["min_gru"]
    params = cell.init(jax.random.key(0))

    def temporary(steps):
        of = jax.jit(jax.grad(lambda p, x: jnp.sum(jnp.sin(UNROLLS[run](cell, p, x)[1]))))
        compiled = of.lower(params, jnp.ones((steps, 8, INPUT))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = temporary(256), temporary(4096)
    assert many < 1.3 * 16 * few
    assert many < 40 * 4096 * 8 * HIDDEN * 4


@SLOW
def test_it_works_inside_checkpointed(x64):
    cell = CELLS["min_gru"]
    arguments = inputs(cell, STEPS, (2,))
    runs = {"it": checkpointed(associative_unroll, 4), "unroll": unroll}
    found = all_slopes(runs, cell, *arguments, flags_of("both", STEPS, (2,)))
    assert_trees_close(found["it"], found["unroll"])


@needs_two
@pytest.mark.parametrize(
    ("run", "name", "kind"),
    [
        pytest.param("associative", "lru", "both", marks=SLOW),
        pytest.param("chunked", "lru", "both", marks=EXHAUSTIVE),
        pytest.param("sequential", "shared", "plain", marks=SLOW),
    ],
)
def test_shard_map_and_explicit_mesh(run, name, kind, x64):
    cell, batch = CELLS[name], 4
    params, xs, _ = inputs(cell, 6, (batch,))
    flags = flags_of(kind, 6, (batch,))

    def of(params, xs, flags):
        return jnp.mean(jnp.sin(UNROLLS[run](cell, params, xs, **flags)[1]), axis=(0, 2))

    def slopes(of):
        return jax.jit(jax.grad(lambda *a: jnp.sum(of(*a)), argnums=(0, 1)))

    expected = slopes(of)(params, xs, flags)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    parts = (P(), P(None, "data"), dict.fromkeys(flags, P(None, "data")))
    shared = jax.shard_map(of, mesh=mesh, in_specs=parts, out_specs=P("data"))
    assert_trees_close(slopes(shared)(params, xs, flags), expected)
    with jax.set_mesh(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))):
        put = jax.device_put((xs, flags), P(None, "data"))
        assert_trees_close(slopes(of)(jax.device_put(params, P()), *put), expected)


def counting():
    """A Linear cell whose state counts."""
    return jaxrnn.from_structure(
        lambda key: (),
        lambda params, batch_shape=(): jnp.zeros((*batch_shape, 1), jnp.int32),
        jaxrnn.Linear(lambda p, x: (x.astype(int), x.astype(int)), lambda p, h, x: h),
    )


@pytest.mark.parametrize("run", [associative_unroll, chunked_unroll])
def test_other_cells_are_refused(run):
    xs = jnp.ones((3, 1))
    text = f"^{run.__name__}: got a cell with"
    for cell, kind in ((jaxrnn.gru(1, 2), "Gated"), (leaky(1, 2), "General")):
        with pytest.raises(TypeError, match=f"{text} {kind} structure; expected Linear; use jaxrn"):
            run(cell, cell.init(jax.random.key(0)), xs)
    with pytest.raises(TypeError, match="got a state with arrays of int32; expected floating"):
        run(counting(), (), xs)
    with pytest.raises(TypeError, match=f"^{run.__name__}: got function .*; expected a jaxrnn.C"):
        run(jaxrnn.lru, (), xs)
    with pytest.raises(ValueError, match=f"^{run.__name__}: got mask of shape"):
        cell = CELLS["min_gru"]
        run(cell, cell.init(jax.random.key(0)), jnp.ones((3, INPUT)), mask=jnp.ones(2, bool))


@pytest.mark.parametrize(
    ("size", "kind"), [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_a_wrong_chunk_size(size, kind):
    cell, xs = CELLS["min_gru"], jnp.ones((3, INPUT))
    with pytest.raises(kind, match=f"got chunk_size={size}.*; expected a positive"):
        chunked_unroll(cell, cell.init(jax.random.key(0)), xs, chunk_size=size)


def closing_over(w, *, in_apply):
    def apply(element, h):
        return (w if in_apply else 1) * element[0] * h + element[1]

    structure = jaxrnn.Linear(
        lambda p, x: (x if in_apply else w * x, x), lambda p, h, x: w * h, apply=apply
    )
    return jaxrnn.from_structure(
        lambda key: (), lambda p, batch_shape=(): jnp.zeros((*batch_shape, 1)), structure
    )


def test_what_is_differentiated_may_be_closed_over_outside_the_scan():
    def loss(w, run, in_apply):
        cell = closing_over(w, in_apply=in_apply)
        return jnp.sum(run(cell, (), jnp.ones((3, 1)))[1])

    slope = jax.grad(loss)
    got, expected = (slope(0.5, run, False) for run in (associative_unroll, unroll))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for f in (slope, jax.jit(slope, static_argnums=(1, 2))):
        with pytest.raises((TypeError, jax.errors.UnexpectedTracerError)):
            f(0.5, associative_unroll, True)


def test_what_the_library_chooses():
    for name in ("lru", "mlstm"):
        assert jaxrnn.select_unroll(CELLS[name], platform="cpu") is chunked_unroll
        assert jaxrnn.select_unroll(CELLS[name], platform="tpu") is unroll  # not measured there
    assert jaxrnn.select_unroll(CELLS["lru"], platform="gpu") is associative_unroll
    assert jaxrnn.select_unroll(CELLS["mlstm"], platform="gpu") is unroll  # nor this
    assert jaxrnn.select_unroll(jaxrnn.qrnn(2, 3, window=2), platform="cpu") is unroll
