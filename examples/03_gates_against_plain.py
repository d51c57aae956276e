"""Gates against plain: elman, lstm and gru on the adding problem, loss and decay side by side.

The network must add two marked numbers, the first of them far back. Without memory the best answer
is always 1, at a loss of 1/6. Expect both gated cells to get far below that, the plain cell not.
Look at the decay rates: untrained, the plain cell's gradients do not fade fastest; it is training
that opens a path (a rate near 0) where there are gates to open, and closes it where there are none.
One seed, one learning rate, small networks: a demonstration, no benchmark.
"""

import argparse
import pathlib

import jax
import numpy as np
import optax

import jaxrnn
from jaxrnn import analysis, tasks, train

CELLS = {"elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru}
COLORS = {"elman": "#D55E00", "lstm": "#0072B2", "gru": "#009E73"}


def train_one(make, task, steps, hidden_size):
    """Returns the loss of every step, and the gradient decay before and after training."""
    cell = make(task.input_size, hidden_size)
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.readout(task.output_size))

    def loss_fn(params, batch):
        _, predictions = net.apply(params, batch.xs)
        return train.squared_error(predictions, batch.targets, batch.mask)

    params = net.init(jax.random.key(0))
    batch_fn = train.sampled(task.sample, jax.random.key(1))
    result = train.fit(loss_fn, params, optax.adam(1e-2), batch_fn, steps=steps, clip_norm=1.0)
    measure = jax.jit(lambda cell_params, xs: analysis.gradient_decay(cell, cell_params, xs))
    xs = task.sample(jax.random.key(2)).xs[:, :8]
    return result.metrics.loss, [measure(p[0], xs) for p in (params, result.state.params)]


def main(steps=600, length=30, hidden_size=16, out=None):
    task = tasks.adding(length=length, batch_size=32)
    baseline = task.info["baseline_loss"]
    results = {name: train_one(make, task, steps, hidden_size) for name, make in CELLS.items()}
    print(f"always answering 1: loss {baseline:.4f}; decay rates in nats per step")
    for name, (loss, decays) in results.items():
        last = loss[-20:].mean()
        first, then = (float(decay.rate.mean()) for decay in decays)
        verdict = "learned to add" if last < baseline / 2 else "did not learn to add"
        moved = "towards" if abs(then) < abs(first) else "away from"
        print(f"{name:5} loss {last:.4f}, {verdict}; rate {first:+.3f} -> {then:+.3f}, {moved} 0")
    if out is not None:
        draw(results, baseline, out)
    return results


def draw(results, baseline, out):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, (loss, decays) in results.items():
        left.semilogy(np.convolve(loss, np.full(10, 0.1), "valid"), color=COLORS[name], label=name)
        for decay, style, when in zip(decays, ["--", "-"], ["untrained", "trained"], strict=True):
            norms = decay.log_norms.mean(axis=1)
            right.plot(decay.lags, norms, style, color=COLORS[name], label=f"{name}, {when}")
    left.axhline(baseline, color="black", linestyle=":", label="always answering 1")
    left.set(xlabel="training step", ylabel="squared error (mean of 10 steps)", title="loss")
    right.set(xlabel="lag (steps)", ylabel="log of the norm (nats)", title="gradient of the state")
    for axes in (left, right):
        axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "gates_against_plain.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="folder for the picture")
    main(out=parser.parse_args().out)
