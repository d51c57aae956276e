"""Your own cell: three functions make a cell, and everything in the library works with it.

A leaky integrator, written first as a plain `Cell` and then with its structure told (`Gated`), so
that faster unrolls apply to it. Expect the two to agree to rounding, in values and in gradients.
With `--check` the cell is also tried against every law that the library relies on (some seconds).
"""

import argparse

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn import analysis
from jaxrnn.testing import check_cell


def make_functions(input_size, hidden_size):
    """Returns what both forms share: how parameters are made, and the state to start from."""

    def init(key):
        k1, k2 = jax.random.split(key)
        return {
            "w": jax.random.normal(k1, (input_size, hidden_size)),
            "u": jax.random.normal(k2, (hidden_size, hidden_size)) / hidden_size**0.5,
        }

    def initial_state(params, batch_shape=()):
        return jnp.zeros((*batch_shape, hidden_size), params["u"].dtype)

    return init, initial_state


def leaky(input_size, hidden_size, leak=0.2):
    def step(params, h, x):
        h = (1 - leak) * h + leak * jnp.tanh(x @ params["w"] + h @ params["u"])
        return h, h

    return jaxrnn.Cell(*make_functions(input_size, hidden_size), step)


def leaky_gated(input_size, hidden_size, leak=0.2):
    def pointwise(_, h, a):
        h = (1 - leak) * h + leak * jnp.tanh(a)
        return h, h

    structure = jaxrnn.Gated(
        project=lambda p, x: x @ p["w"], weights=lambda p: p["u"], pointwise=pointwise
    )
    return jaxrnn.from_structure(*make_functions(input_size, hidden_size), structure)


def main(check=False):
    plain, gated = leaky(3, 16), leaky_gated(3, 16)
    params = plain.init(jax.random.key(0))  # one tree of parameters serves both
    xs = jax.random.normal(jax.random.key(1), (50, 4, 3))

    def gradient(cell):
        run = jaxrnn.layer(cell).apply
        return jax.jit(jax.grad(lambda params: jnp.mean(run(params, xs)[1] ** 2)))(params)

    grads = [gradient(cell) for cell in (plain, gated)]
    one, other = (jaxrnn.unroll(cell, params, xs)[1] for cell in (plain, gated))
    value_error = float(jnp.max(jnp.abs(one - other)))
    grad_error = max(float(jnp.max(jnp.abs(grads[0][k] - grads[1][k]))) for k in params)
    print(f"plain against Gated: values differ by {value_error:.1e}, gradients by {grad_error:.1e}")

    rate = float(analysis.gradient_decay(gated, params, xs).rate.mean())
    print(f"gradients change by {rate:.3f} nats per step")
    if check:
        check_cell(gated, xs[:5, :2])
        print("the cell obeys every law")
    return value_error, grad_error, rate


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="run jaxrnn.testing.check_cell")
    main(check=parser.parse_args().check)
