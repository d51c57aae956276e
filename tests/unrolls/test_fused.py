"""`fused_unroll`: orders of derivatives, shapes, precision, memory, what it refuses."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from cases import BATCH, CASES, first_of, leaky
from jaxrnn import Gated
from jaxrnn.unrolls import fused_unroll, plan, unroll

INPUT, HIDDEN = 2, 3
CELLS = {"lstm": jaxrnn.lstm(INPUT, HIDDEN), "gru": jaxrnn.gru(INPUT, HIDDEN)}
STORAGES = ("gates", "outputs")


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def energy(run, cell, params, xs):
    state, ys = run(cell, params, xs)
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((state, ys)))


def slopes_of(cell):
    """Energy and its gradients with respect to parameters and inputs, in one program."""

    def of(run, params, xs):
        return jax.value_and_grad(energy, argnums=(2, 3))(run, cell, params, xs)

    return jax.jit(of, static_argnums=0)


def assert_trees_close(got, expected, rtol=1e-10):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_second_derivatives(storage, key, x64):
    cell = CELLS["gru"]
    params, xs, v = cell.init(key), normal(0, 5, INPUT), normal(1, 5, INPUT)
    run = functools.partial(fused_unroll, block_size=2, storage=storage)

    def slope(run, xs):
        return jnp.sum(jax.grad(energy, 3)(run, cell, params, xs) * v)

    of = jax.jit(jax.grad(slope, 1), static_argnums=0)
    assert_trees_close(of(run, xs), of(unroll, xs))
    forward = functools.partial(jax.grad(energy, 3), run, cell, params)
    pushed = jax.jit(lambda xs, v: jax.jvp(forward, (xs,), (v,))[1])
    assert_trees_close(pushed(xs, v), of(unroll, xs))


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads a program for CPU")
@pytest.mark.parametrize("block_size", [4, 37])
def test_second_derivatives_copy_no_whole_sequence_in_a_loop(block_size, key):
    """It would be T^2 work: a derivative of writing into a whole array copies the array."""
    cell, xs = CELLS["gru"], jnp.ones((37, 2, INPUT))
    run = functools.partial(fused_unroll, block_size=block_size)

    def slope(xs):
        return jnp.sum(jax.grad(energy, 3)(run, cell, cell.init(key), xs) ** 2)

    program = jax.jit(jax.grad(slope)).lower(xs).compile().as_text()
    loops = program.split("ENTRY")[0]
    assert re.search(r"= f32\[37,2,\d+\]\S* dynamic-update-slice\(", loops)
    assert not re.findall(r"= f32\[37,2,\d+\]\S* copy\(", loops)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads a program for CPU")
@pytest.mark.parametrize("unroll_factor", [1, 2])
def test_overlapping_blocks_copy_no_whole_sequence_in_a_loop(unroll_factor, key):
    cell, xs = jaxrnn.lstm(16, 16), jnp.ones((37, 4, 16))
    run = functools.partial(fused_unroll, storage="outputs", block_size=8)
    run = functools.partial(run, unroll_factor=unroll_factor)
    slope = jax.jit(jax.grad(energy, 3), static_argnums=(0, 1))
    loops = slope.lower(run, cell, cell.init(key), xs).compile().as_text().split("ENTRY")[0]
    assert re.search(r"= f32\[37,4,\d+\]\S* dynamic-update-slice\(", loops)
    assert not re.findall(r"= f32\[37,4,\d+\]\S* copy\(", loops)


def test_forward_mode_is_refused(key):
    cell, xs = CELLS["lstm"], jnp.ones((4, INPUT))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(functools.partial(fused_unroll, cell, cell.init(key)), (xs,), (xs,))


@pytest.mark.parametrize("batch", first_of([(2, 3), ()]))
@pytest.mark.parametrize("name", first_of(CELLS))
def test_any_batch_and_vmap_over_parameters(name, batch, x64):
    cell, xs = CELLS[name], normal(2, 5, *batch, INPUT)
    params = jax.vmap(cell.init)(jax.random.split(jax.random.key(1), 2))

    def slopes(run):
        of = jax.value_and_grad(functools.partial(energy, run, cell), argnums=(0, 1))
        return jax.jit(jax.vmap(of, (0, None)))(params, xs)

    assert_trees_close(slopes(functools.partial(fused_unroll, block_size=2)), slopes(unroll))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="chosen for CPU")
@pytest.mark.parametrize("unroll_factor", first_of([None, 2]))
@pytest.mark.parametrize("storage", first_of(STORAGES))
@pytest.mark.parametrize("name", first_of(["lstm", "phased_lstm", "gru"]))
def test_every_kind_of_loop(name, storage, unroll_factor, key, x64, monkeypatch):
    """Of small and large steps, and for a GPU: with masks, resets, and blocks that overlap."""
    cell, xs = getattr(jaxrnn, name)(INPUT, HIDDEN), normal(3, 10, 2, INPUT)
    params = cell.init(key)
    mask = jaxrnn.length_mask(jnp.array([10, 6]), 10)
    resets = jnp.zeros((10, 2), bool).at[jnp.array([4, 8, 9]), jnp.array([0, 0, 1])].set(True)
    fused = functools.partial(fused_unroll.__wrapped__, storage=storage)
    fused = functools.partial(fused, block_size=3, unroll_factor=unroll_factor)
    runs = [functools.partial(run, mask=mask, resets=resets) for run in (unroll, fused)]

    def slopes_and_program(run):
        of = jax.jit(jax.value_and_grad(functools.partial(energy, run, cell), (0, 1)))
        return of(params, xs), of.lower(params, xs).as_text()

    expected, _ = slopes_and_program(runs[0])
    programs = set()
    for few, backend in ((-1, "cpu"), (10**9, "cpu"), (-1, "gpu")):
        monkeypatch.setattr(plan, "_FEW", few)
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        got, program = slopes_and_program(runs[1])
        assert_trees_close(got, expected)
        programs.add(program)
    assert len(programs) == 3


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="chosen for CPU")
@pytest.mark.parametrize(
    "make, sizes, at_once",
    [
        (jaxrnn.lstm, (16, 64), True),
        (jaxrnn.elman, (64, 64), True),
        (jaxrnn.gru, (16, 128), True),
        (jaxrnn.gru, (64, 64), False),  # would not be vectorised
    ],
)
def test_a_single_row_reads_its_share(make, sizes, at_once, key, x64):
    """Of all steps of a block at once, with a prefetch or without."""
    cell, xs = make(*sizes), normal(9, 7, 1, sizes[0])
    params, of = cell.init(key), slopes_of(cell)
    run = functools.partial(fused_unroll, block_size=3)
    assert_trees_close(of(run, params, xs), of(unroll, params, xs))
    program = str(jax.make_jaxpr(lambda xs: run(cell, params, xs))(xs))
    columns = params.w_hh.shape[1]
    assert (f"f64[3,1,{columns}]" in program or f"f64[3,{columns}]" in program) == at_once


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="chosen for CPU")
def test_no_product_of_a_step_turns_the_matrix(key):
    """What XLA on CPU would do at every step of the backward pass."""
    batch, hidden = 2, 5
    cell = jaxrnn.lstm(INPUT, hidden)
    slope = jax.jit(jax.grad(functools.partial(energy, fused_unroll, cell)))
    program = slope.lower(cell.init(key), jnp.ones((12, batch, INPUT))).compile().as_text()
    sides = re.findall(rf"= f32\[{batch},{hidden}\]\S* dot\(.*rhs_contracting_dims=.(\d)", program)
    assert sides and set(sides) == {"0"}


@pytest.mark.parametrize("storage", first_of(STORAGES))
def test_one_program_serves_all_blocks(storage, key):
    """Also where they do not divide the sequence: nothing is compiled for steps left over."""
    cell = CELLS["gru"]
    run = functools.partial(fused_unroll, block_size=5, storage=storage)
    slope = jax.jit(jax.grad(functools.partial(energy, run, cell)))
    programs = [
        slope.lower(cell.init(key), jnp.ones((n, 2, INPUT))).compile().as_text() for n in (20, 18)
    ]
    for part in (" dot(", " while("):
        counts = [program.count(part) for program in programs]
        assert counts[0] == counts[1] > 0, part


def test_shares_of_the_gates_are_put_together_without_padding(key):
    """The transpose of a slice is a padding, which XLA on CPU does not vectorise."""
    tried = {name: case for name, case in CASES.items() if isinstance(case.cell.parts, Gated)}
    assert {"gru", "lstm", "ran", "nbr_cell", "ct_rnn"} <= set(tried)
    for name, (cell, xs, *_) in tried.items():
        parts = cell.parts

        def shares(params, x, parts=parts, cell=cell):
            h = parts.hidden(cell.initial_state(params, BATCH))
            return parts.project(params, x), h @ parts.weights(params)

        z, r = jax.eval_shape(shares, jax.eval_shape(cell.init, key), xs[0])
        a = jax.eval_shape(parts.mix, z, r)
        split = jax.make_jaxpr(jax.linear_transpose(parts.mix, z, r))(a)
        assert "pad" not in {eqn.primitive.name for eqn in split.eqns}, name


def test_half_precision_sums_in_single(key):
    """Sums over many blocks do not stall, as sums in bfloat16 do at 256 times a term."""
    cell = jaxrnn.elman(1, 1, dtype=jnp.bfloat16)
    params = cell.init(key)._replace(w_hh=jnp.zeros((1, 1), jnp.bfloat16))
    xs = jnp.full((2048, 1), 0.5, jnp.bfloat16)

    def of(run, params):
        return jnp.sum(run(cell, params, xs)[1].astype(jnp.float32))

    slope = jax.grad(of, 1)(functools.partial(fused_unroll, block_size=2), params)
    one = jax.grad(of, 1)(lambda cell, p, xs: unroll(cell, p, xs[:1]), params)
    assert slope.b.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(slope.b[0]), 2048 * float(one.b[0]), rtol=0.01)


def test_storages_need_less_memory(key):
    cell, xs = jaxrnn.lstm(32, 32), jnp.ones((400, 4, 32))
    params = cell.init(key)

    def temporaries(run):
        of = jax.jit(jax.grad(functools.partial(energy, run, cell)))
        return of.lower(params, xs).compile().memory_analysis().temp_size_in_bytes

    plain = temporaries(unroll)
    gates, outputs = (
        temporaries(functools.partial(fused_unroll, block_size=16, storage=storage))
        for storage in STORAGES
    )
    assert gates < 0.6 * plain
    assert outputs < 0.5 * gates
    chosen, large = (
        temporaries(functools.partial(fused_unroll, block_size=size, storage="outputs"))
        for size in (None, 100)
    )
    assert chosen < 0.7 * large


def test_refuses(key):
    xs = jnp.ones((4, INPUT))
    cell = leaky(INPUT, HIDDEN)
    with pytest.raises(TypeError, match="fused_unroll: got .* General .* Gated; use jaxrnn.unroll"):
        fused_unroll(cell, cell.init(key), xs)
    cell = CELLS["lstm"]
    call = functools.partial(fused_unroll, cell, cell.init(key), xs)
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"fused_unroll: got block_size={size}; expected"):
            call(block_size=size)
    with pytest.raises(TypeError, match="fused_unroll: got block_size=2.5"):
        call(block_size=2.5)
    with pytest.raises(ValueError, match="unknown storage 'gate'; .*did you mean 'gates'"):
        call(storage="gate")


def gated(**changes):
    """A plain Gated cell on dicts of parameters, changed."""
    params = {"w": normal(3, INPUT, HIDDEN), "u": normal(4, HIDDEN, HIDDEN) / 2}
    structure = jaxrnn.Gated(
        project=lambda p, x: x @ p["w"],
        weights=lambda p: p["u"],
        pointwise=lambda _, h, a: (jnp.tanh(a), jnp.tanh(a)),
    )
    return jaxrnn.from_structure(
        lambda key: params,
        lambda params, batch_shape=(): jnp.zeros((*batch_shape, HIDDEN), params["u"].dtype),
        structure._replace(**changes),
    )


@pytest.mark.parametrize("backend, unroll_factor", [("cpu", None), ("cpu", 2), ("gpu", None)])
@pytest.mark.parametrize("storage", STORAGES)
def test_steps_that_are_done_do_not_matter(storage, backend, unroll_factor, key, x64, monkeypatch):
    """Nor where a state with the inputs of an earlier step has no value."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)

    def pointwise(_, s, a):  # the time since the last step, which only steps can make again
        h, before = s
        time = a[..., -1:]
        h = jnp.tanh(a[..., :-1]) / (1 + jnp.sqrt(time - before))
        return (h, time), h

    cell = gated(
        project=lambda p, x: jnp.concatenate([x[..., :1] @ p["w"][:1], x[..., 1:]], -1),
        pointwise=pointwise,
        hidden=lambda s: s[0],
        mix=lambda z, r: z + jnp.concatenate([r, jnp.zeros_like(r[..., :1])], -1),
    )._replace(
        initial_state=lambda params, batch_shape=(): (
            jnp.zeros((*batch_shape, HIDDEN)), jnp.full((*batch_shape, 1), -1.0)
        )
    )  # fmt: skip
    times = jnp.broadcast_to(jnp.arange(7.0)[:, None, None], (7, 2, 1))
    xs = jnp.concatenate([normal(10, 7, 2, 1), times], -1)
    fused = functools.partial(fused_unroll.__wrapped__, block_size=3, storage=storage)
    run, of = functools.partial(fused, unroll_factor=unroll_factor), slopes_of(cell)
    assert_trees_close(of(run, cell.init(key), xs), of(unroll, cell.init(key), xs))


