"""Keep gradients alive: train with a penalty on the Lyapunov exponents (gradient flossing).

Two plain networks start from the same weights, small enough for gradients to vanish, and learn to
add two marked numbers. One has a penalty that pulls its leading exponents towards 0. Expect its
exponents to end near 0 and its gradients to reach far back; those of the other stay negative, and
it learns nothing from what lies more than a few steps back.
"""

import argparse
import pathlib

import jax
import optax

import jaxrnn
from jaxrnn import tasks, train
from jaxrnn.analysis import regularizers

K, TARGET = 4, 0.0


def main(steps=400, hidden_size=48, length=40, strength=3.0, out=None):
    task = tasks.adding(length=length, batch_size=32)
    cell = jaxrnn.elman(task.input_size, hidden_size)
    net = jaxrnn.stack(jaxrnn.layer(cell), jaxrnn.readout(task.output_size))
    params = net.init(jax.random.key(0))
    weak = params[0]._replace(w_hh=0.6 * params[0].w_hh)
    params = (weak, *params[1:])  # orthogonal times 0.6: -0.5 nats per step
    probe = task.sample(jax.random.key(7)).xs

    def make_loss(strength):
        def loss_fn(params, batch):
            predictions = net.apply(params, batch.xs)[1]
            loss = train.squared_error(predictions, batch.targets, batch.mask)
            if not strength:
                return loss
            xs = batch.xs[:, :2]  # two sequences are enough to steer by
            penalty = regularizers.lyapunov_penalty(cell, params[0], xs, k=K, target=TARGET)
            return loss + strength * penalty

        return loss_fn

    monitor = train.flow_monitor(
        cell, probe, select=lambda params: params[0], k=K, every=max(1, steps // 20)
    )
    results = {}
    for name, value in {"without penalty": 0.0, "with penalty": strength}.items():
        batches = train.sampled(task.sample, jax.random.key(1))
        result = train.fit(
            make_loss(value), params, optax.adam(2e-3), batches, steps=steps, monitor=monitor
        )
        results[name] = result.monitored
        exponents = result.monitored.metrics["exponents"]
        print(f"{name}: exponents {exponents[0].round(3)} to {exponents[-1].round(3)}")
    if out is not None:
        draw(results, out)
    return results


def draw(results, out):
    from jaxrnn.plots import new_axes, plot_monitor

    figure, axes = new_axes(2)
    for axis, (name, seen) in zip(axes, results.items(), strict=True):
        exponents = {"exponents": seen.metrics["exponents"]}
        plot_monitor(seen.steps, exponents, targets={"exponents": TARGET}, axes=[axis])
        axis.set_title(name)
        axis.set_ylim(-0.7, 0.15)
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    figure.savefig(pathlib.Path(out) / "keep_gradients_alive.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="training steps")
    parser.add_argument("--out", help="directory for the picture; none is drawn if not given")
    options = parser.parse_args()
    main(steps=options.steps, out=options.out)
