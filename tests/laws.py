"""What the law tests run over: laws and cells, and unrolls, flags and cells, from one table."""

import functools

import jax
import pytest

from cases import CASES, STEPS
from jaxrnn.testing import LAWS, make_probe
from jaxrnn.testing.sequence_laws import agrees_with_unroll, library_unrolls

SLOW = pytest.mark.slow
# These share their structure with a case that runs by default.
VARIANTS = (
    "irnn",
    "gru_reset_before",
    "learned_state_lstm",
    "elman_tokens",
    "antisymmetric",
    "rotating",
)
# Of the library's own Jacobians: they hold for every cell or for none, and compile much.
FLOW_LAWS = ("jacobians_concatenate", "log_determinants_add_up")
# Parts of what another does.
SELDOM = ("truncated", "unroll_factor", "checkpointed_fused")
KINDS = ("plain", "mask", "resets", "both")
UNROLLS = library_unrolls(STEPS)


@functools.cache
def probe_of(name):
    """The probe of a case; one a process, so that the laws share what is compiled."""
    case = CASES[name]
    return make_probe(case.cell, case.xs, key=jax.random.key(5))


@functools.cache
def double_probe_of(name):
    with jax.enable_x64(True):
        return probe_of(name).double()


def marks(name, *, slow=False):
    """One worker takes all rows of a case, so that they share what is compiled."""
    slow = slow or name in VARIANTS
    return [pytest.mark.xdist_group(name), *([SLOW] if slow else [])]


def law_rows():
    """Every law on every cell, cell by cell; `unrolls_agree` has rows of its own."""
    return [
        pytest.param(
            law, name, id=f"{name}-{law}",
            marks=marks(name, slow=law in FLOW_LAWS and name != "lstm"),
        )
        for name, case in CASES.items()
        for law in LAWS
        if law != "unrolls_agree"
    ]  # fmt: skip


def unroll_rows():
    """Every unroll, cell and kind of flags.

    "both" passes through all code there is. The other kinds run for a few cells only: what is
    absent there is absent for every cell alike. Of these, of `truncated` without `every` (a part of
    what `truncated` with `every` does) and of `unroll_factor` those of one cell run by default.
    """
    return [
        pytest.param(
            name, run, kind, id=f"{name}-{run}-{kind}",
            marks=marks(
                name,
                slow=name != "lstm" and (kind != "both" or run in SELDOM),
            ),
        )
        for name, case in CASES.items()
        for run in library_unrolls(STEPS, case.cell)
        for kind in (KINDS if case.every_flag else ("both",))
    ]  # fmt: skip


def check_unroll(name, run, kind):
    """Raises unless the unroll equals `unroll` on the case, in value and gradient."""
    with jax.enable_x64(True):
        agrees_with_unroll(double_probe_of(name), run, UNROLLS[run], kind)
