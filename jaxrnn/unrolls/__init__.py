"""Ways to run a cell over time, all with one signature, and transformations of them."""

from jaxrnn.unrolls.associative import associative_unroll as associative_unroll
from jaxrnn.unrolls.associative import chunked_unroll as chunked_unroll
from jaxrnn.unrolls.blocks import checkpointed as checkpointed
from jaxrnn.unrolls.blocks import truncated as truncated
from jaxrnn.unrolls.fused import fused_unroll as fused_unroll
from jaxrnn.unrolls.hidden import hidden_sharded as hidden_sharded
from jaxrnn.unrolls.newton import NewtonInfo as NewtonInfo
from jaxrnn.unrolls.newton import newton_unroll as newton_unroll
from jaxrnn.unrolls.newton import newton_unroll_with_info as newton_unroll_with_info
from jaxrnn.unrolls.scan import trajectory as trajectory
from jaxrnn.unrolls.scan import unroll as unroll
from jaxrnn.unrolls.sequence import length_mask as length_mask
from jaxrnn.unrolls.sharded import time_sharded as time_sharded

__all__ = [
    "NewtonInfo",
    "associative_unroll",
    "checkpointed",
    "chunked_unroll",
    "fused_unroll",
    "hidden_sharded",
    "length_mask",
    "newton_unroll",
    "newton_unroll_with_info",
    "time_sharded",
    "trajectory",
    "truncated",
    "unroll",
]
