"""Writes zoo/lmu.npz: values and gradients by the authors' package.

Run with ``PYTHONPATH=tests python tests/golden/make_lmu.py`` from the repository root, with
``pip install tensorflow-cpu==2.21.0 keras-lmu==0.9.0``.
"""

import jax
import numpy as np

from golden.record import HIDDEN, INPUT, About, record

ORDER, THETA = 5, 7.0


def with_tensorflow(run, primals, weights):
    """Values and gradients by TensorFlow."""
    import tensorflow as tf

    leaves, treedef = jax.tree.flatten(primals)
    variables = [tf.Variable(leaf) for leaf in leaves]
    with tf.GradientTape() as tape:
        result = run(*treedef.unflatten([tf.convert_to_tensor(v) for v in variables]))
        pairs = zip(jax.tree.leaves(weights(result)), jax.tree.leaves(result), strict=True)
        loss = sum(tf.reduce_sum(w * r) for w, r in pairs)
    slopes = [slope.numpy() for slope in tape.gradient(loss, variables)]
    return jax.tree.map(lambda r: r.numpy(), result), treedef.unflatten(slopes)


def main():
    """Writes the file."""
    import keras
    import keras_lmu
    import tensorflow as tf

    keras.backend.set_floatx("float64")
    cell = keras_lmu.LMUCell(
        memory_d=1,
        order=ORDER,
        theta=THETA,
        hidden_cell=keras.layers.SimpleRNNCell(HIDDEN, use_bias=False),
        hidden_to_memory=True,
        memory_to_memory=True,
        input_to_hidden=True,
    )
    cell.build((None, INPUT))

    def run(params, xs, state):
        w_x, e_x = params.w_ih[:, :HIDDEN], params.w_ih[:, HIDDEN:]
        w_h, e_h = params.w_hh[:, :HIDDEN], params.w_hh[:, HIDDEN:]
        with keras.StatelessScope(
            [
                (cell.kernel, tf.concat([e_x, e_h], axis=0)),
                (cell.recurrent_kernel, params.e_m[:, None]),
                (cell.hidden_cell.kernel, tf.concat([params.w_mh, w_x], axis=0)),
                (cell.hidden_cell.recurrent_kernel, w_h),
            ]
        ):
            (h, m), ys = state, []
            for x in tf.unstack(xs):
                y, (m, h) = cell.call(x, [m, h])
                ys.append(y)
        return (h, m), tf.stack(ys)

    source = "keras-lmu 0.9.0 (the authors) LMUCell with SimpleRNNCell, TensorFlow 2.21"
    options = {"order": ORDER, "theta": THETA}
    record("lmu", About("lmu", options, (INPUT, HIDDEN), source, "library"), run, with_tensorflow)
    assert np.dtype(cell.compute_dtype) == np.float64


if __name__ == "__main__":
    main()
