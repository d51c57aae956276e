"""Networks with torch's weights equal what torch computed, as make_torch.py wrote it."""

import jax
import numpy as np
import pytest

import jaxrnn
import reference
from cases import first_of, graded
from golden import convert
from golden.network import CELLS, errors, paired

REFERENCES = {
    "tanh": reference.elman(),
    "relu": reference.elman(reference.relu),
    "lstm": reference.lstm(),
    "gru": reference.gru("after"),
}
every_case = pytest.mark.parametrize("case", CELLS)


def arrays(case):
    return convert.load(CELLS[case][0], case)


@every_case
def test_double_precision(case):
    with jax.enable_x64(True):
        found = errors(case, arrays(case), np.float64)
    assert all(error < 1e-10 for error in found.values()), found


@pytest.mark.parametrize("case", graded(CELLS, slow=["lstm"]))
def test_the_plain_unroll(case):
    with jax.enable_x64(True):
        found = errors(case, arrays(case), np.float64, jaxrnn.unroll)
    assert all(error < 1e-10 for error in found.values()), found


@pytest.mark.parametrize("case", first_of(["lstm", *(case for case in CELLS if case != "lstm")]))
def test_single_precision(case):
    found = errors(case, arrays(case), np.float32)
    assert all(error < 1e-6 for error in found.values()), found


@every_case
def test_the_files_agree_with_the_reference(case):
    """Two oracles with nothing in common: torch, and derivatives by hand."""
    found, kind, one = arrays(case), CELLS[case][0], reference.layer(REFERENCES[case])
    net = reference.stack(*[reference.bidirectional(one, one)] * 2)
    params, d_params = (
        paired(lambda fields: reference.Params(**fields), tree)
        for tree in (convert.weights(kind, found), convert.gradients(kind, found))
    )
    start, final, d_final, d_start = (
        convert.states(kind, found, name) for name in ("{}_0", "{}_n", "d_{}_n", "grad.{}_0")
    )
    mask = reference.length_mask(found["lengths"], len(found["xs"]))
    result = net.apply(params, found["xs"], start, mask=mask)
    assert reference.error(result, (final, found["ys"])) < 1e-13
    result = net.backprop(params, found["xs"], start, d_final, found["d_ys"], mask=mask)
    assert reference.error(result, (d_params, found["grad.xs"], d_start)) < 1e-13


@every_case
def test_the_files_hold_what_they_promise(case):
    found = arrays(case)
    steps, hidden = len(found["xs"]), found["h_0"].shape[-1]
    assert {1, steps} <= set(found["lengths"].tolist())
    assert (len(found["h_0"]), found["ys"].shape[-1]) == (4, 2 * hidden)
    for name, value in found.items():
        assert name == "lengths" or value.dtype == np.float64
        if name.startswith(("h_0", "c_0", "weight", "bias")):
            assert value.all()
        if name.startswith("grad.bias_ih"):  # one bias is enough, but for the GRU's candidate
            same = slice(2 * hidden) if case == "gru" else slice(None)
            other = found[name.replace("ih", "hh")]
            assert reference.error(value[same], other[same]) < 1e-13
