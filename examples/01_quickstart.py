"""Quickstart: train a network of two layers on text, and measure how gradients fade in it.

An LSTM reads characters, a GRU reads the LSTM, and a readout predicts the next character. Expect
the loss to fall from about log(number of characters) to clearly below that of knowing only how
frequent each character is. The decay rate is the slope of log || d s_T / d s_(T-lag) || over the
lag: at a rate of -0.1 nats per step a gradient halves about every 7 steps.
"""

import argparse
import math

import jax
import optax

import jaxrnn
from jaxrnn import analysis, tasks, train


def decay_rates(cells, params, xs):
    """Returns the mean decay rate of each recurrent layer, in nats per step."""
    rates = []
    for cell, cell_params in zip(cells, params, strict=True):
        rates.append(analysis.gradient_decay(cell, cell_params, xs).rate.mean())
        _, xs = jaxrnn.unroll(cell, cell_params, xs)  # what the next layer reads
    return rates


def main(steps=120, hidden_size=32):
    task = tasks.text(length=40, batch_size=16)
    cells = [jaxrnn.lstm(task.input_size, hidden_size), jaxrnn.gru(hidden_size, hidden_size)]
    net = jaxrnn.stack(*map(jaxrnn.layer, cells), jaxrnn.readout(task.output_size))

    def loss_fn(params, batch):
        _, logits = net.apply(params, batch.xs)
        return train.cross_entropy(logits, batch.targets, batch.mask)

    params = net.init(jax.random.key(0))
    batch_fn = train.sampled(task.sample, jax.random.key(1))
    result = train.fit(
        loss_fn,
        params,
        optax.adam(1e-2),
        batch_fn,
        steps=steps,
        clip_norm=1.0,
        on_chunk=lambda done, metrics: print(f"step {done:4d}  loss {metrics.loss.mean():.3f}"),
    )

    last = float(result.metrics.loss[-10:].mean())
    baseline = task.info["baseline_loss"]
    print(f"loss at the end {last:.3f}, from character frequencies alone {baseline:.3f}")
    print(f"steps whose gradient was clipped: {result.metrics.clip_fraction:.0%}")

    xs = batch_fn(0).xs[:, :4]
    measure = jax.jit(lambda params: decay_rates(cells, params[:-1], xs))  # all but the readout
    before, after = (list(map(float, measure(p))) for p in (params, result.state.params))
    for name, first, then in zip(["LSTM", "GRU"], before, after, strict=True):
        fate = f"halves in {math.log(0.5) / then:.1f} steps" if then < 0 else "does not fade"
        print(f"{name}: {first:.3f} nats per step untrained, {then:.3f} trained: a gradient {fate}")
    return {"loss": last, "baseline": baseline, "before": before, "after": after}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120, help="training steps")
    main(steps=parser.parse_args().steps)
