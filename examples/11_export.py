"""Export: a network as one file, to run without this library.

`interop.export_stablehlo` makes a program that JAX alone reads, for any number of steps and
sequences, here with its derivative; `interop.export_onnx` makes a model for onnxruntime and others
(where the package onnx is installed). Expect the program that was read back to give the network's
outputs and gradients, up to rounding, for batches of two different sizes.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn import interop


def largest_difference(one, other):
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(one, other, strict=True))


def main(hidden_size=16, out=None):
    net = jaxrnn.stack(jaxrnn.layer(jaxrnn.lstm(3, hidden_size)), jaxrnn.readout(2))
    params = net.init(jax.random.key(0))
    files, differences = {}, []

    example = jnp.zeros((1, 1, 3))  # only its last axis and its dtype are read
    exported = interop.export_stablehlo(net, params, example)
    try:
        files["network.stablehlo"] = bytes(exported.serialize(vjp_order=1))
    except ImportError:
        raise SystemExit("to keep a program: pip install 'jaxrnn[export]'") from None
    program = jax.export.deserialize(bytearray(files["network.stablehlo"]))  # needs JAX alone
    by_name = interop.plain(params)  # the program knows dicts, not our named tuples

    def loss(apply):
        return jax.jit(jax.value_and_grad(lambda params, xs: jnp.mean(apply(params, xs)[1] ** 2)))

    for steps, batch in ((20, 4), (7, 1)):
        xs = jax.random.normal(jax.random.key(1), (steps, batch, 3))
        value, grads = loss(program.call)(by_name, xs)
        expected, expected_grads = loss(net.apply)(params, xs)
        found = (value, *jax.tree.leaves(grads))
        wanted = (expected, *jax.tree.leaves(interop.plain(expected_grads)))
        differences.append(largest_difference(found, wanted))
        print(f"StableHLO, {steps} steps, batch {batch}: values and gradients differ by at most "
              f"{differences[-1]:.1e}")  # fmt: skip

    try:
        model = interop.export_onnx(net, params, inputs=("seq_lengths",))
        files["network.onnx"] = model.SerializeToString()
        takes = [one.name for one in model.graph.input]
        print(f"ONNX: takes {takes}, returns {[one.name for one in model.graph.output]}")
    except ImportError:
        print("ONNX: not installed; install it with: pip install 'jaxrnn[onnx]'")

    for name, content in files.items():
        print(f"{name}: {len(content)} bytes")
        if out is not None:
            pathlib.Path(out).mkdir(parents=True, exist_ok=True)
            (pathlib.Path(out) / name).write_bytes(content)
    return differences, files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="folder to write the files to")
    main(out=parser.parse_args().out)
