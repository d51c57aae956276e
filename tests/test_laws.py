"""Every law on every cell, and every unroll with every kind of flags."""

import pytest

from jaxrnn.testing import LAWS
from laws import check_unroll, law_rows, probe_of, unroll_rows


@pytest.mark.parametrize(("law", "name"), law_rows())
def test_law(law, name):
    LAWS[law](probe_of(name))


@pytest.mark.parametrize(("name", "run", "kind"), unroll_rows())
def test_unroll_equals_the_reference(name, run, kind):
    check_unroll(name, run, kind)
