"""Writes interop.npz: weights of other libraries by their own names, and what they compute.

Run with ``PYTHONPATH=tests python tests/golden/make_interop.py`` from the repository root, with the
`peers` extra, onnx and onnxruntime.

Each case is two bidirectional layers in float64 (Keras and ONNX: float32), with an initial state
that is not zero and lengths 0, 1 and T, see tests/interop/frameworks.py. Names are "form.kind.",
then "weights", all of them in one vector, "names", their names and shapes in JSON, "ys", or
"final." and a number. Outputs beyond a
sequence's length are zeros here; a state after no step at all is the initial one, whatever the
library returns.
"""

import json
import math
import os
from pathlib import Path

import jax
import numpy as np

from interop.frameworks import CASES, LENGTHS, STEPS, given, theirs

PATH = Path(__file__).parent / "interop.npz"


def flat(weights):
    """The weights by name, the keys of nested mappings and lists joined by slashes."""
    if not isinstance(weights, dict):
        return {"weights": weights}
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    return {
        "/".join(str(getattr(key, "key", getattr(key, "idx", None))) for key in path): leaf
        for path, leaf in leaves
    }


def load():
    """Returns the weights by name, ys and the final states of each (form, kind)."""
    with np.load(PATH, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    cases = {}
    for form, kind in CASES:
        case = f"{form}.{kind}"
        weights, start = {}, 0
        for name, shape in json.loads(str(stored[f"{case}.names"])):
            stop = start + math.prod(shape)
            weights[name] = stored[f"{case}.weights"][start:stop].reshape(shape)
            start = stop
        final = [stored[name] for name in sorted(stored) if name.startswith(f"{case}.final.")]
        cases[form, kind] = weights, stored[f"{case}.ys"], final
    return cases


def golden(form, kind):
    """Returns what is to be stored of one case."""
    weights, run = theirs(form, kind)
    xs, start = given(kind)
    final, ys = run(weights, xs, start, LENGTHS)
    mask = np.arange(STEPS)[:, None, None] < np.array(LENGTHS)[:, None]
    weights = {name: np.asarray(value) for name, value in flat(weights).items()}
    names = [(name, value.shape) for name, value in weights.items()]
    found = {
        "weights": np.concatenate([value.ravel() for value in weights.values()]),
        "names": np.array(json.dumps(names)),
    }
    found["ys"] = np.where(mask, np.asarray(ys), 0)
    ran = np.array(LENGTHS)[:, None] > 0
    pairs = zip(jax.tree.leaves(final), jax.tree.leaves(start), strict=True)
    for number, (end, begin) in enumerate(pairs):
        found[f"final.{number}"] = np.where(ran, np.asarray(end), begin)
    return found


def main():
    """Writes the file."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    found = {}
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        for form, kind in CASES:
            case = golden(form, kind)
            found |= {f"{form}.{kind}.{name}": value for name, value in case.items()}
    np.savez_compressed(PATH, allow_pickle=False, **found)
    print(f"{PATH.name}: {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