@pytest.mark.parametrize("storage", STORAGES)
def test_without_jit(storage, key, x64, monkeypatch):
    monkeypatch.setattr(plan, "_FEW", -1)
    cell, xs = CELLS["gru"], normal(11, 5, 2, INPUT)
    run = functools.partial(fused_unroll.__wrapped__, block_size=2, storage=storage)
    of = jax.value_and_grad(energy, argnums=(2, 3))
    expected = of(unroll, cell, cell.init(key), xs)
    with jax.disable_jit():
        assert_trees_close(of(run, cell, cell.init(key), xs), expected)


def test_a_mix_that_multiplies_the_shares_is_refused(key, x64):
    cell, xs = gated(mix=lambda z, r: z * r + r), normal(5, 4, INPUT)
    with pytest.raises(ValueError, match="fused_unroll: got .* mix .*; expected .* linear .*; use"):
        fused_unroll(cell, cell.init(key), xs)
    cell = gated(mix=lambda z, r: 2 * z - r + 0.5)  # affine is linear enough

    def slope(run):
        return jax.grad(energy, 2)(run, cell, cell.init(key), xs)

    assert_trees_close(slope(fused_unroll), slope(unroll))


@pytest.mark.parametrize("storage", first_of(STORAGES))
def test_odd_cells_and_sizes(storage, key, x64):
    """No output; something for each sequence, and an assertion of it; nothing in the batch."""

    def of_two(params, x):
        assert x.shape[:-1] == (2,)
        return x @ params["w"] * jnp.array([[1.0], [2.0]])

    run = functools.partial(fused_unroll, block_size=3, storage=storage)
    for cell, batch, size in (
        (gated(pointwise=lambda _, h, a: (jnp.tanh(a), ())), (2,), INPUT),
        (gated(project=of_two), (2,), INPUT),
        (gated(), (0,), INPUT),
        (jaxrnn.lstm(INPUT, HIDDEN), (0,), INPUT),
    ):
        params, xs = cell.init(key), normal(6, 7, *batch, size)
        of = slopes_of(cell)
        assert_trees_close(of(run, params, xs), of(unroll, params, xs))


@pytest.mark.slow
def test_any_unroll_factor(key, x64):
    cell, xs = CELLS["gru"], normal(7, 11, 2, INPUT)
    of, params = slopes_of(cell), cell.init(key)
    for factor, size in ((8, 4), (3, None)):
        run = functools.partial(fused_unroll, unroll_factor=factor, block_size=size)
        assert_trees_close(of(run, params, xs), of(unroll, params, xs))
    with pytest.raises(ValueError, match="fused_unroll: got unroll_factor=0; expected"):
        fused_unroll(cell, params, xs, unroll_factor=0)


def test_the_choices_for_an_accelerator_give_the_same(key, x64, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    cell, xs = jaxrnn.lstm(INPUT, HIDDEN), normal(8, 37, 2, INPUT)
    of, params = slopes_of(cell), cell.init(key)
    assert_trees_close(of(fused_unroll, params, xs), of(unroll, params, xs))
