"""What a review found once must not come back."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from cases import BASIC
from jaxrnn import tasks, train

XS = jnp.ones((6, 4, 3))


def test_the_promised_subpackages_come_with_the_root():
    code = "import jaxrnn; jaxrnn.testing.check_cell, jaxrnn.analysis, jaxrnn.train, jaxrnn.tasks"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BASIC)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_from_the_start(name, dtype):
    makers = {
        "irnn": lambda: jaxrnn.elman(3, 5, activation="relu", dtype=dtype),
        "gru_reset_before": lambda: jaxrnn.gru(3, 5, reset="before", dtype=dtype),
    }
    cell = makers[name]() if name in makers else getattr(jaxrnn, name)(3, 5, dtype=dtype)
    params = cell.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    _, ys = jaxrnn.unroll(cell, params, XS.astype(dtype))
    assert ys.dtype == dtype and jnp.all(jnp.isfinite(ys))


def test_buffers_can_be_donated():
    cell = jaxrnn.learned_state(jaxrnn.lstm(3, 5))
    net = jaxrnn.layer(cell)
    optimizer = train_optimizer()
    step = train.make_step(lambda p, xs: jnp.mean(net.apply(p, xs)[1] ** 2), optimizer)
    state = train.init(net.init(jax.random.key(0)), optimizer)
    donated = jax.jit(step, donate_argnums=0)
    for _ in range(2):
        state, metrics = donated(state, XS)
    assert jnp.isfinite(metrics.loss)
    plain = jaxrnn.lstm(3, 5)
    params = plain.init(jax.random.key(0))
    advance = jax.jit(plain.step, donate_argnums=1)
    advance(params, plain.initial_state(params, (4,)), XS[0])


def train_optimizer():
    import optax

    return optax.adam(1e-3)


def test_an_unknown_backend_gets_an_unroll(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "xpu")
    assert jaxrnn.select_unroll(jaxrnn.lstm(3, 5)) is jaxrnn.fused_unroll
    assert jaxrnn.select_unroll(jaxrnn.gru(3, 5, reset="before")) is jaxrnn.unroll
    with pytest.raises(ValueError, match="unknown platform 'tpx'.*did you mean 'tpu'"):
        jaxrnn.select_unroll(jaxrnn.lstm(3, 5), platform="tpx")


def test_cells_made_alike_are_equal():
    assert jaxrnn.lstm(3, 5) == jaxrnn.lstm(3, 5) and hash(jaxrnn.gru(3, 5)) == hash(
        jaxrnn.gru(3, 5)
    )
    assert jaxrnn.lstm(3, 5) != jaxrnn.lstm(3, 6)
    assert jaxrnn.elman(3, 5, activation=jnp.tanh) == jaxrnn.elman(3, 5, activation=jnp.tanh)


def counting_cell():
    traces = []

    def step(params, h, x):
        traces.append(1)
        h = jnp.tanh(x @ params + h)
        return h, h

    def initial_state(params, batch_shape=()):
        return jnp.zeros((*batch_shape, 5))

    return jaxrnn.Cell(lambda key: jnp.ones((3, 5)), initial_state, step), traces


@pytest.mark.parametrize(
    "run", [jaxrnn.unroll, jaxrnn.truncated(jaxrnn.unroll, 2), jaxrnn.checkpointed(jaxrnn.unroll)]
)
def test_a_second_eager_call_traces_nothing(run):
    cell, traces = counting_cell()
    run(cell, jnp.ones((3, 5)), XS)
    count = len(traces)
    run(cell, jnp.zeros((3, 5)), XS)
    assert len(traces) == count > 0


def python_number_state(params, batch_shape=()):
    return {"h": jnp.zeros((*batch_shape, 5)), "t": 0}


def test_a_state_without_batch_axes_is_refused():
    cell, _ = counting_cell()
    cell = cell._replace(initial_state=python_number_state)
    with pytest.raises(ValueError, match="unroll: got a cell whose initial_state.*batch axes"):
        jaxrnn.unroll(cell, jnp.ones((3, 5)), XS)


def test_leaves_of_one_input_agree_on_the_batch():
    cell, _ = counting_cell()
    xs = {"a": XS, "b": jnp.ones((6, 2, 3))}
    with pytest.raises(ValueError, match="unroll: got xs leaves with batch axes"):
        jaxrnn.unroll(cell, jnp.ones((3, 5)), xs)


@pytest.mark.parametrize("net", [jaxrnn.readout(2, input_size=3), jaxrnn.dropout(0.5)])
@pytest.mark.parametrize("mask", [jnp.ones(6, bool), jnp.ones((6, 4), int)])
def test_layers_check_their_mask(net, mask):
    with pytest.raises((TypeError, ValueError), match="got mask of .* expected"):
        net.apply(net.init(jax.random.key(0)), XS, mask=mask)


def test_messages():
    with pytest.raises(TypeError, match="elman: got init='identity'; expected a function"):
        jaxrnn.elman(3, 5, init="identity")
    with pytest.raises(TypeError, match="truncated: got Layer; expected an unroll function"):
        jaxrnn.truncated(jaxrnn.layer(jaxrnn.lstm(3, 5)), 5)
    with pytest.raises(ValueError, match="seed_dropout: got a state without a DropoutState"):
        jaxrnn.seed_dropout((), jax.random.key(0))
    counter = jaxrnn.Cell(
        lambda key: (), lambda p, b=(): jnp.zeros(b, int), lambda p, s, x: (s + 1, x)
    )
    with pytest.raises(TypeError, match="learned_state: got a state of dtypes .*'int32'"):
        jaxrnn.learned_state(counter).init(jax.random.key(0))


def test_a_stream_says_where_it_begins_again(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcdefgh" * 20, encoding="utf-8")
    task = tasks.text(path, length=4, batch_size=2)
    steps = task.info["stream_steps"]
    for step in (0, 1, steps, steps + 1):
        resets = task.stream(step).resets
        assert resets.shape == (4, 2) and not resets[1:].any()
        assert resets[0].all() == (step % steps == 0) == resets[0].any()
