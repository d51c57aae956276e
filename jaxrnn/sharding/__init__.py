"""Meshes: where parameters, states and batches lie on several devices, by JAX's own sharding."""

from jaxrnn.sharding.agreement import check_same as check_same
from jaxrnn.sharding.agreement import gather_texts as gather_texts
from jaxrnn.sharding.agreement import largest as largest
from jaxrnn.sharding.batches import batch_specs as batch_specs
from jaxrnn.sharding.collectives import Collective as Collective
from jaxrnn.sharding.collectives import Collectives as Collectives
from jaxrnn.sharding.collectives import collectives as collectives
from jaxrnn.sharding.mesh import mesh as mesh
from jaxrnn.sharding.optimizers import optimizer_specs as optimizer_specs
from jaxrnn.sharding.placing import from_processes as from_processes
from jaxrnn.sharding.placing import shard as shard
from jaxrnn.sharding.placing import unshard as unshard
from jaxrnn.sharding.processes import start_processes as start_processes
from jaxrnn.sharding.specs import param_specs as param_specs
from jaxrnn.sharding.specs import state_specs as state_specs

__all__ = [
    "Collective",
    "Collectives",
    "batch_specs",
    "check_same",
    "collectives",
    "from_processes",
    "gather_texts",
    "largest",
    "mesh",
    "optimizer_specs",
    "param_specs",
    "shard",
    "start_processes",
    "state_specs",
    "unshard",
]
