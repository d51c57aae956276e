"""What the law tests run over: laws and cells, and unrolls, flags and cells, from one table."""

import functools

import jax
import pytest

from cases import CASES, STEPS
from jaxrnn.testing import LAWS, make_probe
from jaxrnn.testing.sequence_laws import agrees_with_unroll, library_unrolls

SLOW = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive
# These share their structure with a case that runs by default.
VARIANTS = (
    "irnn",
    "gru_reset_before",
    "learned_state_lstm",
    "elman_tokens",
    "skew",
    "rotating",
)
# Of one kind with a case that runs by default (the LSTM, `nested`, `learned_state_leaky`): what is
# about the library's code is slow for them.
ALIKE = ("elman", "gru", "mixed_tokens", "leaky")
# Of the library's own Jacobians: they hold for every cell or for none, and compile much.
FLOW_LAWS = ("jacobians_concatenate", "log_determinants_add_up")
# So are the unrolls; where a test checks a whole cell it leaves them to those rows.
COSTLY_LAWS = ("unrolls_agree", *FLOW_LAWS)
# What the library promises of any step that is pure and has JAX's own derivatives, as the step of
# every cell and wrapper here has: on one cell of a kind they run in the slow run, on the others,
# where they repeat the same code of the library, they are exhaustive.
LIBRARY_LAWS = (
    "unroll_is_the_loop",
    "trajectory_is_the_states",
    "halves_make_the_whole",
    "resets_separate",
    "gradient_is_finite_difference",
    "adjoint_identity",
    *FLOW_LAWS,
)
# What a cell can break that keeps the others; of these cells of the zoo, one of a kind, they run by
# default, the rest is slow. (The values and gradients of every cell, on a batch, are compared with
# other implementations by default.)
ZOO_FIRST = ("peephole_lstm", "rhn", "ind_rnn", "lru", "mlstm", "conv_gru", "clockwork", "ltc")
FIRST_LAWS = (
    "step_keeps_the_state",
    "dtypes_flow_through",
    "pointwise_keeps_units_apart",
    "combine_is_associative",
)
# These count steps in integers, and the spectrum rejects that.
COUNTERS = ("clockwork", "phased_lstm")
# Parts of what another does, or tested elsewhere (tests/unrolls), or the same code for every cell.
SELDOM = ("truncated", "truncated_every", "unroll_factor", "checkpointed_fused")
SELDOM += ("associative", "chunked")
# One unroll of every kind; of the zoo these alone, for the others are the same code. Those that
# take any cell have a derivative of their own for none: of the zoo their values are compared.
EACH_KIND = ("fused", "fused_outputs", "truncated_every", "checkpointed")
ANY_CELL = ("truncated_every", "checkpointed")
KINDS = ("plain", "mask", "resets", "both")
UNROLLS = library_unrolls(STEPS)


# The laws of a wrapped cell: those that a wrapper can break, and all.
every_law = pytest.mark.parametrize(
    "skip",
    [
        pytest.param((*COSTLY_LAWS, *LIBRARY_LAWS), marks=SLOW, id="its own"),
        pytest.param(COSTLY_LAWS, marks=EXHAUSTIVE, id="all"),
    ],
)


@functools.cache
def probe_of(name):
    """The probe of a case; one a process, so that the laws share what is compiled."""
    case = CASES[name]
    return make_probe(case.cell, case.xs, key=jax.random.key(5))


@functools.cache
def double_probe_of(name):
    with jax.enable_x64(True):
        return probe_of(name).double()


def marks(name, *, slow, library):
    """Marks a row of a case.

    A variant of another case is slow in all its rows. Where `library` says that a row is about the
    library's code and not the cell's, it is exhaustive for a variant and for most of the zoo, and
    slow for a case like another.
    """
    variant, zoo = name in VARIANTS, CASES[name].zoo
    if library and (variant or (zoo and name not in ZOO_FIRST)):
        return [EXHAUSTIVE]
    return [SLOW] if slow or variant or (library and name in ALIKE) else []


def law_rows():
    """Every law on every cell, cell by cell; `unrolls_agree` has rows of its own."""
    return [
        pytest.param(
            law, name, id=f"{name}-{law}",
            marks=marks(
                name,
                slow=(law not in FIRST_LAWS or name not in ZOO_FIRST)
                if case.zoo else law in FLOW_LAWS and name != "lstm",
                library=law in LIBRARY_LAWS,
            ),
        )
        for name, case in CASES.items()
        for law in LAWS
        if law != "unrolls_agree"
        and not (case.zoo and law == "jacobians_concatenate")
        and not (name in COUNTERS and law == "log_determinants_add_up")
    ]  # fmt: skip


def unroll_rows():
    """Every unroll, cell and kind of flags.

    "both" passes through all code there is. The other kinds run for a few cells only, in the slow
    run: what is absent there is absent for every cell alike. Of the unrolls in `SELDOM` those of
    one cell run by default; of the zoo none. Only `fused_unroll` takes a cell apart; the others
    are exhaustive where a law of the library would be.
    """
    return [
        pytest.param(
            name, run, kind, id=f"{name}-{run}-{kind}",
            marks=marks(
                name,
                slow=case.zoo or kind != "both" or (name != "lstm" and run in SELDOM),
                library=run != "fused",
            ),
        )
        for name, case in CASES.items()
        for run in library_unrolls(STEPS, case.cell)
        if not case.zoo or run in EACH_KIND
        for kind in (KINDS if case.every_flag else ("both",))
    ]  # fmt: skip


def check_unroll(name, run, kind):
    """Raises unless the unroll equals `unroll` on the case, in value and gradient."""
    with jax.enable_x64(True):
        agrees_with_unroll(
            double_probe_of(name), run, UNROLLS[run], kind,
            gradient=not (CASES[name].zoo and run in ANY_CELL),
        )  # fmt: skip
