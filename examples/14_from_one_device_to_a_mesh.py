"""From one device to a mesh: the same training over all devices there are, by three lines.

They are marked below. The first is for several machines and does nothing on one; the second makes
the mesh, here half of the devices along the batch where that can be, the rest along the hidden
units; the third hands it to `fit`. Expect the losses of one device, up to the rounding of sums, and
weights of which each device holds a part. Without other devices try it with --devices 8, which are
virtual ones of this machine's CPU; they show that it works, not that it is fast. On several
machines start it once on each, with JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
"""

import argparse

import jax
import numpy as np
import optax

import jaxrnn
from jaxrnn import sharding, tasks, train

TASK = tasks.adding(length=12, batch_size=16)
NET = jaxrnn.stack(jaxrnn.layer(jaxrnn.gru(2, 32)), jaxrnn.readout(1))


def loss_fn(params, batch):
    ys = NET.apply(params, batch.xs)[1]
    return train.squared_error(ys, batch.targets, batch.mask)


def train_network(steps, mesh=None):
    return train.fit(
        loss_fn,
        NET.init(jax.random.key(0)),
        optax.adam(3e-3),
        train.sampled(TASK.sample, jax.random.key(1)),
        steps=steps,
        mesh=mesh,  # 3
    )


def main(steps=100):
    model = 2 if jax.device_count() % 4 == 0 else 1
    mesh = sharding.mesh(data=min(jax.device_count() // model, 16), model=model)  # 2
    spread = train_network(steps, mesh)
    weights = spread.state.params[0].w_hh
    part = weights.sharding.shard_shape(weights.shape)
    print(f"mesh {dict(mesh.shape)}: w_hh is {weights.shape}, of which a device holds {part}")
    step = jax.jit(train.make_step(loss_fn, optax.adam(3e-3), mesh=mesh))
    compiled = step.lower(spread.state, TASK.sample(jax.random.key(2))).compile()
    sent = sharding.collectives(compiled)
    print(f"a step's collectives: {sent.kinds or 'none'}, {sent.bytes_sent:,.0f} bytes a device")
    alone = train_network(steps)
    difference = np.abs(spread.metrics.loss - alone.metrics.loss).max()
    print(f"loss {alone.metrics.loss[0]:.4f} -> {alone.metrics.loss[-1]:.4f} on one device")
    print(f"the losses over the mesh differ by {difference:.1e} at most")
    return mesh, part, sent, difference


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="training steps")
    parser.add_argument("--devices", type=int, help="make so many virtual devices of the CPU")
    options = parser.parse_args()
    if options.devices is not None:
        jax.config.update("jax_num_cpu_devices", options.devices)
    sharding.start_processes()  # 1
    main(options.steps)
