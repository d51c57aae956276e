"""The table of laws, in the order in which they are checked: what others build on comes first."""

from collections.abc import Callable

from jaxrnn.testing import flow_laws, sequence_laws, step_laws
from jaxrnn.testing.probe import Probe

__all__ = ["LAWS"]

LAWS: dict[str, Callable[[Probe], None]] = {
    law.__name__: law
    for law in (
        step_laws.init_is_deterministic,
        step_laws.step_keeps_the_state,
        step_laws.dtypes_flow_through,
        step_laws.witness_is_the_step,
        step_laws.pointwise_keeps_units_apart,
        step_laws.combine_is_associative,
        sequence_laws.batch_is_vmap,
        sequence_laws.unroll_is_the_loop,
        sequence_laws.trajectory_is_the_states,
        sequence_laws.halves_make_the_whole,
        sequence_laws.unrolls_agree,
        sequence_laws.padding_never_matters,
        sequence_laws.resets_separate,
        sequence_laws.no_retrace,
        sequence_laws.gradient_is_finite_difference,
        sequence_laws.adjoint_identity,
        flow_laws.jacobians_concatenate,
        flow_laws.log_determinants_add_up,
    )
}
