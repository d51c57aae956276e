"""Training of recurrent networks on the tasks of the library."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from cases import BASIC, graded
from jaxrnn import tasks, train

HIDDEN = 12


def score(net, task):
    """The loss of a network on a batch of a task."""

    def loss_fn(params, batch):
        _, ys = net.apply(params, batch.xs)
        loss = train.squared_error if task.kind == "regression" else train.cross_entropy
        return loss(ys, batch.targets, batch.mask)

    return loss_fn


def fit(name, task, steps, rate=1e-2, hidden=HIDDEN):
    cell = jaxrnn.CELLS[name].make(task.input_size, hidden)
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.readout(task.output_size))
    params = net.init(jax.random.key(0))
    batch_fn = train.sampled(task.sample, jax.random.key(1))
    return train.fit(score(net, task), params, optax.adam(rate), batch_fn, steps=steps)


@pytest.mark.parametrize("name", graded(BASIC, default=["lstm"], slow=["gru"]))
def test_the_loss_falls_on_adding(name):
    losses = fit(name, tasks.adding(length=8, batch_size=32), steps=60).metrics.loss
    assert losses[-10:].mean() < 0.7 * losses[:3].mean()


@pytest.mark.parametrize("name", graded(BASIC, slow=["lstm", "elman"]))
def test_the_loss_falls_on_text(name):
    result = fit(name, tasks.text(length=10, batch_size=16), steps=40, rate=3e-2)
    losses = result.metrics.loss
    assert losses[-5:].mean() < losses[0] - 0.5
    assert not result.metrics.skipped.any()


def numpy_truncated_bptt(weights, embed, readout, batches, window, rate):
    """Elman network, cross entropy, SGD, a state handed on, gradients cut: written out.

    `weights` is (w_ih, w_hh, b), `readout` (w, b); tokens are rows of w_ih, so `embed` is w_ih.
    """
    (w_ih, w_hh, b), (w, c) = [[a.copy() for a in group] for group in (weights, readout)]
    h = np.zeros((embed, w_hh.shape[0]))
    losses = []
    for xs, targets in batches:
        length, size = xs.shape
        grads = [np.zeros_like(a) for a in (w_ih, w_hh, b, w, c)]
        loss = 0.0
        for start in range(0, length, window):
            states = [h]
            d_logits = []
            for t in range(start, start + window):
                states.append(np.tanh(w_ih[xs[t]] + states[-1] @ w_hh + b))
                logits = states[-1] @ w + c
                p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
                rows = np.arange(size)
                loss -= np.log(p[rows, targets[t]]).sum()
                p[rows, targets[t]] -= 1
                d_logits.append(p / (length * size))
            d_h = np.zeros_like(h)  # nothing comes back from the window after this one
            for t in reversed(range(window)):
                grads[3] += states[t + 1].T @ d_logits[t]
                grads[4] += d_logits[t].sum(0)
                d_a = (d_h + d_logits[t] @ w.T) * (1 - states[t + 1] ** 2)
                np.add.at(grads[0], xs[start + t], d_a)
                grads[1] += states[t].T @ d_a
                grads[2] += d_a.sum(0)
                d_h = d_a @ w_hh.T
            h = states[-1]
        losses.append(loss / (length * size))
        for value, grad in zip((w_ih, w_hh, b, w, c), grads, strict=True):
            value -= rate * grad
    return losses, (w_ih, w_hh, b, w, c), h


def test_stateful_training_on_a_stream_is_truncated_bptt(x64, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(
        "abcacbbacabcaacbbcabcaccabbcabcabcaacbabcbacbcabcabacbacbabcba", encoding="utf-8"
    )
    batch_size, length, window, steps, rate = 2, 6, 3, 4, 2.0
    task = tasks.text(path, length=length, batch_size=batch_size)
    assert task.info["stream_steps"] >= steps
    unroll_fn = jaxrnn.truncated(jaxrnn.unroll, window)
    net = jaxrnn.stack(
        jaxrnn.layer(jaxrnn.elman(task.input_size, 4), unroll_fn), jaxrnn.readout(task.output_size)
    )
    params = net.init(jax.random.key(0))

    def loss_fn(params, batch, state):
        state, logits = net.apply(params, batch.xs, state)
        return train.cross_entropy(logits, batch.targets, batch.mask), state

    result = train.fit(
        loss_fn,
        params,
        optax.sgd(rate),
        task.stream,
        steps=steps,
        clip_norm=None,
        carried=net.initial_state(params, (batch_size,)),
        chunk=3,
    )
    cell_params, readout_params = (
        [np.asarray(leaf) for leaf in jax.tree.leaves(one)] for one in params
    )
    batches = [[np.asarray(a) for a in task.stream(step)[:2]] for step in range(steps)]
    losses, values, h = numpy_truncated_bptt(
        cell_params, batch_size, readout_params, batches, window, rate
    )
    close = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(result.metrics.loss, losses, **close)
    for got, expected in zip(jax.tree.leaves(result.state.params), values, strict=True):
        np.testing.assert_allclose(got, expected, **close)
    np.testing.assert_allclose(result.state.carried[0], h, **close)

    # cutting elsewhere gives other numbers, so the comparison can fail
    uncut, _, _ = numpy_truncated_bptt(
        cell_params, batch_size, readout_params, batches, length, rate
    )
    assert abs(uncut[-1] - losses[-1]) > 1e-4


@pytest.mark.slow
def test_windows_of_a_stream_are_one_long_run():
    """With frozen parameters the losses of a carried stream are those of one unroll of it all."""
    task = tasks.series(length=8, batch_size=2)
    cell = jaxrnn.gru(task.input_size, 4)
    params = cell.init(jax.random.key(0))

    def loss_fn(params, batch, state):
        state, ys = jaxrnn.unroll(cell, params, batch.xs, state)
        return jnp.mean(ys**2), state

    carried = cell.initial_state(params, (2,))
    result = train.fit(loss_fn, params, optax.set_to_zero(), task.stream, steps=3, carried=carried)
    xs = jnp.concatenate([task.stream(step).xs for step in range(3)])
    state, ys = jaxrnn.unroll(cell, params, xs)
    np.testing.assert_allclose(result.state.carried, state, rtol=1e-5)
    expected = jnp.mean(ys.reshape(3, -1) ** 2, axis=1)
    np.testing.assert_allclose(result.metrics.loss, expected, rtol=1e-5)


# the zoo: tests/cells/test_training.py
@pytest.mark.parametrize("name", graded(["elman", "gru"], slow=["gru"]))
def test_learning_curves_on_adding(name):
    """Over ten steps a cell, the plain one included, learns to add."""
    task = tasks.adding(length=10, batch_size=64)
    losses = fit(name, task, steps=1500, rate=5e-3, hidden=32).metrics.loss
    assert losses[-100:].mean() < 0.2 * task.info["baseline_loss"]
    assert losses[:100].mean() > 0.5 * task.info["baseline_loss"]
