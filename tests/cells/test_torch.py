"""Networks equal torch's, run side by side in single precision."""

import numpy as np
import pytest

from reference import error

torch = pytest.importorskip("torch")

from golden import convert, make_torch  # noqa: E402
from golden.network import CELLS, errors  # noqa: E402

pytestmark = pytest.mark.peer

SHAPES = {  # name: (input_size, hidden_size, lengths)
    "small": (3, 7, (5, 1)),
    "wide": (17, 32, (9, 2, 12, 12, 1)),
    "narrow": (1, 4, (4, 3, 4)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CELLS)
def test_two_bidirectional_layers(case, shape):
    seed = 10 + list(SHAPES).index(shape)
    found = make_torch.arrays(case, seed, *SHAPES[shape], torch.float32)
    assert found["ys"].dtype == np.float32
    far = errors(case, found, np.float32)
    assert all(value < 1e-6 for value in far.values()), far


@pytest.mark.parametrize("case", CELLS)
def test_the_golden_files_are_what_their_script_makes(case):
    found, stored = make_torch.golden(case), convert.load(CELLS[case][0], case)
    assert found.keys() == stored.keys()
    assert all(error(found[name], stored[name]) < 1e-12 for name in stored)
